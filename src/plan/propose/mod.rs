//! A first plan for Compose files: what can be told from them, each proposal with its reason.
//!
//! Nothing here decides: a person accepts a proposal or leaves it, and what is left is written as a
//! comment. Whether the plan is good is the reader's to say.

mod data;
mod dockerfile;
mod facts;
mod files;
mod images;
mod lines;
mod named;
mod profiles;
mod proxies;
mod roles;
mod settle;
mod tasks;
mod text;
mod way_in;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub(super) use files::relative;
pub(super) use roles::{Proposal, Proposals};
pub(super) use text::always_quoted;

use super::compose::{self, Whole};
use super::error::Problem;
use super::read::Reader;
use super::source::{PLAN, Source};
use super::substitute;
use super::tree::{Node, Value};
use super::{Inputs, PlanError, root};
use crate::core::ServiceName;
use crate::core::plan::Run;
use crate::core::words::list;
use facts::Service;
use files::{absolute, names};
use named::Names;
use text::quoted;
use way_in::WayIn;

/// Where a line of a plan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// `project`.
    Project,
    /// `profiles`.
    Profiles,
    /// `services`.
    Services,
    /// `volumes`.
    Volumes,
    /// `networks`.
    Networks,
    /// `shared_paths`.
    SharedPaths,
    /// `copied_paths`.
    CopiedPaths,
    /// `expose`.
    Expose,
    /// `probes`.
    Probes,
    /// `pointer`.
    Pointer,
}

/// One proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it stands.
    pub section: Section,
    /// The line, as it stands below its section.
    pub text: String,
    /// Why it is proposed.
    pub why: String,
    /// Whether it is written; else it becomes a comment.
    pub accepted: bool,
}

/// A plan before anybody has accepted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The service's name: the Compose project's.
    pub service: String,
    /// The Compose files, as the plan names them.
    pub compose: Vec<String>,
    /// What is proposed, by section.
    pub lines: Vec<Line>,
    /// Variables that the files name and that have no value so far.
    pub unset: BTreeSet<String>,
}

/// What a draft is made of.
struct Known<'a> {
    /// The merged Compose files.
    root: &'a Node,
    services: &'a BTreeMap<String, Service>,
    proposals: &'a Proposals,
    /// The Compose project.
    project: Option<&'a str>,
    /// The service that the plan is for.
    service: &'a str,
    /// Where the Compose files' relative paths begin.
    directory: &'a Path,
    /// Whether the plan's begin there too.
    beside: bool,
}

/// What is proposed for the Compose files `files` in a plan that stands in `directory`.
///
/// # Errors
/// Where a file cannot be read or is no Compose file.
pub fn draft(files: &[PathBuf], directory: &Path, inputs: &Inputs<'_>) -> Result<Draft, PlanError> {
    let directory = absolute(directory)?;
    let names = names(files, &directory, inputs)?;
    let (mut reader, whole) = read(&names, &directory, inputs)?;
    let project = whole.project.as_deref();
    // The plan will say it where the files do not.
    reader.said_project = whole.project.clone();
    let project_directory = reader.project_directory.clone();
    let mut unset = BTreeSet::new();
    let today = reader.variable(profiles::VARIABLE);
    let mut expand = |text: &str| expanded(&mut reader, text, &mut unset);
    let mut services = facts::services(&whole.root, &mut expand);
    let profiles = profiles::choose(&mut services, today.as_deref());
    dockerfile::read(&mut services, &project_directory);
    if services.is_empty() {
        let shown = names.first().map_or("", String::as_str);
        let problem = match facts::get(&whole.root, "services") {
            Some(node) if !node.is_null() && !matches!(node.value, Value::Map(_)) => {
                let message = format!("has `services` that are {}", node.kind());
                Problem::whole(shown, message)
                    .help("write `ROLE:` with its keys below, for each role")
            }
            _ => Problem::whole(shown, "has no `services`").help("name the file that has them"),
        };
        return Err(problem.into());
    }
    let named = Names::new(&whole.root, &services);
    named.take_over(&mut services);
    let proposals = roles::proposals(&services);
    named.give(&mut services, &proposals);
    let service = service_name(project);
    let known = Known {
        root: &whole.root,
        services: &services,
        proposals: &proposals,
        project,
        service: &service,
        directory: &project_directory,
        beside: project_directory == directory,
    };
    let lines = [
        project_line(&whole),
        profiles.line().into_iter().collect(),
        role_lines(&known, &mut expand),
        volume_lines(&known, &mut expand),
        lines::networks(&whole.root, &mut expand),
        path_lines(&known),
        way_in_lines(&known),
    ];
    Ok(Draft {
        service,
        compose: names,
        lines: lines.concat(),
        unset,
    })
}

