//! One role: its keys in Compose's words, one after the other.

use std::collections::BTreeMap;

use super::fields::{Field, Fields, instead, role_path};
use super::order::{self, Wish, Wishes};
use super::propose::Proposal;
use super::read::Reader;
use super::source::Span;
use super::store::Declared;
use super::tree::Node;
use super::{
    advice, command, environment, expose, healthcheck, host, image, job, labels, limits, logging,
    network_mode, networks, ports, process, volumes,
};
use crate::core::plan::{Condition, Host, Restart, Role, Run};
use crate::core::{RoleName, ServiceName};

/// Where a role stands, when it runs, and what is around it.
pub(super) struct At<'a> {
    pub key: Span,
    pub run: Run,
    /// How it seems to be meant to run, where nothing says how it shall.
    pub proposal: Option<Proposal>,
    pub name: &'a RoleName,
    pub declared: &'a Declared,
    /// All roles.
    pub services: &'a Node,
    pub service: Option<&'a ServiceName>,
}

/// A role, and what it says of others.
pub(super) struct Read {
    pub role: Role,
    pub wishes: Wishes,
    pub links: Vec<Link>,
    /// Where it says whose network it uses.
    pub network_place: Option<Span>,
    /// The TCP ports that it would publish in Compose.
    pub published: Vec<u16>,
}

/// A further name for another role.
pub(super) struct Link {
    pub to: String,
    pub alias: String,
}

