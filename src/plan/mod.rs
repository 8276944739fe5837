//! The plan file: reading, checking, explaining what is wrong with it.
//!
//! [`load`] turns a file into a checked [`Plan`], [`reload`] does the same for a resumed run from
//! what its opening record kept ([`reload_hooks`] its hooks alone), [`find`] says which file is meant where none is named. Roles are
//! described in Compose's words, a strict part of them: what is not understood is refused with its
//! place, never ignored.
//!
//! Where the plan goes beyond Compose it does so outside `services:` wherever it can, so that roles
//! stay what a team has already:
//!
//! | top level | says |
//! | --- | --- |
//! | `volumes: {uploads: {keep: across-releases}}` | one volume for all releases (`SERVICE_uploads`, or its `name:`); `per-release`: a new one each; undecided is an error, and so is one without a name |
//! | `shared_paths: [/srv/media]` | host paths that roles may bind, with what is below them; all others are refused |
//! | `copied_paths: [./nginx.conf]` | paths that are copied into each release although a Compose file would let roles write to them, with what is below them |
//! | `compose: compose.yaml` | Compose files to read the roles from, the plan being the last word on them |
//! | `profiles: [worker]`, `project: shop`, `ignore: [start_interval]` | which of their profiles are on, what their project is called, which keys an old engine may go without |
//! | `services: {debug: {run: never}}` | left out |
//!
//! Nothing here touches an engine or a pointer, writes a file or reads the process's variables.
//! A role with `run: never` is not read beyond that word and is no part of the plan.

mod account;
mod advice;
mod again;
mod bind;
mod body;
mod command;
mod compose;
mod dotenv;
mod environment;
mod error;
mod expose;
mod fields;
mod files;
mod grants;
mod healthcheck;
mod hooks;
mod host;
mod http;
mod identity;
mod image;
mod job;
mod labels;
mod limits;
mod logging;
mod merge;
mod mounted;
mod nameless;
mod nearest;
mod network_mode;
mod networks;
mod order;
mod pointer;
mod ports;
mod probes;
mod process;
pub mod propose;
mod reach;
mod read;
mod role;
mod schema;
mod service;
mod source;
mod store;
mod substitute;
mod taken;
mod tmpfs;
mod top;
mod tree;
mod typed;
mod units;
mod unused;
mod variables;
mod volumes;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use account::{Entry, Fate};
pub use compose::ComposeFile;
pub use error::{MOST_PROBLEMS, Note, NoteKind, PlanError, Problem};
pub(crate) use nearest::nearest;
pub use schema::schema;
pub use units::duration;

use crate::core::plan::{Hook, Plan};
use read::Reader;
use source::{PLAN, Source, Span};
use tree::{Node, Value};

/// How much text a plan may have, in bytes.
pub const MOST_BYTES: u64 = 1 << 20;

/// What a plan is read with. Holds secrets, so it has no `Debug`.
pub struct Inputs<'a> {
    /// `--set K=V`.
    pub overrides: &'a BTreeMap<String, String>,
    /// The caller's variables.
    pub vars: &'a BTreeMap<String, String>,
    /// `--name`.
    pub name: Option<&'a str>,
    /// The key of the digests that stand for secrets.
    pub digest_key: &'a [u8; 32],
}

/// A plan that has been read.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it says.
    pub plan: Plan,
    /// What a resumed run needs to read the same again.
    pub record: PlanRecord,
    /// What is worth saying and no error.
    pub notes: Vec<Note>,
    /// Where its pointer stands: a problem that says nothing yet.
    pointer: Problem,
}

impl Loaded {
    /// That the plan's pointer cannot be as it is, for what the plan alone does not tell.
    #[must_use]
    pub fn wrong_pointer(&self, message: &str, help: &str) -> PlanError {
        let problem = self.pointer.clone();
        problem.saying(message).help(help).into()
    }

    /// Notes that the plan's pointer may not be meant as it is, for what the plan alone does not tell.
    pub fn caution_pointer(&mut self, message: &str) {
        let place = &self.pointer;
        self.notes.push(Note {
            file: place.file.clone(),
            line: place.line,
            column: place.column,
            message: error::printable(message),
            kind: NoteKind::Caution,
        });
    }
}

/// What became of every value of a plan and of its Compose files.
#[derive(Debug, Clone)]
pub struct Accounted {
    /// The plan, or what is wrong with it.
    pub loaded: Result<Loaded, PlanError>,
    /// The values, file by file; none where a file is no YAML.
    pub entries: Vec<Entry>,
}

/// What is kept of a plan, so that a resumed run never reads an edited file. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRecord {
    /// The file, as it was named.
    pub path: String,
    /// The absolute directory against which its relative paths stand.
    pub directory: String,
    /// Its text, with no variable substituted.
    pub text: String,
    /// `--name`, where it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The Compose files it names, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compose: Vec<ComposeFile>,
    /// Variables met in public places, as read.
    #[serde(default)]
    pub public: BTreeMap<String, String>,
    /// Place of each secret (`services.web.environment.DB_PASSWORD`) → HMAC-SHA256 in hexadecimal.
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
    /// Place of each file or directory copied (`secrets.tls.file`) → the same.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Names of the variables that `--set` gave a value of which only a digest is kept.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub given: BTreeSet<String>,
}

