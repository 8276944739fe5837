//! Typed reading of the tree: every helper either gives the value or records what is wrong with it
//! and goes on, so that one run shows all mistakes.
//!
//! Secrecy is decided here, by place: [`Reader::public`] for what may be shown and is recorded as
//! read, [`Reader::text`] for what may be secret and of which only a keyed digest is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::error::{Note, Problem, printable};
use super::fields::Fields;
use super::nearest::{listed, nearest};
use super::substitute::{self, Wanted};
use super::tree::{Node, Source, Span, Value};
use super::{Inputs, PlanRecord, dotenv, units};
use crate::core::Millis;
use crate::core::plan::Text;
use crate::core::words::hex;

/// What a variable is recorded as when only its being there mattered.
const PRESENT: &str = "set";

/// The ways out where a release's values are not those it was begun with.
const GIVE_BACK: &str = "give it its old value (`flipside resume --set NAME=VALUE`), or give the \
                         release up: `flipside abort`";

/// What reading a plan needs and gathers.
pub(super) struct Reader<'a> {
    pub source: Source<'a>,
    pub directory: PathBuf,
    pub problems: Vec<Problem>,
    pub notes: Vec<Note>,
    pub public: BTreeMap<String, String>,
    pub secrets: BTreeMap<String, String>,
    pub files: BTreeMap<String, String>,
    /// Names that the top level declares, rightly or wrongly, as `secrets.tls`.
    pub declared: BTreeSet<String>,
    /// Every variable that was asked for.
    pub asked: BTreeSet<String>,
    inputs: &'a Inputs<'a>,
    /// The record that this reading must agree with, where a run is resumed.
    recorded: Option<&'a PlanRecord>,
    dotenv: Option<BTreeMap<String, String>>,
    /// Whether `.env` could not be read: then nothing can be called unset.
    pub dotenv_is_broken: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        source: Source<'a>,
        directory: PathBuf,
        inputs: &'a Inputs<'a>,
        recorded: Option<&'a PlanRecord>,
    ) -> Self {
        Self {
            source,
            directory,
            problems: Vec::new(),
            notes: Vec::new(),
            public: BTreeMap::new(),
            secrets: BTreeMap::new(),
            files: BTreeMap::new(),
            declared: BTreeSet::new(),
            asked: BTreeSet::new(),
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
        let problem = self.source.problem(span, message).help(help);
        self.problems.push(problem);
    }

    /// Records something worth saying.
    pub(super) fn note(&mut self, span: Span, message: impl Into<String>) {
        self.notes.push(Note {
            file: self.source.file.to_owned(),
            line: span.line,
            column: span.column,
            message: printable(&message.into()),
        });
    }

    /// Whether the top level declares a name, so that what is wrong with it is said once.
    pub(super) fn is_declared(&self, section: &str, name: &str) -> bool {
        self.declared.contains(&format!("{section}.{name}"))
    }

    /// Whether this is the first reading of a plan and not that of a resumed run, whose images are
    /// built and whose build contexts may be gone.
    pub(super) fn is_first(&self) -> bool {
        self.recorded.is_none()
    }

    /// A path of the plan, made absolute against the plan's directory.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        let joined = self.directory.join(path);
        let mut clean = PathBuf::new();
        for part in joined.components() {
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

    /// The caller's value of a variable: `--set`, then the variables, then `.env`.
    pub(super) fn variable(&mut self, name: &str) -> Option<String> {
        self.asked.insert(name.to_owned());
        if let Some(value) = self
            .inputs
            .overrides
            .get(name)
            .or_else(|| self.inputs.vars.get(name))
        {
            return Some(value.clone());
        }
        if self.dotenv.is_none() {
            let inputs = self.inputs;
            let found = dotenv::beside(&self.directory, &mut |name| {
                let given = inputs.overrides.get(name);
                given.or_else(|| inputs.vars.get(name)).cloned()
            });
            self.dotenv_is_broken = found.is_err();
            self.dotenv = Some(found.unwrap_or_else(|problem| {
                self.problems.push(problem);
                BTreeMap::new()
            }));
        }
        self.dotenv
            .as_ref()
            .and_then(|found| found.get(name).cloned())
    }

    fn expand_public(&mut self, text: &str) -> Result<String, substitute::Unexpandable> {
        let expanded = substitute::expand(text, &mut |name, wanted| {
            let value = match self.recorded {
                Some(record) => record.public.get(name).cloned(),
                None => self.variable(name),
            }?;
            match wanted {
                Wanted::Value => {
                    self.public.insert(name.to_owned(), value.clone());
                }
                Wanted::Presence => {
                    let seen = if value.is_empty() { "" } else { PRESENT };
                    self.public
                        .entry(name.to_owned())
                        .or_insert_with(|| seen.to_owned());
                }
            }
            Some(value)
        })?;
        Ok(expanded.value)
    }

    fn unexpandable(&mut self, span: Span, text: &str, wrong: &substitute::Unexpandable) {
        if wrong.missing && self.dotenv_is_broken {
            return;
        }
        let covered = self.source.text.get(span.start..span.end).unwrap_or("");
        let form = text.get(wrong.at.clone()).unwrap_or("");
        let place = match covered.find(form).filter(|_| !form.is_empty()) {
            Some(offset) => {
                let start = span.start + offset;
                Span {
                    end: start + form.len(),
                    ..self.source.place(start)
                }
            }
            None => span,
        };
        self.wrong(place, wrong.message.clone(), wrong.help.clone());
    }

    /// The text of a public place, as written by the person and the variables.
    pub(super) fn public(&mut self, node: &Node, what: &str) -> Option<String> {
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
        match substitute::expand(part, &mut |name, _| self.variable(name)) {
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
                self.source.file,
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

    /// Whether a scalar may be read as a number or a boolean: not where it stands in quotes, unless
    /// variables are substituted there.
    fn typed(&mut self, node: &Node, what: &str) -> Option<String> {
        if let Value::Scalar { text, plain: false } = &node.value
            && !text.contains('$')
        {
            self.wrong(
                node.span,
                "this is text in quotes",
                format!("write {what}, without quotes"),
            );
            return None;
        }
        self.public(node, what)
    }

    pub(super) fn boolean(&mut self, node: &Node) -> Option<bool> {
        match self.typed(node, "`true` or `false`")?.as_str() {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            other => {
                self.wrong(
                    node.span,
                    format!("`{other}` is not a truth value"),
                    "write `true` or `false`",
                );
                None
            }
        }
    }

    /// A whole number from `least` to `most`.
    pub(super) fn number(&mut self, node: &Node, least: i64, most: i64) -> Option<i64> {
        let what = match most {
            i64::MAX => format!("a whole number, {least} or more"),
            most => format!("a whole number from {least} to {most}"),
        };
        let text = self.typed(node, &what)?;
        let found = text
            .parse::<i64>()
            .ok()
            .filter(|number| (least..=most).contains(number));
        if found.is_none() {
            self.wrong(
                node.span,
                format!("`{text}` does not fit here"),
                format!("write {what}"),
            );
        }
        found
    }

    /// A count that fits 32 bits.
    pub(super) fn count(&mut self, node: &Node, least: u32, most: u32) -> Option<u32> {
        self.number(node, least.into(), most.into())
            .and_then(|number| u32::try_from(number).ok())
    }

    /// A port.
    pub(super) fn port(&mut self, node: &Node) -> Option<u16> {
        self.number(node, 1, 65535)
            .and_then(|number| u16::try_from(number).ok())
    }

    pub(super) fn duration(&mut self, node: &Node) -> Option<Millis> {
        let text = self.public(node, "a duration such as `30s`, `1m30s` or `500ms`")?;
        self.unit(node, &text, "duration", units::duration(&text))
    }

    pub(super) fn size(&mut self, node: &Node) -> Option<i64> {
        let text = self.public(node, "a size such as `256MiB` or `1GiB`")?;
        self.unit(node, &text, "size", units::size(&text))
    }

    pub(super) fn unit<T>(
        &mut self,
        node: &Node,
        text: &str,
        what: &str,
        read: Result<T, String>,
    ) -> Option<T> {
        read.map_err(|help| self.wrong(node.span, format!("`{text}` is not a {what}"), help))
            .ok()
    }

    /// One of a few words.
    pub(super) fn choice(
        &mut self,
        node: &Node,
        what: &str,
        choices: &[&'static str],
    ) -> Option<&'static str> {
        let text = self.public(node, &listed(choices.iter().copied()))?;
        let found = choices.iter().copied().find(|choice| *choice == text);
        if found.is_none() {
            let help = match nearest(&text, choices.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("write one of {}", listed(choices.iter().copied())),
            };
            self.wrong(node.span, format!("`{text}` is not a {what}"), help);
        }
        found
    }

    /// The items of a list.
    pub(super) fn list<'t>(&mut self, node: &'t Node, what: &str) -> Option<&'t [Node]> {
        match &node.value {
            Value::List(items) => Some(items),
            _ => {
                self.expected(node, what);
                None
            }
        }
    }

    /// A list of public texts, or one text standing for a list of one.
    pub(super) fn words(&mut self, node: &Node, what: &str) -> Vec<String> {
        match &node.value {
            Value::List(items) => items
                .iter()
                .filter_map(|item| self.public(item, what))
                .collect(),
            _ => self.public(node, what).into_iter().collect(),
        }
    }

    /// The entries of a map, each to be taken by name; none where nothing is written.
    pub(super) fn fields<'t>(
        &mut self,
        node: &'t Node,
        path: &str,
        what: &str,
    ) -> Option<Fields<'t>> {
        match &node.value {
            Value::Map(entries) => Some(Fields::new(path, node.span, entries)),
            Value::Null => Some(Fields::new(path, node.span, &[])),
            _ => {
                self.expected(node, what);
                None
            }
        }
    }
}