/// Reads a role.
pub(super) fn role(reader: &mut Reader<'_>, mut fields: Fields<'_>, at: &At<'_>) -> Option<Read> {
    let image = image::source(reader, &mut fields, at.key);
    let pull = image::pull(reader, &mut fields, image.as_ref());
    let platform = fields
        .take("platform")
        .and_then(|field| image::platform(reader, field.node));
    let environment = environment::environment(reader, &mut fields);
    let read_only = fields
        .take("read_only")
        .map(|field| (field.key, reader.boolean(field.node)));
    let read_only_place = read_only.and_then(|(place, on)| (on == Some(true)).then_some(place));
    let mounted = volumes::mounted(reader, &mut fields, at, read_only_place);
    let replicas_place = job::replicas_place(&fields);
    let (replicas, limits) = limits::limits(reader, &mut fields, at);
    if matches!(at.run, Run::Once | Run::Shared) {
        job::check_replicas(reader, replicas_place, replicas, (at.name, at.run));
    }
    let timeout_ms = job::timeout(reader, &mut fields, at.run);
    let mut words = [None, None];
    for (slot, name) in words.iter_mut().zip(["command", "entrypoint"]) {
        let place = fields.below(name);
        if let Some(field) = fields.take(name) {
            *slot = command::command(reader, field.node, &place);
        }
    }
    let [command, entrypoint] = words;
    let healthcheck_place = fields.below("healthcheck");
    let healthcheck = fields
        .take("healthcheck")
        .and_then(|field| healthcheck::healthcheck(reader, field.node, &healthcheck_place));
    let depends_place = fields.below("depends_on");
    let mut wishes = fields
        .take("depends_on")
        .map(|field| order::wishes(reader, field.node, &depends_place))
        .unwrap_or_default();
    let links = fields
        .take("links")
        .map(|field| links(reader, field, at.name, &mut wishes))
        .unwrap_or_default();
    let mut host = host::host(reader, &mut fields, at.name, at.run);
    if let Some(field) = fields.take("restart") {
        host.restart = restart(reader, field, at);
    }
    let mut stop_grace_ms = 10_000;
    let stop_signal = fields
        .take("stop_signal")
        .and_then(|field| process::signal(reader, field.node));
    if let Some(field) = fields.take("stop_grace_period") {
        stop_grace_ms = reader.duration(field.node).unwrap_or(stop_grace_ms);
        if stop_grace_ms == 0 {
            reader.note(
                field.key,
                "`stop_grace_period: 0s` kills the containers at once",
            );
        }
    }
    let user = fields
        .take("user")
        .and_then(|field| user(reader, field.node));
    let working_dir = fields
        .take("working_dir")
        .and_then(|field| directory(reader, field.node));
    let path = fields.path.clone();
    let mut capabilities = |reader: &mut Reader<'_>, name| {
        let field = fields.take(name);
        field
            .map(|field| process::capabilities(reader, field.node, (&path, name)))
            .unwrap_or_default()
    };
    let cap_add = capabilities(reader, "cap_add");
    let cap_drop = capabilities(reader, "cap_drop");
    let security_opt = fields
        .take("security_opt")
        .map(|field| process::security_options(reader, field, at.name))
        .unwrap_or_default();
    let group_add = fields
        .take("group_add")
        .map(|field| process::groups(reader, field.node, &path))
        .unwrap_or_default();
    let sysctls = fields
        .take("sysctls")
        .map(|field| process::sysctls(reader, field.node))
        .unwrap_or_default();
    let ulimits_place = fields.below("ulimits");
    let ulimits = fields
        .take("ulimits")
        .map(|field| limits::ulimits(reader, field.node, &ulimits_place))
        .unwrap_or_default();
    let labels = fields
        .take("labels")
        .map(|field| labels::labels(reader, field, at.name, at.run))
        .unwrap_or_default();
    let logging_place = fields.below("logging");
    let logging = fields
        .take("logging")
        .and_then(|field| logging::logging(reader, field.node, &logging_place));
    let [init, tty, stdin_open] = ["init", "tty", "stdin_open"].map(|name| {
        let field = fields.take(name);
        field.and_then(|field| reader.boolean(field.node))
    });
    let published = published(reader, &mut fields, at, &mut host);
    let beside_network = ["hostname", "networks", "extra_hosts", "dns", "dns_search"].map(|name| {
        (
            name,
            fields.peek(name).filter(|field| !field.node.is_null()),
        )
    });
    let network_place = fields.peek("network_mode").map(|field| field.key);
    let network_of = network_mode::network_mode(
        reader,
        &mut fields,
        (at.name, at.run),
        &mut host,
        &mut wishes,
    );
    let extra_hosts = fields
        .take("extra_hosts")
        .map(|field| networks::extra_hosts(reader, field.node))
        .unwrap_or_default();
    let dns = fields
        .take("dns")
        .map(|field| networks::dns(reader, field.node))
        .unwrap_or_default();
    let dns_search = fields
        .take("dns_search")
        .map(|field| networks::dns_search(reader, field.node))
        .unwrap_or_default();
    let networks_place = fields.below("networks");
    let joined = fields
        .take("networks")
        .map(|field| networks::joined(reader, field.node, &networks_place, at))
        .unwrap_or_default();
    let hostname = networks::hostname(reader, &mut fields, &joined.external, at.run);
    let expose = fields
        .take("expose")
        .map(|field| expose::ports(reader, field.node))
        .unwrap_or_default();
    let mut aliases = joined.aliases;
    if let Some(alias) = container_name(reader, &mut fields, at.name)
        && !aliases.contains(&alias)
    {
        aliases.push(alias);
    }
    for (key, why) in [
        (
            "attach",
            "`attach` is for a terminal that Compose shows logs in; `flipside logs` has them",
        ),
        (
            "develop",
            "`develop` is for a developer's own machine, and does nothing here",
        ),
    ] {
        if let Some(field) = fields.take(key) {
            reader.translated(field, why);
        }
    }
    fields.finish(reader, advice::OF_A_ROLE);
    let role = Role {
        run: at.run,
        image: image?,
        pull,
        command,
        entrypoint,
        environment,
        files: mounted.files,
        mounts: mounted.mounts,
        tmpfs: mounted.tmpfs,
        healthcheck,
        depends_on: BTreeMap::new(),
        timeout_ms,
        replicas,
        limits,
        stop_signal,
        stop_grace_ms,
        user,
        working_dir,
        read_only: read_only_place.is_some(),
        cap_add,
        cap_drop,
        security_opt,
        ulimits,
        labels,
        init,
        extra_hosts,
        dns,
        networks: joined.external,
        hostname,
        expose,
        aliases,
        network_of,
        tty: tty.unwrap_or(false),
        stdin_open: stdin_open.unwrap_or(false),
        sysctls,
        logging,
        group_add,
        dns_search,
        platform,
        host,
    };
    let places = beside_network.map(|(name, field)| (name, field.map(|field| field.key)));
    network_mode::alone(reader, (at.name, &role), &places);
    Some(Read {
        role,
        wishes,
        links,
        network_place,
        published,
    })
}

