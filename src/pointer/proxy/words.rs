//! The proxy's words and the core's, each put into the other's.
//!
//! Pure. Nothing is lost on the way there and back: listener, hosts and how the preview is asked
//! for, which a routing does not name, are kept from the entry that is replaced.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bollard::models::ContainerSummary;

use crate::core::event::SwitchRefusal;
use crate::core::names::{Generation, Release, ServiceName, Slot};
use crate::core::plan::Slots;
use crate::core::routing::{Deadline, Mark, Marks, Route, Routing};
use crate::core::words::clean;
use crate::proxy::check::Outcome;
use crate::proxy::control::{self, Code, ControlError, Entry};
use crate::proxy::table::{self, EnvironmentRoute, VERSION};

use super::{Asking, PointerError, ProxyPlan, Site, container};

/// What an entry says, as a routing.
///
/// # Errors
/// Where it names a slot that is none.
pub(super) fn routing(entry: Entry, site: &Site) -> Result<Routing, PointerError> {
    let bad = |slot: String| PointerError::Failed {
        what: format!(
            "the proxy `{}` says of `{}` that it has a slot `{slot}`",
            site.name, entry.service
        ),
        hint: Some("use the flipside that wrote it, or a newer one".into()),
    };
    let deadline = match entry.deadline {
        None => None,
        Some(deadline) => Some(Deadline {
            at: deadline.at_ms,
            back_to: routes(deadline.back_to).map_err(bad)?,
        }),
    };
    let marks = entry.marks.into_iter().map(|(release, marks)| {
        let marks = Marks {
            proven: marks.proven,
            served: marks.served,
            withdrawn: marks.withdrawn,
        };
        (Release(release), marks)
    });
    Ok(Routing {
        generation: entry.generation,
        fence: entry.fence,
        author: entry.author.clone(),
        reason: entry.reason.clone(),
        at: entry.at_ms,
        routes: routes(entry.environments).map_err(bad)?,
        marks: marks.collect(),
        deadline,
        preview: entry.preview.and_then(|it| it.release).map(Release),
        foreign: None,
    })
}

/// What an entry says of where the service is, where it has slots or shows a preview.
pub(super) fn said(entry: &Entry) -> Option<ProxyPlan> {
    if let Some(slots) = slots(&entry.slots) {
        return Some(ProxyPlan::at(slots));
    }
    let preview = entry.preview.as_ref().filter(|it| it.release.is_some())?;
    Some(ProxyPlan {
        listen: entry.listen.clone(),
        hosts: entry.hosts.clone(),
        preview: Asking {
            header: preview.header.clone(),
            hosts: preview.hosts.clone(),
        },
        slots: None,
    })
}

fn slots(slots: &BTreeMap<String, String>) -> Option<Slots> {
    let of = |slot: Slot| table::parse_listen(slots.get(&slot.to_string())?).ok();
    Some(Slots {
        blue: of(Slot::Blue)?,
        green: of(Slot::Green)?,
    })
}

fn routes(environments: Vec<EnvironmentRoute>) -> Result<Vec<Route>, String> {
    let route = |environment: EnvironmentRoute| {
        let slot = match environment.slot.as_str() {
            // Written by something that knows no slots.
            "" => Slot::Blue,
            slot => slot.parse().map_err(|_| slot.to_owned())?,
        };
        Ok(Route {
            release: Release(environment.release),
            slot,
            weight: environment.weight,
            endpoints: environment.endpoints,
        })
    };
    environments.into_iter().map(route).collect()
}

/// What an entry must say to make `desired` true.
///
/// # Errors
/// Where neither a plan nor the entry before says where to listen.
pub(super) fn entry(
    service: &ServiceName,
    plan: Option<&ProxyPlan>,
    before: Option<Entry>,
    desired: &Routing,
) -> Result<Entry, PointerError> {
    let was = before.map(|before| {
        let asked = before.preview.unwrap_or_default();
        let asking = Asking {
            header: asked.header,
            hosts: asked.hosts,
        };
        (before.listen, before.hosts, asking, before.slots)
    });
    let planned = plan.map(|plan| {
        let slots = plan.slots();
        let ProxyPlan {
            listen,
            hosts,
            preview,
            slots: _,
        } = plan.clone();
        (listen, hosts, preview, slots)
    });
    let (listen, hosts, asking, slots) = planned.or(was).ok_or_else(|| PointerError::Failed {
        what: format!("the proxy has nothing of `{service}`, so where it listens is not known"),
        hint: Some("deploy its plan: flipside deploy PLAN".into()),
    })?;
    let marks = desired.marks.iter().map(|(release, marks)| {
        let marks = table::Marks {
            proven: marks.proven,
            served: marks.served,
            withdrawn: marks.withdrawn,
        };
        (release.0, marks)
    });
    Ok(Entry {
        v: VERSION,
        service: service.to_string(),
        listen,
        hosts,
        generation: 0,
        fence: desired.fence,
        author: desired.author.clone(),
        reason: desired.reason.clone(),
        at_ms: desired.at,
        environments: environments(&desired.routes),
        marks: marks.collect(),
        deadline: desired.deadline.as_ref().map(|deadline| table::Deadline {
            at_ms: deadline.at,
            back_to: environments(&deadline.back_to),
        }),
        preview: desired.preview.map(|release| table::Preview {
            release: Some(release.0),
            header: asking.header,
            hosts: asking.hosts,
        }),
        slots,
    })
}

fn environments(routes: &[Route]) -> Vec<EnvironmentRoute> {
    let environment = |route: &Route| EnvironmentRoute {
        release: route.release.0,
        slot: route.slot.to_string(),
        weight: route.weight,
        endpoints: route.endpoints.clone(),
    };
    routes.iter().map(environment).collect()
}

