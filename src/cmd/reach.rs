//! Whether a pointer can reach what stands on an engine: told by their words alone, so that nothing
//! has to be up.

use crate::core::plan::PointerPlan;
use crate::docker::Endpoint;
use crate::pointer;
use crate::pointer::section::{ReachKind, Stand};

/// Why a pointer may not reach what stands on an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beyond {
    /// It cannot.
    Out {
        /// Why.
        what: String,
        /// The ways out.
        help: String,
    },
    /// It can where a network leads there.
    Perhaps {
        /// Where that must be.
        what: String,
    },
}

/// What stands between `pointer` and what stands on `engine`; `None` where nothing does.
#[must_use]
pub fn beyond(plan: &PointerPlan, engine: &Endpoint) -> Option<Beyond> {
    let section = pointer::section(&plan.kind)?;
    let reach = plan.reach().ok()?;
    if engine.is_local() || ReachKind::of(reach) != ReachKind::Container {
        return None;
    }
    let (kind, address) = (&plan.kind, &engine.address);
    match section.reaching.from {
        Stand::Engine => None,
        Stand::Here => {
            let published = section.reaching.ways.contains(&ReachKind::Published);
            let published = match published {
                true => format!(
                    "publish the releases there, {}; or ",
                    ReachKind::Published.example()
                ),
                false => String::new(),
            };
            Some(Beyond::Out {
                what: format!(
                    "a pointer `{kind}` sends traffic to the containers' own addresses, which are \
                     reached from the engine's host alone, and the engine is {address}"
                ),
                help: format!(
                    "{published}run flipside on that host, with its socket as the engine; or let the embedded \
                     proxy there be the pointer: `pointer: {{proxy: {{listen: \":8080\"}}}}`"
                ),
            })
        }
        Stand::Anywhere => Some(Beyond::Perhaps {
            what: format!(
                "a pointer `{kind}` leads users to the containers' own addresses on the engine \
                 {address}: they reach them only where a network is routed to that host"
            ),
        }),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::docker::Surroundings;
    use crate::docker::address::choose;

    fn told(pointer: &str, engine: &str) -> &'static str {
        let plan = serde_json::from_str(pointer).unwrap();
        let engine = choose(Some(engine), &Surroundings::default()).unwrap();
        match beyond(&plan, &engine) {
            None => "within",
            Some(Beyond::Perhaps { .. }) => "perhaps",
            Some(Beyond::Out { help, .. }) => match help.contains("published") {
                true => "publish",
                false => "out",
            },
        }
    }

    #[test]
    fn only_what_leads_to_containers_themselves_is_bound_to_their_host() {
        let published = r#""reach": {"published": "192.0.2.7"}"#;
        let slot = r#""reach": {"slot": {"blue": "192.0.2.7:1", "green": "192.0.2.7:2"}}"#;
        for elsewhere in ["tcp://192.0.2.1:2375", "tcp://127.0.0.1:2375", "ssh://a@b"] {
            for (kind, expected) in [
                ("proxy", "within"),
                ("nftables", "out"),
                ("haproxy", "publish"),
                ("nginx", "publish"),
                ("exec", "publish"),
                ("dns", "perhaps"),
            ] {
                let pointer = |reach: &str| format!(r#"{{"{kind}": {{{reach}}}}}"#);
                assert_eq!(told(&pointer(""), elsewhere), expected, "{kind}");
                let said = pointer(r#""reach": "container""#);
                assert_eq!(told(&said, elsewhere), expected, "{kind}");
                assert_eq!(told(&pointer(published), elsewhere), "within", "{kind}");
                assert_eq!(told(&pointer(slot), elsewhere), "within", "{kind}");
                assert_eq!(told(&pointer(""), "unix:///var/run/docker.sock"), "within");
            }
        }
    }
}