/// `restart`: any of Compose's values is accepted. A role of a release comes back unless it is
/// stopped; a job never does; a shared role as it says.
fn restart(reader: &mut Reader<'_>, field: Field<'_>, at: &At<'_>) -> Restart {
    let otherwise = Restart::default();
    let node = field.node;
    let Some(text) = reader.public(node, "`unless-stopped`") else {
        return otherwise;
    };
    let (policy, most) = match text.split_once(':') {
        Some((policy, most)) => (policy, Some(most)),
        None => (text.as_str(), None),
    };
    let count = most.map(str::parse::<u32>);
    let said = match (policy, count) {
        ("no", None) => Restart::No,
        ("always", None) => Restart::Always,
        ("unless-stopped", None) => Restart::UnlessStopped,
        ("on-failure", None) => Restart::OnFailure(None),
        ("on-failure", Some(Ok(most))) => Restart::OnFailure(Some(most)),
        _ => {
            reader.wrong(
                node.span,
                format!("`{text}` is not a restart policy"),
                instead(field.key, &role_path(at.name), "restart: unless-stopped"),
            );
            return otherwise;
        }
    };
    match at.run {
        Run::Shared => return said,
        Run::Once => job::restart(reader, field, policy, at.name),
        _ if policy == "always" => reader.note(node.span, format!("`restart: {text}` becomes `unless-stopped`: an environment comes back after a reboot")),
        _ if policy != "unless-stopped" => reader.note(
            node.span,
            format!(
                "`restart: {text}` becomes `unless-stopped`: `{}` is started again whenever it ends; if it is a job, write `services: {{{}: {{run: once}}}}`",
                at.name, at.name
            ),
        ),
        _ => {}
    }
    otherwise
}

/// `ports`: a shared role has them; of a role of a release they say what may be exposed.
fn published(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    at: &At<'_>,
    host: &mut Host,
) -> Vec<u16> {
    let place = fields.below("ports");
    let Some(field) = fields.take("ports") else {
        return Vec::new();
    };
    if at.run == Run::Shared {
        let ports = ports::ports(reader, field.node, &place, at.run).into_iter();
        host.ports = ports.map(|(_, port)| port).collect();
        return Vec::new();
    }
    ports::candidates(reader, field, &place, at.name)
}

/// `container_name`: releases stand side by side, so that it can only be a name within each.
fn container_name(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    role: &RoleName,
) -> Option<String> {
    let field = fields.take("container_name")?;
    let name = reader.public(field.node, "a container's name")?;
    let good = !name.is_empty()
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"_.-".contains(&c));
    if !good {
        reader.wrong(
            field.node.span,
            format!("`{name}` is not a container's name"),
            "use a-z, A-Z, 0-9, `_`, `.` and `-`, with a letter or digit first",
        );
        return None;
    }
    if name == role.as_str() {
        reader.translated(
            field,
            format!(
                "`container_name: {name}` is the role's own name, by which the others reach it"
            ),
        );
        return None;
    }
    reader.translated(
        field,
        format!("`container_name: {name}` becomes a name by which the roles beside `{role}` reach it; the containers are named SERVICE-RELEASE-ROLE-REPLICA"),
    );
    Some(name)
}

/// `links`: an order, and a further name for the other role.
fn links(
    reader: &mut Reader<'_>,
    field: Field<'_>,
    role: &RoleName,
    wishes: &mut Wishes,
) -> Vec<Link> {
    let Some(items) = reader.list(field.node, "a list of roles, each `ROLE` or `ROLE:ALIAS`")
    else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for item in items {
        let Some(text) = reader.public(item, "`ROLE` or `ROLE:ALIAS`") else {
            continue;
        };
        let (to, alias) = text.split_once(':').unwrap_or((&text, ""));
        if !alias.is_empty() && alias != to {
            if networks::is_host(alias) {
                found.push(Link {
                    to: to.to_owned(),
                    alias: alias.to_owned(),
                });
            } else {
                reader.wrong(
                    item.span,
                    format!("`{alias}` is not a host name"),
                    "write `ROLE:ALIAS`, the alias of a-z, 0-9, `-` and `.`",
                );
            }
        }
        if !wishes.iter().any(|wish| wish.name == to) {
            wishes.push(Wish {
                name: to.to_owned(),
                span: item.span,
                condition: Condition::Started,
                required: true,
                key: "links",
            });
        }
    }
    if !items.is_empty() {
        reader.translated(
            field,
            format!("the `links` of `{role}` become an order, and names that every role beside it may use"),
        );
    }
    found
}

fn user(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let text = reader.public(node, "`UID`, `UID:GID` or a name")?;
    let parts: Vec<_> = text.split(':').collect();
    let good = |part: &&str| !part.is_empty() && !part.contains(char::is_whitespace);
    if parts.len() > 2 || !parts.iter().all(good) {
        reader.wrong(
            node.span,
            format!("`{text}` is not a user"),
            "write `UID`, `UID:GID` or a name",
        );
        return None;
    }
    Some(text)
}

fn directory(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let text = reader.public(node, "an absolute path")?;
    if !text.starts_with('/') {
        reader.wrong(
            node.span,
            format!("`{text}` is not an absolute path"),
            format!("write `/{text}`"),
        );
        return None;
    }
    Some(text)
}
