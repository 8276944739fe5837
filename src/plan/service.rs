//! `services`: each entry a role, in Compose's words.

use std::collections::BTreeMap;

use super::account::Fate;
use super::fields::{Fields, role_path};
use super::network_mode as network;
use super::order::{self, Wishes};
use super::read::Reader;
use super::role;
use super::source::Span;
use super::store::Declared;
use super::tree::{Key, Node, Value};
use crate::core::plan::{Role, Run};
use crate::core::{RoleName, ServiceName};

/// The roles of a plan.
#[derive(Default)]
pub(super) struct Roles {
    /// Those of a release.
    pub roles: BTreeMap<RoleName, Role>,
    /// Those that outlive releases.
    pub shared: BTreeMap<RoleName, Role>,
    /// Those that are left out, and why.
    pub left_out: BTreeMap<String, LeftOut>,
    /// Where roles say whose network they use.
    pub network_places: BTreeMap<RoleName, Span>,
    /// The TCP ports that roles of a release would publish in Compose.
    pub published: BTreeMap<RoleName, Vec<u16>>,
}

/// Why a role is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LeftOut {
    /// `run: never`.
    Never,
    /// None of its profiles is chosen; this is the first of them.
    Off(String),
}

impl LeftOut {
    /// What is wrong where such a role is named, and what would bring it back.
    pub(super) fn words(&self, name: &str) -> (String, String) {
        match self {
            Self::Never => (
                format!("`{name}` is left out by its `run: never`"),
                "remove the `run: never`".to_owned(),
            ),
            Self::Off(profile) => (
                format!("`{name}` is off: its profile `{profile}` is not chosen"),
                format!("choose it at the top level: `profiles: [{profile}]`"),
            ),
        }
    }
}

/// The top level's `services`.
pub(super) fn roles(
    reader: &mut Reader<'_>,
    node: &Node,
    declared: &Declared,
    service: Option<&ServiceName>,
) -> Option<Roles> {
    let Value::Map(entries) = &node.value else {
        reader.expected(node, "`ROLE:` with its keys below, for each role");
        return None;
    };
    let mut found = Roles::default();
    let mut wishes: BTreeMap<RoleName, Wishes> = BTreeMap::new();
    let mut links: Vec<role::Link> = Vec::new();
    let mut folded: BTreeMap<String, Span> = BTreeMap::new();
    let mut complete = true;
    for (key, value) in entries {
        let Some(name) = role_name(reader, key, &mut folded) else {
            complete = false;
            continue;
        };
        let place = role_path(&name);
        let Some(mut fields) =
            reader.fields(value, &place, "the role's keys, such as `image: NAME:TAG`")
        else {
            complete = false;
            continue;
        };
        fields.ignore_extensions(reader);
        let undecided = fields.peek("run").is_none();
        let run = run(reader, &mut fields);
        match run {
            Some(Run::Always | Run::LiveOnly | Run::Once | Run::Shared) => {}
            Some(Run::Never) => {
                found.left_out.insert(key.text.clone(), LeftOut::Never);
                reader.became(value, Fate::LeftOut);
                continue;
            }
            None => complete = false,
        }
        if let Some(profile) = off(reader, &mut fields) {
            reader.note(
                key.span,
                format!("`{name}` is off: its profile `{profile}` is not chosen"),
            );
            found
                .left_out
                .insert(key.text.clone(), LeftOut::Off(profile));
            reader.became(value, Fate::LeftOut);
            continue;
        }
        let proposal = reader
            .proposals
            .get(&key.text)
            .filter(|_| undecided)
            .cloned();
        if let Some(proposal) = &proposal {
            let advice = proposal.advice(&key.text);
            reader.note(
                key.span,
                format!("`{name}` runs in every environment, since nothing else is said: {advice}"),
            );
        }
        let at = role::At {
            proposal,
            key: key.span,
            run: run.unwrap_or_default(),
            name: &name,
            declared,
            services: node,
            service,
        };
        match role::role(reader, fields, &at) {
            Some(read) => {
                wishes.insert(name.clone(), read.wishes);
                links.extend(read.links);
                let kind = match read.role.run {
                    Run::Shared => &mut found.shared,
                    _ => &mut found.roles,
                };
                kind.insert(name.clone(), read.role);
                if let Some(place) = read.network_place {
                    found.network_places.insert(name.clone(), place);
                }
                if !read.published.is_empty() {
                    found.published.insert(name, read.published);
                }
            }
            None => complete = false,
        }
    }
    if !complete {
        return None;
    }
    if found.roles.is_empty() {
        let help = match found.left_out.values().find_map(|left| match left {
            LeftOut::Off(profile) => Some(profile),
            LeftOut::Never => None,
        }) {
            Some(profile) => format!("choose a profile at the top level: `profiles: [{profile}]`"),
            None => "add one: `web: {image: NAME:TAG}`".to_owned(),
        };
        reader.wrong(
            node.span,
            "this plan has no role of a release that runs",
            help,
        );
        return None;
    }
    order::settle(reader, &mut found, &wishes);
    for link in links {
        let target = found.roles.iter_mut().chain(&mut found.shared);
        if let Some((_, role)) = target
            .into_iter()
            .find(|(name, _)| name.as_str() == link.to)
            && !role.aliases.contains(&link.alias)
        {
            role.aliases.push(link.alias);
        }
    }
    network::check(reader, &found);
    Some(found)
}

/// Stands for all profiles.
pub(super) const ALL: &str = "*";

/// The profile for want of which a role is off.
fn off(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<String> {
    let field = fields.take("profiles")?;
    let all = reader.words(field.node, "a profile, or a list of them");
    let is_chosen = |name: &str| match name {
        // In Compose the empty one is chosen where no other is.
        "" => reader.profiles.is_empty(),
        name => reader.profiles.contains_key(name) || reader.profiles.contains_key(ALL),
    };
    if all.iter().any(|name| is_chosen(name)) {
        return None;
    }
    all.into_iter().find(|name| !name.is_empty())
}

fn role_name(
    reader: &mut Reader<'_>,
    key: &Key,
    folded: &mut BTreeMap<String, Span>,
) -> Option<RoleName> {
    let name = match RoleName::new(key.text.clone()) {
        Ok(name) => name,
        Err(bad) => {
            reader.wrong(
                key.span,
                format!("`{}` is not a {}", bad.name, bad.what),
                bad.rule,
            );
            return None;
        }
    };
    // Names are looked up without regard to case once they are host names.
    if let Some(first) = folded.insert(key.text.to_ascii_lowercase(), key.span) {
        let line = reader.line(first, key.span);
        reader.wrong(
            key.span,
            format!("`{name}` and the role on {line} are the same host name"),
            "give one of them another name",
        );
    }
    Some(name)
}

fn run(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<Run> {
    let Some(field) = fields.take_full(reader, "run") else {
        return Some(Run::Always);
    };
    match reader.choice(
        field.node,
        "way to run a role",
        &["always", "never", "live-only", "once", "shared"],
    )? {
        "always" => Some(Run::Always),
        "live-only" => Some(Run::LiveOnly),
        "once" => Some(Run::Once),
        "shared" => Some(Run::Shared),
        _ => Some(Run::Never),
    }
}
