//! What became of shared roles.

use super::{Narrator, Told};
use crate::core::event::Verb;
use crate::core::names::RoleName;
use crate::core::words::{clean, list};

impl Narrator {
    /// Whether the run only brings to an end what was cut short.
    pub(super) fn settles(&self) -> bool {
        matches!(self.verb, Some(Verb::Apply { settles: true, .. }))
    }
}

impl Told {
    /// What became of what was cut short.
    pub(super) fn settled(&mut self, settled: &[String]) {
        for what in settled {
            self.step(clean(what));
        }
    }

    pub(super) fn applied(
        &mut self,
        role: &RoleName,
        kept: &[String],
        as_it_was: bool,
        after: &str,
    ) {
        match as_it_was {
            true => self.step(format!("the shared role `{role}` is as the plan has it")),
            false => self.good(format!(
                "the shared role `{role}` runs with the plan's settings{after}"
            )),
        }
        for name in kept {
            let name = clean(name);
            self.detail(format!(
                "`{name}` of the Compose project is stopped and kept; once nothing is missing: \
                 docker rm {name}"
            ));
        }
    }

    pub(super) fn shared_removed(&mut self, kept: &[String]) {
        self.step("removed the shared roles and their network".into());
        if kept.is_empty() {
            return;
        }
        let names: Vec<_> = kept.iter().map(|name| clean(name)).collect();
        let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        self.step(format!(
            "their data is still there, in {}; this removes it for good: docker volume rm {}",
            list(&quoted),
            names.join(" ")
        ));
    }
}
