//! What the jobs of an environment that has been stood up have to tell.

use super::fault::{Fault, insist};
use super::{LOOK, Performer};
use crate::core::event::JobEnd;
use crate::core::plan::Run;
use crate::core::world::Environment;

impl Performer {
    /// How the jobs of an environment ended: read back, for they have.
    pub(super) async fn jobs(&self, environment: &Environment) -> Result<Vec<JobEnd>, Fault> {
        let containers = environment.containers.iter();
        let mut ends = Vec::new();
        for container in containers.filter(|container| container.run == Run::Once) {
            let ran = insist("the engine", LOOK, || async {
                Ok(self.with.engine.ran(&container.id).await?)
            })
            .await?;
            ends.push(JobEnd {
                role: container.role.clone(),
                code: ran.code,
                took_ms: ran.took_ms,
                output: ran.output,
            });
        }
        Ok(ends)
    }
}
