//! `flipside proxy`: be the embedded proxy, relay to it, show it, take it down.

use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::cli::{Common, Control, ProxyClients, ProxyCtl, ProxyRun};
use crate::core::names::ServiceName;
use crate::core::words::{clean, list};
use crate::docker;
use crate::error::{Error, Exit, Touched};
use crate::perform::bounded::no_answer;
use crate::pointer::PointerError;
use crate::pointer::proxy::{
    self as pointer, Newer, Overview, ProxyOptions, ProxyPlan, Site, TakenDown,
};
use crate::proxy;
use crate::proxy::control::{Entry, Stats};
use crate::report::table_width;
use crate::report::tables::{calm, date};

use super::context::{Answer, Context};
use super::operator::Operator;

/// The variable that puts the sockets' directory elsewhere, as tests need it.
pub const RUN_DIR_VARIABLE: &str = "FLIPSIDE_RUN_DIR";
/// How long the proxy may take to answer `status` and `down`.
const ANSWER: Duration = Duration::from_secs(10);
/// How long taking it down may take, its requests in flight included.
const DOWN: Duration = Duration::from_secs(60);

/// Which proxy the common flags mean.
#[must_use]
pub fn site(common: &Common, docker: docker::Client) -> Site {
    let mut site = Site::new(docker, &common.proxy);
    site.image.given.clone_from(&common.proxy_image);
    site.control = match common.proxy_control {
        Control::Auto => pointer::Control::Auto,
        Control::Socket => pointer::Control::Socket,
        Control::Exec => pointer::Control::Exec,
    };
    if let Some(directory) = std::env::var_os(RUN_DIR_VARIABLE) {
        site.run_dir = directory.into();
    }
    site
}

/// The options of the pointer that the common flags and a service's plan mean.
#[must_use]
pub fn options(
    common: &Common,
    docker: docker::Client,
    service: ServiceName,
    plan: Option<ProxyPlan>,
    newer: Newer,
) -> ProxyOptions {
    ProxyOptions {
        site: site(common, docker),
        service,
        plan,
        newer,
    }
}

/// Takes the proxy down if it serves nothing any more and no other service may be about to be served
/// by it.
///
/// # Errors
/// Where it cannot be asked, its container is a stranger's, or the engine says no.
pub async fn end_if_idle(context: &Context, operator: &Operator) -> Result<(), Error> {
    let site = connect(context).await?;
    if is_awaited(operator, &site).await? {
        return Ok(());
    }
    let down = within(
        DOWN,
        &site,
        pointer::take_down_if_idle(&site),
        Touched::Something,
    )
    .await?;
    if let Some(down) = down {
        context.report.say(&lines(&down));
    }
    Ok(())
}