/// Reads them, as a plan would that says nothing else.
fn read<'a>(
    names: &[String],
    directory: &Path,
    inputs: &'a Inputs<'a>,
) -> Result<(Reader<'a>, Whole), PlanError> {
    let listed: Vec<_> = names.iter().map(|name| quoted(name)).collect();
    let text = format!("compose: [{}]\n", listed.join(", "));
    let source = Source::new(PLAN, "", &text);
    let plan = root(&source)?;
    let mut reader = Reader::new(source, directory.to_path_buf(), inputs, None);
    let whole = compose::read(&mut reader, plan)?;
    match reader.problems.is_empty() {
        true => Ok((reader, whole)),
        false => Err(PlanError::new(reader.problems)),
    }
}

/// `project`, where the files do not name it.
fn project_line(whole: &Whole) -> Vec<Line> {
    let mut files = whole.files.iter();
    let is_named = files.any(|file| facts::get(file, "name").is_some());
    let project = whole.project.as_ref().filter(|_| !is_named);
    let line = project.map(|project| {
        Line::new(
            Section::Project,
            format!("project: {}", quoted(project)),
            "by which the containers and volumes that Compose has made are found, wherever this stands",
        )
    });
    line.into_iter().collect()
}

fn role_lines(known: &Known<'_>, expand: &mut facts::Expand<'_>) -> Vec<Line> {
    let services = known.services.values();
    let lines = services.map(|service| lines::role(service, known, expand));
    lines.flatten().collect()
}

fn volume_lines(known: &Known<'_>, expand: &mut facts::Expand<'_>) -> Vec<Line> {
    let volumes = data::volumes(known, expand).into_iter();
    let lines = volumes.map(|volume| {
        let text = format!("{}: {}", quoted(&volume.name), volume.value);
        Line::new(Section::Volumes, text, volume.why)
    });
    lines.collect()
}

fn path_lines(known: &Known<'_>) -> Vec<Line> {
    let paths = data::paths(known);
    let line = |section| {
        move |path: data::PathLine| {
            Line::new(section, format!("- {}", quoted(&path.path)), path.why)
        }
    };
    let shared = paths.shared.into_iter().map(line(Section::SharedPaths));
    let copied = paths.copied.into_iter().map(line(Section::CopiedPaths));
    shared.chain(copied).collect()
}

/// `expose`, `probes` and `pointer`.
fn way_in_lines(known: &Known<'_>) -> Vec<Line> {
    let (way_in, others) = way_in::way_in(known.services, known.proposals, known.project);
    let mut lines = match &way_in {
        Some(way) => ways(way, &others, known),
        None => Vec::new(),
    };
    lines.push(pointer(way_in.as_ref(), known));
    lines
}

/// What is proposed for each role of a merged tree.
pub(super) fn proposals(reader: &mut Reader<'_>, root: &Node) -> Proposals {
    let mut unset = BTreeSet::new();
    let mut services = facts::services(root, &mut |text| expanded(reader, text, &mut unset));
    dockerfile::read(&mut services, &reader.project_directory);
    roles::proposals(&services)
}

impl Proposal {
    /// The line that takes it up for a role, and why.
    pub(super) fn advice(&self, role: &str) -> String {
        let line = format!(
            "services: {{{}: {{run: {}}}}}",
            quoted(role),
            self.run.as_str()
        );
        format!("write `{line}` ({})", self.why)
    }
}

impl Line {
    fn new(section: Section, text: String, why: impl Into<String>) -> Self {
        Self {
            section,
            text,
            why: why.into(),
            accepted: true,
        }
    }

    /// The line with the section that it stands in.
    #[must_use]
    pub fn whole(&self) -> String {
        match self.section.is_inline() {
            true => self.text.clone(),
            false => format!("{}:\n  {}", self.section.key(), self.text),
        }
    }

    /// The same, not to be written unless a person wants it.
    fn left_open(self) -> Self {
        Self {
            accepted: false,
            ..self
        }
    }
}

/// How many forms of one text may have no value before the rest is left as it is.
const MOST_UNSET: usize = 100;

