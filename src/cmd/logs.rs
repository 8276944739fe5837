//! `flipside logs`: of an environment, live or kept.

use crate::cli;
use crate::core::names::Release;
use crate::core::survey::survey;
use crate::core::world::Container;
use crate::engine::LogLine;
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
    let wanted = |container: &&Container| {
        args.role
            .as_ref()
            .is_none_or(|role| container.role.as_str() == role)
    };
    let containers: Vec<_> = environment.containers.iter().filter(wanted).collect();
    if containers.is_empty() {
        let mut roles: Vec<_> = environment
            .containers
            .iter()
            .map(|c| c.role.to_string())
            .collect();
        roles.dedup();
        return Err(Error::BadFlags {
            what: format!(
                "{}@{release} has no role `{}`",
                operator.service,
                args.role.as_deref().unwrap_or_default()
            ),
            instead: Some(format!("--role, one of: {}", roles.join(", "))),
        });
    }
    if args.follow {
        return follow(&operator, &containers, args.tail).await;
    }
    for container in containers {
        let lines = operator
            .engine
            .logs(&container.id, args.tail)
            .await
            .map_err(|error| Error::of_engine(error, Touched::Nothing))?;
        for line in lines {
            show(
                &operator,
                &LogLine {
                    container: container.name.clone(),
                    line,
                },
            );
        }
    }
    Ok(Exit::Done)
}

async fn follow(operator: &Operator, containers: &[&Container], tail: u32) -> Result<Exit, Error> {
    let names: Vec<_> = containers
        .iter()
        .map(|container| container.name.clone())
        .collect();
    let (lines, mut come) = tokio::sync::mpsc::channel(256);
    let reading = operator.engine.follow(&names, tail, lines);
    let showing = async move {
        while let Some(line) = come.recv().await {
            // Whoever looked for one line (`| head`) has gone: so does this.
            if !show(operator, &line) {
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
fn show(operator: &Operator, line: &LogLine) -> bool {
    let value = serde_json::json!({
        "event": "log", "container": line.container, "line": line.line,
    });
    operator
        .report
        .data(&value, &format!("{}  {}", line.container, line.line))
}