/// Whether another service has an environment, or somebody at work on it, and no other proxy of the
/// engine serves it: its first switch may be yet to come. What is shared needs no proxy.
async fn is_awaited(operator: &Operator, site: &Site) -> Result<bool, Error> {
    let engine = &operator.engine;
    let away = |error| Error::of_engine(error, Touched::Something);
    let mut elsewhere = None;
    for service in engine.services().await.map_err(away)? {
        let (stands, held) =
            tokio::try_join!(engine.inspect(&service), engine.tokens(&service)).map_err(away)?;
        if service == operator.service || stands.is_empty() && held.is_empty() {
            continue;
        }
        if elsewhere.is_none() {
            let asked = pointer::served_elsewhere(site);
            elsewhere = Some(within(ANSWER, site, asked, Touched::Something).await?);
        }
        if elsewhere.iter().flatten().all(|it| *it != service.as_str()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `flipside proxy run`: blocks until it is told to stop, on threads and runtimes of its own, so it
/// must not be called inside one.
///
/// # Errors
/// Where its table or its socket cannot be opened.
pub fn run(args: &ProxyRun) -> Result<Exit, Error> {
    let log = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_max_level(tracing::Level::INFO)
        .try_init();
    if let Err(already) = log {
        tracing::debug!(%already, "the caller has a log of its own");
    }
    let failed = |doing: String, error: io::Error| Error::Io {
        doing,
        why: error.to_string(),
        touched: Touched::Nothing,
    };
    // In its container the directory is the socket's alone; elsewhere it may be anybody's.
    if let (1, Some(directory)) = (std::process::id(), args.socket.parent()) {
        close_to_others(directory, args.socket_group).map_err(|error| {
            failed(
                format!("closing `{}` to others", directory.display()),
                error,
            )
        })?;
    }
    proxy::run(proxy::Options {
        table: args.table.clone(),
        socket: args.socket.clone(),
        socket_group: args.socket_group,
        identity: args.identity.clone(),
        threads: args.threads,
    })
    .map_err(|error| failed("running the proxy".into(), error))?;
    Ok(Exit::Done)
}

fn close_to_others(directory: &Path, group: Option<u32>) -> io::Result<()> {
    if group.is_some() {
        chown(directory, None, group)?;
    }
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o750))
}

/// `flipside proxy ctl`: until either end ends.
///
/// # Errors
/// Where nothing listens on the socket, or copying fails.
pub async fn ctl(args: &ProxyCtl) -> Result<Exit, Error> {
    let relayed = proxy::control::relay(&args.socket, tokio::io::stdin(), tokio::io::stdout());
    relayed.await.map_err(|error| Error::PointerOutOfReach {
        pointer: args.socket.display().to_string(),
        why: error.to_string(),
        touched: Touched::Nothing,
    })?;
    Ok(Exit::Done)
}

/// `flipside proxy clients`.
///
/// # Errors
/// Where the kernel does not say.
pub async fn clients(context: &Context, args: &ProxyClients) -> Result<Exit, Error> {
    let seen = crate::engine::docker::clients::seen(args.port, &args.but, args.watch).await;
    let seen = seen.map_err(|error| Error::Io {
        doing: "listing connections".into(),
        why: error.to_string(),
        touched: Touched::Nothing,
    })?;
    let value = serde_json::json!({"event": "clients", "port": args.port, "clients": seen});
    context.report.data(&value, &seen.to_string());
    Ok(Exit::Done)
}

/// `flipside proxy status`.
///
/// # Errors
/// Where there is no proxy, or it cannot be asked.
pub async fn status(context: &Context) -> Result<Exit, Error> {
    let site = connect(context).await?;
    let found = within(ANSWER, &site, pointer::overview(&site), Touched::Nothing).await?;
    let found = found.ok_or_else(|| Error::PointerRefused {
        what: format!(
            "there is no proxy `{}` on engine {}",
            site.name,
            site.docker.address()
        ),
        mend: Some(
            "the first deploy that needs it starts it; name another with --proxy NAME".into(),
        ),
    })?;
    context
        .report
        .data(&as_json(&site.name, &found), &as_text(&site.name, &found));
    Ok(Exit::Done)
}

/// `flipside proxy down`: asks while the proxy serves anything, or cannot say whether it does.
///
/// # Errors
/// Where it was not allowed, or the engine says no.
pub async fn down(context: &Context) -> Result<Exit, Error> {
    let site = connect(context).await?;
    let looked = within(ANSWER, &site, pointer::overview(&site), Touched::Nothing).await;
    let serves = match looked {
        Ok(found) => found.as_ref().and_then(serving),
        // Stopped, deaf or broken: what its table holds is not known.
        Err(Error::PointerOutOfReach { why, .. }) => Some(format!(
            "which does not say what it serves ({})",
            clean(&why)
        )),
        Err(error) => return Err(error),
    };
    if let (Some(serves), false) = (serves, context.common.yes) {
        let what = format!("take down the proxy `{}`, {serves}", site.name);
        if !context.may_ask() {
            return Err(Error::NeedsYes { what });
        }
        if context.confirm(&context.report, &format!("{what}? [y/N] "))? == Answer::No {
            return Err(Error::Declined { what });
        }
    }
    let down = within(DOWN, &site, pointer::take_down(&site), Touched::Something).await?;
    let text = if down == TakenDown::default() {
        format!("there is no proxy `{}`", site.name)
    } else {
        lines(&down)
    };
    let event = json!({"event": "proxy-down", "removed": down.removed, "left": down.left});
    context.report.data(&event, &text);
    Ok(Exit::Done)
}

async fn connect(context: &Context) -> Result<Site, Error> {
    let client = context.client(context.common.engine.as_deref()).await?;
    Ok(site(&context.common, client))
}

fn lines(down: &TakenDown) -> String {
    let removed = down.removed.iter().map(|name| format!("removed {name}"));
    let left = down.left.iter().map(|name| format!("left {name}"));
    removed.chain(left).collect::<Vec<_>>().join("\n")
}

async fn within<T>(
    limit: Duration,
    site: &Site,
    asked: impl Future<Output = Result<T, PointerError>>,
    touched: Touched,
) -> Result<T, Error> {
    let pointer = format!("proxy {}", site.name);
    let answer = tokio::time::timeout(limit, asked)
        .await
        .unwrap_or_else(|_| {
            let why = no_answer(limit);
            Err(match touched {
                Touched::Nothing => PointerError::OutOfReach { pointer, why },
                Touched::Something => PointerError::Lost { pointer, why },
            })
        });
    answer.map_err(|error| Error::of_pointer(&site.name, error, touched))
}

/// What a person should know before it is taken down; `None` where it serves nothing.
fn serving(found: &Overview) -> Option<String> {
    let names = found
        .services
        .iter()
        .map(|(entry, _)| entry.service.as_str());
    let bad = found
        .hello
        .bad_entries
        .iter()
        .map(|bad| bad.service.as_str());
    let names: Vec<String> = names.chain(bad).map(|name| format!("`{name}`")).collect();
    (!names.is_empty()).then(|| format!("which serves {}", list(&names)))
}

fn as_json(name: &str, found: &Overview) -> serde_json::Value {
    let services = found.services.iter().map(|(entry, stats)| {
        let environments = entry.environments.iter().map(|environment| {
            let counted = stats.releases.get(&environment.release);
            json!({
                "release": environment.release,
                "slot": environment.slot,
                "weight": environment.weight,
                "endpoints": environment.endpoints,
                "in_flight": counted.map_or(0, |counted| counted.in_flight),
                "requests": counted.map_or(0, |counted| counted.requests),
            })
        });
        json!({
            "service": entry.service,
            "listen": entry.listen,
            "hosts": entry.hosts,
            "slots": entry.slots,
            "generation": entry.generation,
            "fence": entry.fence,
            "author": entry.author,
            "reason": entry.reason,
            "at": entry.at_ms,
            "in_flight": in_flight(stats),
            "environments": environments.collect::<Vec<_>>(),
            "marks": entry.marks,
        })
    });
    json!({
        "proxy": name,
        "identity": found.hello.identity,
        "version": found.hello.version,
        "protocol": found.hello.protocol,
        "listeners": found.hello.listeners,
        "services": services.collect::<Vec<_>>(),
        "bad_entries": found.hello.bad_entries,
    })
}

fn as_text(name: &str, found: &Overview) -> String {
    let hello = &found.hello;
    let mut text = format!(
        "proxy {name} · flipside {} · protocol {}\n",
        clean(&hello.version),
        hello.protocol,
    );
    for listener in &hello.listeners {
        text += &match &listener.error {
            None => format!("listens on {}\n", listener.address),
            Some(error) => format!("cannot listen on {}: {}\n", listener.address, clean(error)),
        };
    }
    for bad in &hello.bad_entries {
        let (service, reason) = (clean(&bad.service), clean(&bad.reason));
        text += &format!(
            "does not serve {service}: {} cannot be read: {reason}\n",
            clean(&bad.file)
        );
    }
    if found.services.is_empty() {
        return text + "serves nothing";
    }
    let heads = [
        "service",
        "at",
        "traffic",
        "in flight",
        "generation",
        "written (UTC)",
        "by",
        "why",
    ];
    let rows: Vec<_> = found
        .services
        .iter()
        .map(|(entry, stats)| {
            [
                clean(&entry.service),
                place(entry),
                traffic(entry),
                in_flight(stats).to_string(),
                entry.generation.to_string(),
                date(entry.at_ms),
                clean(&entry.author),
                clean(&entry.reason),
            ]
        })
        .collect();
    text + "\n" + &calm(table_width(), heads, &rows, &[3, 4])
}

fn place(entry: &Entry) -> String {
    if !entry.slots.is_empty() {
        let slots = entry.slots.iter();
        let slots: Vec<_> = slots.map(|(slot, at)| format!("{slot} {at}")).collect();
        return clean(&slots.join(", "));
    }
    match entry.hosts.as_slice() {
        [] => clean(&entry.listen),
        hosts => format!("{} {}", clean(&entry.listen), clean(&hosts.join(", "))),
    }
}

/// Which releases get traffic: `@2`, or `@1 90, @2 10` where several do; by slot, `blue @1, green @2`.
fn traffic(entry: &Entry) -> String {
    let some: Vec<_> = entry
        .environments
        .iter()
        .filter(|it| it.weight > 0)
        .collect();
    match some.as_slice() {
        [] => "none".into(),
        attached if !entry.slots.is_empty() => {
            let slots = attached
                .iter()
                .map(|it| format!("{} @{}", clean(&it.slot), it.release));
            slots.collect::<Vec<_>>().join(", ")
        }
        [one] => format!("@{}", one.release),
        several => {
            let shares = several
                .iter()
                .map(|it| format!("@{} {}", it.release, it.weight));
            shares.collect::<Vec<_>>().join(", ")
        }
    }
}

fn in_flight(stats: &Stats) -> u64 {
    stats
        .releases
        .values()
        .map(|counted| counted.in_flight)
        .sum()
}
