//! A first plan for Compose files: what can be told from them, each proposal with its reason.
//!
//! Nothing here decides: a person accepts a proposal or leaves it, and what is left is written as a
//! comment. Whether the plan is good is the reader's to say.

mod data;
mod facts;
mod lines;
mod roles;
mod text;
mod way_in;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub(super) use roles::Proposal;

use super::error::Problem;
use super::read::Reader;
use super::source::{PLAN, Source};
use super::substitute;
use super::tree::Node;
use super::{Inputs, PlanError, compose, root};
use crate::core::ServiceName;
use crate::core::plan::Run;
use facts::Service;
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

/// What is proposed for the Compose files `files` in a plan that stands in `directory`.
///
/// # Errors
/// Where a file cannot be read or is no Compose file.
pub fn draft(files: &[PathBuf], directory: &Path, inputs: &Inputs<'_>) -> Result<Draft, PlanError> {
    let absolute = |path: &Path| {
        let placed = std::path::absolute(path).map_err(|error| {
            Problem::whole(
                &path.display().to_string(),
                format!("cannot be placed: {error}"),
            )
        });
        placed.map(|path| super::read::clean(&path))
    };
    let directory = absolute(directory)?;
    let mut files = files.to_vec();
    if let [only] = files.as_slice() {
        files.extend(override_beside(only));
    }
    let mut names = Vec::new();
    for file in &files {
        names.push(relative(&absolute(file)?, &directory));
    }
    let listed: Vec<_> = names.iter().map(|name| quoted(name)).collect();
    let text = format!("compose: [{}]\n", listed.join(", "));
    let source = Source::new(PLAN, "", &text);
    let plan = root(&source)?;
    let mut reader = Reader::new(source, directory.clone(), inputs, None);
    let whole = compose::read(&mut reader, plan)?;
    if !reader.problems.is_empty() {
        return Err(PlanError::new(reader.problems));
    }
    let beside = reader.project_directory == directory;
    let mut unset = BTreeSet::new();
    let mut expand = |text: &str| expanded(&mut reader, text, &mut unset);
    let mut services = facts::services(&whole.root, &mut expand);
    let profiles = choose_profiles(&mut services);
    facts::take_volumes_over(&mut services);
    if services.is_empty() {
        let shown = names.first().map_or("", String::as_str);
        return Err(Problem::whole(shown, "has no `services`")
            .help("name the file that has them")
            .into());
    }
    let proposals = roles::proposals(&services);
    let run = |name: &str| {
        proposals
            .get(name)
            .map_or(Run::Always, |proposal| proposal.run)
    };
    let project = whole.project.as_deref();
    let service = service_name(project);
    let named = whole
        .files
        .iter()
        .any(|file| facts::get(file, "name").is_some());
    let mut lines = Vec::new();
    if let Some(project) = project.filter(|_| !named) {
        lines.push(Line::new(
            Section::Project,
            format!("project: {}", quoted(project)),
            "by which the containers and volumes that Compose has made are found, wherever this stands",
        ));
    }
    if !profiles.is_empty() {
        let listed: Vec<_> = profiles.iter().map(|name| quoted(name)).collect();
        lines.push(Line::new(
            Section::Profiles,
            format!("profiles: [{}]", listed.join(", ")),
            "without a profile nothing is left that users reach; leave out what is for development",
        ));
    }
    let (way_in, others) = way_in::way_in(&services, &run, project);
    for service in services.values() {
        lines.extend(lines::role(
            service,
            &services,
            &proposals,
            &whole.root,
            beside,
            &mut expand,
        ));
    }
    for volume in data::volumes(
        &whole.root,
        &services,
        &run,
        (&service, project),
        &mut expand,
    ) {
        lines.push(Line::new(
            Section::Volumes,
            format!("{}: {}", quoted(&volume.name), volume.value),
            volume.why,
        ));
    }
    lines.extend(lines::networks(&whole.root, &mut expand));
    let paths = data::paths(&services, &run);
    for (section, paths) in [
        (Section::SharedPaths, paths.shared),
        (Section::CopiedPaths, paths.copied),
    ] {
        for path in paths {
            lines.push(Line::new(
                section,
                format!("- {}", quoted(&path.path)),
                path.why,
            ));
        }
    }
    if let Some(way) = &way_in {
        lines.extend(ways(way, &others, &services));
    }
    lines.push(pointer(way_in.as_ref(), &services));
    Ok(Draft {
        service,
        compose: names,
        lines,
        unset,
    })
}