/// Reads and checks the plan at `path`.
///
/// # Errors
/// Everything that is wrong with it, each with its place.
pub fn load(path: &Path, inputs: &Inputs<'_>) -> Result<Loaded, PlanError> {
    account(path, inputs).loaded
}

/// As [`load`], and says what became of every value.
#[must_use]
pub fn account(path: &Path, inputs: &Inputs<'_>) -> Accounted {
    let read = || -> Result<_, PlanError> {
        let file = path.display().to_string();
        let bytes = bytes_of(path, &file)?;
        let text = text_of(&file, &bytes)?.to_owned();
        let absolute = std::path::absolute(path)
            .map_err(|error| Problem::whole(&file, format!("cannot be placed: {error}")))?;
        let directory = absolute.parent().unwrap_or(&absolute).to_path_buf();
        Ok((file, directory, text))
    };
    match read() {
        Ok((file, directory, text)) => {
            interpret(&file, &directory, &text, inputs.name, inputs, None)
        }
        Err(error) => Accounted {
            loaded: Err(error),
            entries: Vec::new(),
        },
    }
}

/// Reads the plan of a run that is resumed: text and public values from its record, secrets and
/// files from where they are today.
///
/// # Errors
/// As [`load`]; and where a secret or a file is missing or is not what the run was begun with.
pub fn reload(record: &PlanRecord, inputs: &Inputs<'_>) -> Result<Loaded, PlanError> {
    let directory = Path::new(&record.directory);
    let name = record.name.as_deref();
    interpret(
        &record.path,
        directory,
        &record.text,
        name,
        inputs,
        Some(record),
    )
    .loaded
}

/// Reads of a recorded plan the hooks that run on the deployer, and nothing else: whatever is missing
/// of its roles today, these can run. Those that cannot be read are left out, and the error says why.
#[must_use]
pub fn reload_hooks(record: &PlanRecord, inputs: &Inputs<'_>) -> (Vec<Hook>, Option<PlanError>) {
    let source = Source::new(PLAN, &record.path, &record.text);
    let root = match root(&source) {
        Ok(root) => root,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let directory = PathBuf::from(&record.directory);
    let mut reader = Reader::new(source, directory, inputs, Some(record));
    // For the `.env` beside the first Compose file; what is wrong with the roles is no matter here.
    let _ = compose::read(&mut reader, root.clone());
    reader.problems.clear();
    let hooks = top::hooks_alone(&mut reader, &root);
    let wrong = !reader.problems.is_empty();
    (hooks, wrong.then(|| PlanError::new(reader.problems)))
}

/// The plan that is meant: `given`, else `flipside.yaml` in `dir`, else the only file in `plans/`.
///
/// # Errors
/// Where there is none, or more than one.
pub fn find(given: Option<&Path>, dir: &Path) -> Result<PathBuf, PlanError> {
    if let Some(given) = given {
        return Ok(given.to_path_buf());
    }
    let usual: Vec<_> = ["flipside.yaml", "flipside.yml"]
        .iter()
        .map(|name| dir.join(name))
        .filter(|path| path.is_file())
        .collect();
    if let [first, others @ ..] = usual.as_slice() {
        return match others {
            [] => Ok(first.clone()),
            _ => Err(
                Problem::whole("flipside.yaml", "stands beside `flipside.yml`")
                    .help("remove one of them, or name the plan: `-f flipside.yaml`")
                    .into(),
            ),
        };
    }
    let mut plans = Vec::new();
    match std::fs::read_dir(dir.join("plans")) {
        Ok(entries) => {
            for entry in entries {
                let path = entry
                    .map_err(|error| Problem::whole("plans", format!("cannot be read: {error}")))?
                    .path();
                if path
                    .extension()
                    .is_some_and(|kind| kind == "yaml" || kind == "yml")
                    && path.is_file()
                {
                    plans.push(path);
                }
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(Problem::whole("plans", format!("cannot be read: {error}")).into());
        }
    }
    plans.sort();
    match plans.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Problem::whole("flipside.yaml", "there is no plan here")
            .help("write one, or name it: `-f PLAN`")
            .into()),
        several => {
            let names: Vec<_> = several
                .iter()
                .filter_map(|path| path.file_name())
                .map(|name| name.to_string_lossy().into_owned())
                .collect();
            let listed = nearest::listed(names.iter().map(String::as_str));
            Err(
                Problem::whole("plans", format!("holds more than one plan: {listed}"))
                    .help(format!("name the one you mean: `-f plans/{}`", names[0]))
                    .into(),
            )
        }
    }
}