/// A mark in the proxy's words, with the generation that goes with it.
pub(super) fn mark(mark: Mark) -> (control::Mark, Option<Generation>) {
    match mark {
        Mark::Proven => (control::Mark::Proven, None),
        Mark::Served(generation) => (control::Mark::Served, Some(generation)),
        Mark::Withdrawn => (control::Mark::Withdrawn, None),
    }
}

/// What the proxy's refusal means.
pub(super) fn refusal(
    refusal: ControlError,
    site: &Site,
    service: &ServiceName,
    plan: Option<&ProxyPlan>,
) -> PointerError {
    let moved =
        |why, entry: Option<Box<Entry>>| match entry.map(|entry| routing(*entry, site)).transpose()
        {
            Ok(found) => PointerError::Refused {
                why,
                found: found.map(Box::new),
            },
            Err(error) => error,
        };
    let hint = match refusal.code {
        Code::StaleFence => return moved(SwitchRefusal::Fenced, refusal.entry),
        Code::GenerationMoved => return moved(SwitchRefusal::Moved, refusal.entry),
        Code::ListenFailed => {
            let address = refusal.address.as_deref();
            let port = address.and_then(|it| it.rsplit(':').next());
            Some(stop_listener(port, elsewhere(plan)))
        }
        Code::HostTaken if plan.is_some_and(|plan| plan.slots.is_some()) => {
            Some(elsewhere(plan).into())
        }
        Code::HostTaken => Some(
            "give each service its own `host:` or `listen:` in its plan's `pointer: { proxy: … }`"
                .into(),
        ),
        Code::StoreFailed => Some(format!(
            "look at the disk of the engine's host: volume `{}`",
            container::volume(site)
        )),
        Code::BadEntry => Some(format!(
            "where a newer flipside wrote it, use that one; else mend it in the volume `{}` and \
             `docker restart {}`, or give the service up: flipside down {service}",
            container::volume(site),
            site.name
        )),
        Code::UnknownService | Code::AskFailed => Some(format!("flipside status {service}")),
        Code::BadRequest | Code::Other => None,
    };
    PointerError::Failed {
        what: format!("the proxy `{}` refused: {}", site.name, refusal.message),
        hint,
    }
}

/// What else there is to do than to free an address.
fn elsewhere(plan: Option<&ProxyPlan>) -> &'static str {
    if plan.is_some_and(|plan| plan.slots.is_some()) {
        "name other addresses of the engine's host (`ip addr` shows them) in the plan's \
         `reach: { slot: … }`"
    } else {
        "name another address in the plan's `pointer: { proxy: { listen: … } }`"
    }
}

/// What mends that something else listens on a port.
fn stop_listener(port: Option<&str>, elsewhere: &str) -> String {
    let port = port.unwrap_or("PORT");
    format!("stop what listens there (`ss -ltnp 'sport = :{port}'` shows it), or {elsewhere}")
}

/// Something else listens where the proxy is to.
pub(super) fn taken(site: &Site, address: SocketAddr, plan: &ProxyPlan) -> PointerError {
    PointerError::Failed {
        what: format!(
            "the proxy `{}` cannot listen on {address}: another process listens there already; \
             nothing was touched",
            site.name
        ),
        hint: Some(stop_listener(
            Some(&address.port().to_string()),
            elsewhere(Some(plan)),
        )),
    }
}

/// A container has published the port on which the proxy is to listen.
pub(super) fn published(
    site: &Site,
    address: SocketAddr,
    container: &ContainerSummary,
    plan: &ProxyPlan,
) -> PointerError {
    let names = container.names.iter().flatten();
    let name = names.map(|name| name.trim_start_matches('/')).next();
    let name = clean(name.or(container.id.as_deref()).unwrap_or_default());
    let label = |key: &str| Some(clean(container.labels.as_ref()?.get(key)?));
    let project = label("com.docker.compose.project").map(|project| {
        let role = label("com.docker.compose.service").unwrap_or_default();
        format!(" (`{role}` of the Compose project `{project}`)")
    });
    PointerError::Failed {
        what: format!(
            "the proxy `{}` cannot listen on {address}: the container `{name}`{} publishes that \
             port; nothing was touched",
            site.name,
            project.unwrap_or_default()
        ),
        hint: Some(format!(
            "stop it: docker update --restart=no {name} && docker stop {name}; or {}",
            elsewhere(Some(plan))
        )),
    }
}

/// What there is to say, after its name, of a proxy that does not know a check.
pub(super) fn too_old(version: &str, site: &Site) -> String {
    format!(
        "is older than this flipside (it is of {version}) and does not know this kind of check; {}",
        replace(site)
    )
}

/// That a proxy is too old to have slots.
pub(super) fn knows_no_slots(version: &str, site: &Site) -> PointerError {
    PointerError::Failed {
        what: format!(
            "the proxy `{}` is older than this flipside (it is of {version}) and cannot pass \
             connections on at the addresses of slots; nothing was touched",
            site.name
        ),
        hint: Some(replace(site)),
    }
}

/// What puts a newer proxy in the place of one.
fn replace(site: &Site) -> String {
    format!(
        "`docker rm -f {}` and a deploy put a newer one in its place, over the same table, and \
         until then nothing that `flipside proxy status` shows is served",
        site.name
    )
}

/// An outcome as a probe sees it.
pub(super) fn verdict(outcome: Outcome) -> Result<(), String> {
    match outcome {
        Outcome::Pass { .. } => Ok(()),
        Outcome::Fail { reason } => Err(reason.to_string()),
    }
}