/// Profiles for people who work on the application itself.
const NOT_FOR_RELEASES: &[&str] = &[
    "debug",
    "deprecated",
    "dev",
    "development",
    "e2e",
    "test",
    "tests",
];

/// The profiles without which nothing would be left that users reach; roles that are off then are
/// taken away.
fn choose_profiles(services: &mut BTreeMap<String, Service>) -> Vec<String> {
    let on = |service: &Service, chosen: &[String]| {
        service.profiles.is_empty() || service.profiles.iter().any(|name| chosen.contains(name))
    };
    let suffices = |services: &BTreeMap<String, Service>, chosen: &[String]| {
        services.values().any(|service| {
            on(service, chosen) && service.is_reachable() && !roles::is_data(service)
        })
    };
    let mut all: Vec<String> = Vec::new();
    for name in services.values().flat_map(|service| &service.profiles) {
        if !all.contains(name) && !NOT_FOR_RELEASES.contains(&name.as_str()) {
            all.push(name.clone());
        }
    }
    let chosen = if all.is_empty() || suffices(services, &[]) || !suffices(services, &all) {
        Vec::new()
    } else {
        let usual = ["default", "production", "prod", "full", "all"];
        let one = usual
            .iter()
            .map(|name| vec![(*name).to_owned()])
            .find(|one| all.contains(&one[0]) && suffices(services, one));
        one.unwrap_or(all)
    };
    services.retain(|_, service| on(service, &chosen));
    chosen
}

/// The file that Compose reads by itself after one with a usual name.
fn override_beside(file: &Path) -> Option<PathBuf> {
    let stem = file.file_stem()?.to_str()?;
    if !matches!(stem, "compose" | "docker-compose") {
        return None;
    }
    let beside = |ending| file.with_file_name(format!("{stem}.override.{ending}"));
    [beside("yaml"), beside("yml")]
        .into_iter()
        .find(|path| path.is_file())
}

/// What is proposed for each role of a merged tree.
pub(super) fn proposals(reader: &mut Reader<'_>, root: &Node) -> BTreeMap<String, Proposal> {
    let mut unset = BTreeSet::new();
    let services = facts::services(root, &mut |text| expanded(reader, text, &mut unset));
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
fn ways(way: &WayIn, others: &[WayIn], services: &BTreeMap<String, Service>) -> Vec<Line> {
    let role = quoted(&way.role);
    let mut why = format!("the role and port that users reach: {}", way.why);
    let others: Vec<_> = others
        .iter()
        .take(5)
        .map(|other| format!("{}:{}", other.role, other.port))
        .collect();
    if !others.is_empty() {
        why += &format!("; or is it {}?", others.join(", "));
    }
    let place = format!("{}:{}", way.role, way.port);
    let expose = Line::new(Section::Expose, format!("expose: {}", quoted(&place)), why);
    let service = &services[&way.role];
    let checked = service.healthcheck.as_deref().and_then(way_in::checked);
    let (text, why) = match checked {
        // What a variable holds may be a secret, and this is written down.
        Some((port, path)) if port == way.port && !service.checks_with_variables => (
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

fn pointer(way: Option<&WayIn>, services: &BTreeMap<String, Service>) -> Line {
    let published = way.and_then(|way| {
        let ports = &services[&way.role].ports;
        let mut fitting = ports
            .iter()
            .filter(|port| port.target == way.port && !port.is_udp);
        fitting.find_map(|port| Some((port.address.clone().unwrap_or_default(), port.host?)))
    });
    let (listen, why) = match published {
        Some((address, port)) => (
            format!("{address}:{port}"),
            "where Compose publishes it today: stop it there before the first deploy",
        ),
        None => (":8080".to_owned(), "where flipside's proxy listens"),
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

/// How `path` is named from `directory`; both absolute.
fn relative(path: &Path, directory: &Path) -> String {
    let (from, to): (Vec<_>, Vec<_>) = (
        directory.components().collect(),
        path.components().collect(),
    );
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let mut parts: Vec<String> = vec!["..".to_owned(); from.len() - common];
    let rest = to[common..].iter();
    parts.extend(rest.map(|part| part.as_os_str().to_string_lossy().into_owned()));
    parts.join("/")
}