fn bytes_of(path: &Path, file: &str) -> Result<Vec<u8>, Problem> {
    let unreadable = |error: std::io::Error| {
        let problem = Problem::whole(file, format!("cannot be read: {error}"));
        match error.kind() {
            std::io::ErrorKind::NotFound => problem.help("name the plan: `-f PLAN`"),
            _ => problem,
        }
    };
    let opened = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    opened
        .take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    Ok(bytes)
}

fn text_of<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, Problem> {
    if bytes.len() as u64 > MOST_BYTES {
        return Err(
            Problem::at(file, 1, 1, "this is larger than 1 MiB, which no plan is")
                .help("is this the right file? data belongs in files that the plan names"),
        );
    }
    let utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    let readable = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or(""),
    };
    let place =
        Source::new(PLAN, file, readable).place(readable.find('\0').unwrap_or(readable.len()));
    let at = |message: &str| Problem::at(file, place.line, place.column, message);
    if utf16 {
        Err(at("this is not UTF-8 text (it looks like UTF-16)").help("save the file as UTF-8"))
    } else if bytes.contains(&0) {
        Err(at("this is a binary file").help("a plan is YAML text: is this the right file?"))
    } else if readable.len() < bytes.len() {
        Err(at("this is not UTF-8 text").help("save the file as UTF-8"))
    } else {
        Ok(readable)
    }
}

/// The plan as a tree: a map of keys, none of them twice.
fn root(source: &Source) -> Result<Node, PlanError> {
    const BEGIN: &str = "begin with `name:`, `services:`, `probes:` and `pointer:`";
    let root = tree::parse(source).map_err(PlanError::new)?;
    let mut doubled = Vec::new();
    tree::duplicates(source, &root, &mut doubled);
    if !doubled.is_empty() {
        return Err(PlanError::new(doubled));
    }
    let problem = if root.is_null() {
        let start = Span {
            line: 1,
            column: 1,
            ..root.span
        };
        source.problem(start, "this plan is empty")
    } else if !matches!(root.value, Value::Map(_)) {
        let message = format!("a plan is a map of keys, and this is {}", root.kind());
        source.problem(root.span, message)
    } else {
        return Ok(root);
    };
    Err(problem.help(BEGIN).into())
}

fn interpret(
    file: &str,
    directory: &Path,
    text: &str,
    name: Option<&str>,
    inputs: &Inputs<'_>,
    recorded: Option<&PlanRecord>,
) -> Accounted {
    let source = Source::new(PLAN, file, text);
    let of_plan = match root(&source) {
        Ok(root) => root,
        Err(error) => {
            return Accounted {
                loaded: Err(error),
                entries: Vec::new(),
            };
        }
    };
    let mut reader = Reader::new(source, directory.to_path_buf(), inputs, recorded);
    let whole = match compose::read(&mut reader, of_plan.clone()) {
        Ok(whole) => whole,
        Err(error) => {
            return Accounted {
                loaded: Err(error),
                entries: Vec::new(),
            };
        }
    };
    compose::refuse_directives(&mut reader, &whole.root);
    let plan = top::plan(&mut reader, &whole, name);
    if reader.problems.is_empty() {
        reader.missed();
    }
    if recorded.is_none() {
        let unused = inputs
            .overrides
            .keys()
            .filter(|name| !reader.asked.contains(*name));
        for name in unused.cloned().collect::<Vec<_>>() {
            reader.note(
                of_plan.span,
                format!("`--set {name}` is used nowhere in this plan"),
            );
        }
    }
    let trees = std::iter::once(&of_plan).chain(&whole.files);
    let entries: Vec<Entry> = trees
        .zip(&reader.sources)
        .flat_map(|(tree, source)| account::account(source, tree, &reader.fates, &reader.problems))
        .collect();
    if reader.problems.is_empty() {
        reader.say_unread(&entries);
    }
    // By place, the plan's own first.
    let rank = |note: &Note| {
        reader
            .sources
            .iter()
            .position(|source| source.file == note.file)
    };
    let mut notes = std::mem::take(&mut reader.notes);
    notes.sort_by_key(|note| (rank(note), note.line, note.column));
    // What an anchor brings to several roles is said once where it is the same.
    let mut said = BTreeSet::new();
    notes.retain(|note| said.insert((rank(note), note.line, note.message.clone())));
    let place = pointer::place(&of_plan).unwrap_or(of_plan.span);
    let at_pointer = reader.source(place).problem(place, "");
    let loaded = match plan {
        Some(plan) if reader.problems.is_empty() => Ok(Loaded {
            plan,
            record: PlanRecord {
                path: file.to_owned(),
                directory: directory.display().to_string(),
                text: text.to_owned(),
                name: name.map(str::to_owned),
                compose: reader.sources[1..].iter().map(ComposeFile::from).collect(),
                public: reader.public,
                secrets: reader.secrets,
                files: reader.files,
                given: reader.given,
            },
            notes,
            pointer: at_pointer,
        }),
        _ if reader.problems.is_empty() => {
            Err(Problem::at(file, 1, 1, "this plan could not be understood").into())
        }
        _ => Err(PlanError::new(reader.problems)),
    };
    Accounted { loaded, entries }
}
