//! What a plan asks for that not every engine has: refused before anything is touched.

use super::order::roles;
use crate::core::event::Failure;
use crate::core::plan::{Plan, Role};

/// The API that knows `start_interval` of a health check.
pub(super) const START_INTERVAL: (usize, usize) = (1, 44);

/// The first thing that `plan` asks for and an engine of this API cannot do.
pub(super) fn check(plan: &Plan, api: (usize, usize)) -> Result<(), Failure> {
    let asks = |role: &Role| {
        let check = role.healthcheck.as_ref();
        check.is_some_and(|check| check.start_interval_ms.is_some())
    };
    let mut all = roles(plan).chain(&plan.shared);
    match all.find(|(_, role)| asks(role)) {
        Some((name, _)) if api < START_INTERVAL => Err(Failure {
            what: format!(
                "role `{name}`: `healthcheck.start_interval` needs API {}.{}, and this engine speaks \
                 {}.{}",
                START_INTERVAL.0, START_INTERVAL.1, api.0, api.1
            ),
            hint: Some(
                "write `ignore: [start_interval]` in the plan, or use Docker 25 or newer".into(),
            ),
            replicas: Vec::new(),
        }),
        _ => Ok(()),
    }
}