/// A text with the variables that have a value; of the others, nothing.
fn expanded(reader: &mut Reader<'_>, text: &str, unset: &mut BTreeSet<String>) -> String {
    let mut text = text.to_owned();
    for _ in 0..MOST_UNSET {
        let wrong = match substitute::expand(&text, &mut |name, _| reader.variable(name)) {
            Ok(expanded) => return expanded.value,
            Err(wrong) => wrong,
        };
        let form = text.get(wrong.at.clone()).unwrap_or("");
        if form.is_empty() {
            break;
        }
        if wrong.missing {
            let name = form.trim_start_matches(['$', '{']);
            unset.insert(name[..substitute::name_length(name)].to_owned());
        }
        // One form fewer each time.
        text.replace_range(wrong.at, "");
    }
    text
}

/// `expose` and `probes`.
fn ways(way: &WayIn, others: &[WayIn], known: &Known<'_>) -> Vec<Line> {
    let services = known.services;
    let role = quoted(&way.role);
    let mut why = format!("the role and port that users reach: {}", way.why);
    let unserved = way_in::unserved(way, services, known.proposals);
    let others: Vec<_> = others
        .iter()
        .map(|other| format!("{}:{}", other.role, other.port))
        .filter(|other| !unserved.contains(other))
        .take(5)
        .collect();
    if !others.is_empty() {
        why += &format!("; or is it {}?", others.join(", "));
    }
    if !unserved.is_empty() {
        why += &format!("; from outside nothing leads to {} then", list(&unserved));
    }
    if way_in::speaks_tls(&services[&way.role], way.port) {
        why += "; it seems to speak TLS there, which neither the pointer nor a probe does: name a plain port";
    } else if way_in::speaks_no_http(way.port) {
        why += "; it seems to speak no HTTP there, and the pointer and the probe do";
    }
    let place = format!("{}:{}", way.role, way.port);
    let expose = Line::new(Section::Expose, format!("expose: {}", quoted(&place)), why);
    let service = &services[&way.role];
    let checked = service.healthcheck.as_deref().and_then(way_in::checked);
    let (text, why) = match checked {
        // What a variable holds may be a secret, and this is written down.
        Some((port, Some(path))) if port == way.port && !service.checks_with_variables => (
            format!(
                "- http: {{role: {role}, path: {}, status: 200-399}}",
                quoted(&path)
            ),
            "what its own health check asks",
        ),
        _ if service.is_checked => (
            format!("- health: {{role: {role}}}"),
            "its own health check; an `http` probe would say more",
        ),
        _ => (
            format!("- http: {{role: {role}, path: /, status: 200-399}}"),
            "what proves a release fit: name a path that answers only if all is well",
        ),
    };
    vec![expose, Line::new(Section::Probes, text, why)]
}

fn pointer(way: Option<&WayIn>, known: &Known<'_>) -> Line {
    let services = known.services;
    let published = way.and_then(|way| {
        let ports = &services[&way.role].ports;
        let fitting = ports
            .iter()
            .filter(|port| port.target == way.port && !port.is_udp);
        let mut placed: Vec<_> = fitting
            .filter_map(|port| Some((port.address.clone().unwrap_or_default(), port.host?)))
            .collect();
        placed.sort_by_key(|(_, port)| *port == 443);
        placed.into_iter().next()
    });
    let shared = services
        .values()
        .filter(|service| known.proposals.run(&service.name) == Run::Shared);
    let taken: Vec<u16> = shared
        .flat_map(|service| &service.ports)
        .filter_map(|port| port.host)
        .collect();
    let free = (8080..).find(|port| !taken.contains(port));
    let free = format!(":{}", free.unwrap_or(8080));
    let (listen, why) = match published {
        Some((_, 443)) => (
            free,
            "where flipside's proxy listens; it ends no TLS: put what does in front of it",
        ),
        Some((address, port)) => (
            format!("{address}:{port}"),
            "where Compose publishes it today: stop it there before the first deploy",
        ),
        None => (free, "where flipside's proxy listens"),
    };
    let text = format!("pointer: {{proxy: {{listen: \"{listen}\"}}}}");
    Line::new(Section::Pointer, text, why)
}

/// A service's name out of a project's.
fn service_name(project: Option<&str>) -> String {
    let name = project.unwrap_or("app").replace('_', "-");
    let name = name.trim_matches('-').to_owned();
    match ServiceName::new(name.clone()) {
        Ok(_) => name,
        Err(_) => "app".to_owned(),
    }
}
