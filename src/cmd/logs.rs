//! `flipside logs`: of an environment, live or kept, its jobs and its hooks in containers among it.

use crate::cli;
use crate::core::event::Failure;
use crate::core::mask::Mask;
use crate::core::names::{Release, ServiceName};
use crate::core::survey::survey;
use crate::core::world::Environment;
use crate::engine::docker::clients;
use crate::engine::{EngineError, LogLine};
use crate::error::{Error, Exit, Touched};

use super::context::Context;
use super::operator::Operator;

/// Runs the verb.
///
/// # Errors
/// Where the engine cannot be asked, or no such environment or role stands.
pub async fn run(context: &Context, args: &cli::Logs) -> Result<Exit, Error> {
    let operator = context.operator_of_service(&args.service).await?;
    let world = operator.look_or_absent().await?;
    let release = args
        .release
        .map(Release)
        .or(survey(&world).live)
        .ok_or_else(|| {
            let stands: Vec<_> = world
                .environments
                .iter()
                .map(|e| e.release.to_string())
                .collect();
            Error::BadFlags {
                what: format!("no release of `{}` is live", operator.service),
                instead: Some(format!("--release, one of: {}", stands.join(", "))),
            }
        })?;
    let stands: Vec<_> = world
        .environments
        .iter()
        .map(|e| e.release.to_string())
        .collect();
    let environment = world
        .environments
        .iter()
        .find(|e| e.release == release)
        .ok_or_else(|| Error::BadFlags {
            what: format!("{}@{release} does not stand", operator.service),
            instead: Some(format!("--release, one of: {}", stands.join(", "))),
        })?;
    let containers = match wanted(&operator, environment, args) {
        Ok(containers) => containers,
        Err(error) => {
            let shared = of_shared(&operator, args).await?;
            if shared.is_empty() {
                return Err(error);
            }
            shared
        }
    };
    let mask = operator.mask(release).await;
    let showing = Showing {
        operator: &operator,
        mask: &mask,
    };
    // Those that are followed come with their last lines by then.
    let tail = if args.follow { 0 } else { args.tail };
    let (mut readable, mut others) = (Vec::new(), Vec::new());
    for container in containers {
        match operator.engine.logs(&container, tail).await {
            Ok(lines) => {
                for line in lines {
                    let container = container.clone();
                    showing.show(&LogLine { container, line });
                }
                readable.push(container);
            }
            // A role may send its log elsewhere.
            Err(EngineError::Failed(failure)) => others.push(Failure {
                what: format!("the log of `{container}` cannot be read: {}", failure.what),
                ..failure
            }),
            Err(error) => return Err(Error::of_engine(error, Touched::Nothing)),
        }
    }
    if readable.is_empty()
        && let Some(last) = others.pop()
    {
        return Err(Error::EngineRefused(last));
    }
    for failure in others {
        operator.report.warn(&failure.what);
    }
    match args.follow {
        true => showing.follow(&readable, args.tail).await,
        false => Ok(Exit::Done),
    }
}

/// What stands for the shared role that is asked for, by name; a shared role is of no release.
async fn of_shared(operator: &Operator, args: &cli::Logs) -> Result<Vec<String>, Error> {
    let (Some(role), None) = (&args.role, args.release) else {
        return Ok(Vec::new());
    };
    let standing = operator.shared().await?.into_iter();
    let of_role = standing.filter(|one| one.container.role.as_str() == role);
    Ok(of_role.map(|one| one.container.name).collect())
}

/// The containers that are asked for, by name: those of roles, jobs among them, then those of hooks.
fn wanted(
    operator: &Operator,
    environment: &Environment,
    args: &cli::Logs,
) -> Result<Vec<String>, Error> {
    let all = args.role.is_none() && args.hook.is_none();
    let is = |asked: &Option<String>, name: &str| all || asked.as_deref() == Some(name);
    let (service, release) = (&operator.service, environment.release);
    let containers = environment.containers.iter();
    let hooks: Vec<_> = hooks(service, environment).collect();
    let mut found: Vec<_> = containers
        .clone()
        .filter(|container| is(&args.role, container.role.as_str()))
        .map(|container| container.name.clone())
        .collect();
    let hooked = hooks.iter().filter(|(hook, _)| is(&args.hook, hook));
    found.extend(hooked.map(|(_, container)| (*container).to_owned()));
    if !found.is_empty() {
        return Ok(found);
    }
    let known = |mut names: Vec<String>| {
        names.dedup();
        names.join(", ")
    };
    let roles = known(containers.map(|c| c.role.to_string()).collect());
    let hooks = known(hooks.iter().map(|(hook, _)| (*hook).to_owned()).collect());
    Err(match (&args.role, &args.hook) {
        (_, Some(hook)) => Error::BadFlags {
            what: format!("{service}@{release} has no container of a hook `{hook}`"),
            instead: (!hooks.is_empty()).then(|| format!("--hook, one of: {hooks}")),
        },
        (role, None) => Error::BadFlags {
            what: format!(
                "{service}@{release} has no role `{}`",
                role.as_deref().unwrap_or_default()
            ),
            instead: Some(format!("--role, one of: {roles}")),
        },
    })
}

/// The containers of an environment's hooks, `SERVICE-RELEASE-HOOK` and `SERVICE-RELEASE-HOOK.TURN`,
/// with the hook's name.
fn hooks<'a>(
    service: &ServiceName,
    environment: &'a Environment,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let prefix = format!("{service}-{}-", environment.release);
    let parts = environment.parts.iter();
    let is_role = |name: &str| {
        let mut containers = environment.containers.iter();
        containers.any(|container| container.role.as_str() == name)
    };
    parts.filter_map(move |part| {
        let rest = part.strip_prefix(&prefix)?;
        // What fills a role's volume while it stands up.
        if rest.strip_suffix("-files").is_some_and(is_role) {
            return None;
        }
        // What looks for clients of one before that is removed.
        if rest.contains(clients::NAMED) {
            return None;
        }
        let hook = rest.split_once('.').map_or(rest, |(hook, _)| hook);
        Some((hook, part.as_str()))
    })
}

/// Where lines are shown, and what they hide.
struct Showing<'a> {
    operator: &'a Operator,
    mask: &'a Mask,
}

impl Showing<'_> {
    async fn follow(&self, containers: &[String], tail: u32) -> Result<Exit, Error> {
        let (lines, mut come) = tokio::sync::mpsc::channel(256);
        let reading = self.operator.engine.follow(containers, tail, lines);
        let showing = async move {
            while let Some(line) = come.recv().await {
                // Whoever looked for one line (`| head`) has gone: so does this.
                if !self.show(&line) {
                    break;
                }
            }
            drop(come);
        };
        let (read, ()) = tokio::join!(reading, showing);
        read.map_err(|error| Error::of_engine(error, Touched::Nothing))?;
        Ok(Exit::Done)
    }

    /// Shows a line; answers whether anybody reads on.
    fn show(&self, line: &LogLine) -> bool {
        let text = self.mask.hide(&line.line);
        let value = serde_json::json!({
            "event": "log", "container": line.container, "line": text,
        });
        self.operator
            .report
            .data(&value, &format!("{}  {text}", line.container))
    }
}

impl Operator {
    /// Hides a release's secrets, where its plan can be read again with the values of today; nothing
    /// where it cannot.
    async fn mask(&self, release: Release) -> Mask {
        let known = (self.recall())(release).await;
        known.map_or_else(|_| Mask::default(), |known| known.mask())
    }
}
