//! Typed reading of the tree: every helper either gives the value or records what is wrong with it
//! and goes on, so that one run shows all mistakes.
//!
//! Secrecy is decided here, by place: [`Reader::public`] for what may be shown and is recorded as
//! read, [`Reader::text`] for what may be secret and of which only a keyed digest is kept.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::account::{Entry, Fate};
use super::error::{Note, NoteKind, Problem, printable};
use super::fields::Field;
use super::propose::Proposals;
use super::source::{PLAN, Source, Span};
use super::substitute;
use super::tree::{Node, Value};
use super::{Inputs, PlanRecord};
use crate::core::plan::Text;
use crate::core::words::hex;

/// The ways out where a release's values are not those it was begun with.
const GIVE_BACK: &str = "give it its old value (`flipside resume --set NAME=VALUE`), or give the \
                         release up: `flipside abort`";

/// What reading a plan needs and gathers.
pub(super) struct Reader<'a> {
    /// The plan, and the Compose files it names.
    pub sources: Vec<Source>,
    /// Where the plan's relative paths begin.
    pub directory: PathBuf,
    /// Where those of its Compose files begin.
    pub project_directory: PathBuf,
    /// What became of each node, by its id; of what is not in it, nothing so far.
    pub fates: HashMap<u32, Fate>,
    /// Keys whose values are dropped where an engine does not know them.
    pub ignored: BTreeSet<String>,
    /// The Compose project's name, where there are such files.
    pub project: Option<String>,
    /// The project's name where something says it, which is what `COMPOSE_PROJECT_NAME` is then.
    pub said_project: Option<String>,
    /// How the roles of Compose files seem to be meant to run.
    pub proposals: Proposals,
    /// Whether the plan stands up under another name than its own.
    pub renamed: bool,
    /// Profiles that are chosen, and where.
    pub profiles: BTreeMap<String, Span>,
    pub problems: Vec<Problem>,
    pub notes: Vec<Note>,
    pub public: BTreeMap<String, String>,
    pub secrets: BTreeMap<String, String>,
    pub files: BTreeMap<String, String>,
    /// Names that the top level declares, rightly or wrongly, as `secrets.tls`.
    pub declared: BTreeSet<String>,
    /// Volumes of which it was said that nothing decides on them.
    pub undecided: BTreeSet<String>,
    /// Every variable that was asked for.
    pub asked: BTreeSet<String>,
    /// Those of which no value is kept, and that `--set` gave one.
    pub given: BTreeSet<String>,
    pub inputs: &'a Inputs<'a>,
    /// The record that this reading must agree with, where a run is resumed.
    pub recorded: Option<&'a PlanRecord>,
    /// The variables of `.env`, once they have been read.
    pub dotenv: Option<BTreeMap<String, String>>,
    /// Whether `.env` could not be read: then nothing can be called unset.
    pub dotenv_is_broken: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        source: Source,
        directory: PathBuf,
        inputs: &'a Inputs<'a>,
        recorded: Option<&'a PlanRecord>,
    ) -> Self {
        Self {
            sources: vec![source],
            project_directory: directory.clone(),
            directory,
            fates: HashMap::new(),
            ignored: BTreeSet::new(),
            renamed: false,
            proposals: Proposals::default(),
            project: None,
            said_project: None,
            profiles: BTreeMap::new(),
            problems: Vec::new(),
            notes: Vec::new(),
            public: BTreeMap::new(),
            secrets: BTreeMap::new(),
            files: BTreeMap::new(),
            declared: BTreeSet::new(),
            undecided: BTreeSet::new(),
            asked: BTreeSet::new(),
            given: BTreeSet::new(),
            inputs,
            recorded,
            dotenv: None,
            dotenv_is_broken: false,
        }
    }

    /// Records a problem.
    pub(super) fn wrong(
        &mut self,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let problem = self.source(span).problem(span, message).help(help);
        self.problems.push(problem);
    }

    /// Records something that may not be meant.
    pub(super) fn note(&mut self, span: Span, message: impl Into<String>) {
        self.say(span, message.into(), NoteKind::Caution);
    }

    fn say(&mut self, span: Span, message: String, kind: NoteKind) {
        self.notes.push(Note {
            file: printable(&self.source(span).file),
            line: span.line,
            column: span.column,
            message: printable(&message),
            kind,
        });
    }

    /// Whether the top level declares a name, so that what is wrong with it is said once.
    pub(super) fn is_declared(&self, section: &str, name: &str) -> bool {
        self.declared.contains(&format!("{section}.{name}"))
    }

    /// `--name`, as it was given first where a run is resumed.
    pub(super) fn given_name(&self) -> Option<&'a str> {
        match self.recorded {
            Some(record) => record.name.as_deref(),
            None => self.inputs.name,
        }
    }

    /// The text of a Compose file, in their order, that the record of a resumed run keeps.
    pub(super) fn recorded_file(&self, index: usize) -> Option<&'a str> {
        let file = self.recorded?.compose.get(index);
        file.map(|file| file.text.as_str())
    }

    /// What nobody has looked at is never passed over in silence, although it is no fault of the
    /// plan's.
    pub(super) fn say_unread(&mut self, entries: &[Entry]) {
        for entry in entries.iter().filter(|entry| entry.fate == Fate::Unread) {
            self.notes.push(Note {
                file: printable(&entry.file),
                line: entry.line,
                column: 1,
                message: printable(&format!(
                    "nothing was done with `{}`, which is a defect of flipside's",
                    entry.path.join(".")
                )),
                kind: NoteKind::Caution,
            });
        }
    }

    /// Whether this is the first reading of a plan and not that of a resumed run, whose images are
    /// built and whose build contexts may be gone.
    pub(super) fn is_first(&self) -> bool {
        self.recorded.is_none()
    }

    /// The file that a place is in.
    pub(super) fn source(&self, span: Span) -> &Source {
        &self.sources[usize::from(span.file)]
    }

    /// Where something else stands, as seen from `from`.
    pub(super) fn line(&self, place: Span, from: Span) -> String {
        match place.file == from.file {
            true => format!("line {}", place.line),
            false => format!("line {} of `{}`", place.line, self.source(place).file),
        }
    }

    /// What is written at a place, word for word.
    pub(super) fn written(&self, span: Span) -> Option<&str> {
        self.source(span).text.get(span.start..span.end)
    }

    /// Says that a node has been understood.
    pub(super) fn used(&mut self, node: &Node) {
        self.fates.entry(node.id).or_insert(Fate::Used);
    }

    /// Says what a node and all below it has become.
    pub(super) fn became(&mut self, node: &Node, fate: Fate) {
        node.each(&mut |node| {
            self.fates.insert(node.id, fate);
        });
    }

    /// Says that a key means something else here than where it comes from, and what.
    pub(super) fn translated(&mut self, field: Field<'_>, message: impl Into<String>) {
        self.say(field.key, message.into(), NoteKind::Translation);
        field.node.each(&mut |node| {
            let fate = self.fates.entry(node.id).or_insert(Fate::Translated);
            if *fate != Fate::LeftOut {
                *fate = Fate::Translated;
            }
        });
    }

    /// Where the relative paths at a place begin, for a hint.
    pub(super) fn paths_begin(&self, span: Span) -> String {
        match span.is_compose() {
            false => "relative paths begin at the plan's directory".to_owned(),
            true => format!(
                "relative paths begin at `{}`",
                self.project_directory.display()
            ),
        }
    }

    /// A path written at `span`, made absolute against the directory of its file.
    pub(super) fn resolve(&self, span: Span, path: &str) -> PathBuf {
        let directory = match span.is_compose() {
            false => &self.directory,
            true => &self.project_directory,
        };
        clean(&directory.join(path))
    }

    /// Whether a path is that of the plan.
    pub(super) fn is_plan(&self, path: &Path) -> bool {
        let plan = Path::new(&self.sources[usize::from(PLAN)].file).file_name();
        plan.is_some_and(|name| self.directory.join(name) == path)
    }

    /// The directory of the Compose files; without any, the plan's.
    pub(super) fn home(&self) -> String {
        clean(&self.project_directory).display().to_string()
    }

    /// As [`Self::resolve`], where the Compose files' paths begin; without any, the plan's.
    pub(super) fn resolve_in_project(&self, path: &str) -> PathBuf {
        clean(&self.project_directory.join(path))
    }

    /// The text of a public place, as written by the person and the variables.
    pub(super) fn public(&mut self, node: &Node, what: &str) -> Option<String> {
        self.used(node);
        match &node.value {
            Value::Scalar { text, .. } => match self.expand_public(text) {
                Ok(value) => self.without_nul(node.span, value),
                Err(wrong) => {
                    self.unexpandable(node.span, text, &wrong);
                    None
                }
            },
            _ => {
                self.expected(node, what);
                None
            }
        }
    }

    fn without_nul(&mut self, span: Span, value: String) -> Option<String> {
        if value.contains('\0') {
            self.wrong(
                span,
                "this holds a NUL byte, which no setting can",
                "remove it",
            );
            return None;
        }
        Some(value)
    }

    /// The text of a place that may hold a secret.
    pub(super) fn text(&mut self, node: &Node, place: &str, what: &str) -> Option<Text> {
        match &node.value {
            Value::Scalar { text, .. } => self.text_part(node, text, place),
            _ => {
                self.expected(node, what);
                None
            }
        }
    }

    /// Part of a scalar of a place that may hold a secret.
    pub(super) fn text_part(&mut self, node: &Node, part: &str, place: &str) -> Option<Text> {
        let text = self.unsealed_part(node, part)?;
        self.seal(node.span, place, &text);
        Some(text)
    }

    /// Like [`Self::text_part`], for a value that may yet be replaced by another at its place.
    pub(super) fn unsealed_part(&mut self, node: &Node, part: &str) -> Option<Text> {
        self.used(node);
        match substitute::expand(part, &mut |name, _| self.secret_variable(name)) {
            Ok(expanded) => {
                let value = self.without_nul(node.span, expanded.value)?;
                Some(if expanded.outside {
                    Text::composed(value, expanded.parts)
                } else {
                    Text::public(value)
                })
            }
            Err(wrong) => {
                self.unexpandable(node.span, part, &wrong);
                None
            }
        }
    }

    /// Keeps the digest of a secret and, in a resumed run, compares it.
    pub(super) fn seal(&mut self, span: Span, place: &str, text: &Text) {
        if !text.is_secret() {
            return;
        }
        let digest = self.digest(place, text.reveal().as_bytes());
        if let Some(record) = self.recorded
            && record.secrets.get(place) != Some(&digest)
        {
            self.changed(span, place);
        }
        self.secrets.insert(place.to_owned(), digest);
    }

    /// Keeps the digest of a file or a directory and, in a resumed run, compares it.
    pub(super) fn seal_file(&mut self, span: Span, place: &str, digest: String) {
        if let Some(record) = self.recorded
            && record.files.get(place) != Some(&digest)
        {
            self.changed(span, place);
        }
        self.files.insert(place.to_owned(), digest);
    }

    fn changed(&mut self, span: Span, place: &str) {
        let message = format!("`{place}` is not what this release was begun with");
        self.wrong(span, message, GIVE_BACK);
    }

    /// Secrets and files of the record that were not met again.
    pub(super) fn missed(&mut self) {
        self.missed_below("");
    }

    /// As [`Self::missed`], of those whose place begins so.
    pub(super) fn missed_below(&mut self, prefix: &str) {
        let Some(record) = self.recorded else { return };
        let gone: BTreeSet<&String> = record
            .secrets
            .keys()
            .filter(|place| !self.secrets.contains_key(*place))
            .chain(
                record
                    .files
                    .keys()
                    .filter(|place| !self.files.contains_key(*place)),
            )
            .filter(|place| place.starts_with(prefix))
            .collect();
        for place in gone {
            let problem = Problem::whole(
                &self.sources[usize::from(PLAN)].file,
                format!("`{place}` is missing, and this release was begun with it"),
            );
            self.problems.push(problem.help(GIVE_BACK));
        }
    }

    /// HMAC-SHA256 of a place and what stands there, in hexadecimal.
    pub(super) fn digest(&self, place: &str, bytes: &[u8]) -> String {
        let mut mac = self.mac(place);
        mac.update(bytes);
        hex(&mac.finalize().into_bytes())
    }

    pub(super) fn mac(&self, place: &str) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.inputs.digest_key).expect("any key length");
        mac.update(place.as_bytes());
        mac.update(&[0]);
        mac
    }

    /// Records that something else was expected; says what was found without its text.
    pub(super) fn expected(&mut self, node: &Node, what: &str) {
        self.wrong(
            node.span,
            format!("this is {}", node.kind()),
            format!("write {what}"),
        );
    }
}

/// A path without `.` and `..`.
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    clean
}
