//! Hides the secrets of a plan in what is about to be shown or journalled.
//!
//! What engine, builder, application and probe say is foreign text, and may repeat what was sent to
//! them: an engine quotes a command it cannot start, an application logs its settings. What the plan
//! shows anyway (names, images, hosts, paths) is not hidden, nor what is too short to be told from
//! other words.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

use super::event::{Event, Failure, JobEnd};
use super::hook::HookEnd;
use super::plan::{
    FileContent, FileSource, Hook, HookAct, ImageSource, Plan, ProbeKind, Role, Text,
};
use super::progress::Progress;

/// How long a value is at least that is looked for everywhere, in bytes.
const LEAST: usize = 6;
/// How much of a secret counts as one at the end of a text that may have been cut there, in bytes.
const LEAST_CUT: usize = 4;
/// What stands in a secret's place.
const INSTEAD: &str = "[secret]";

/// Secrets to be hidden. Has no `Debug`: it would show them.
#[derive(Clone, Default)]
pub struct Mask {
    secrets: BTreeSet<String>,
}

impl Mask {
    /// Everything secret in a plan: whole values, the parts of them that came from outside, and the
    /// lines of these, since logs come line by line.
    #[must_use]
    pub fn of_plan(plan: &Plan) -> Self {
        let roles = plan.roles.values().chain(plan.shared.values());
        let texts = roles.flat_map(texts);
        let asked = plan.probes.iter().flat_map(|probe| match &probe.kind {
            ProbeKind::Exec { command } => command.iter().collect(),
            ProbeKind::Http(http) => {
                let headers = http.headers.iter();
                headers.filter_map(|field| field.value.as_ref()).collect()
            }
            ProbeKind::Tcp { .. } | ProbeKind::Grpc(_) | ProbeKind::Health => Vec::new(),
        });
        let secrets = texts.chain(asked).chain(&plan.hidden).flat_map(forms);
        Self::of_long(secrets.chain(of_acts(&plan.hooks)), &shown(plan))
    }

    /// Everything secret in hooks of which the rest of the plan is not known.
    #[must_use]
    pub fn of_hooks(hooks: &[Hook]) -> Self {
        Self::of_long(of_acts(hooks), &[])
    }

    fn of_long(secrets: impl Iterator<Item = String>, shown: &[&str]) -> Self {
        let hidden = secrets.filter(|secret| {
            secret.trim().len() >= LEAST && !shown.iter().any(|name| name.contains(secret.as_str()))
        });
        Self {
            secrets: hidden.collect(),
        }
    }

    /// The secrets among `texts`, however short.
    #[must_use]
    pub fn of_texts<'a>(texts: impl Iterator<Item = &'a Text>) -> Self {
        let secrets = texts.flat_map(forms).filter(|secret| !secret.is_empty());
        Self {
            secrets: secrets.collect(),
        }
    }

    /// `text` without the secrets.
    #[must_use]
    pub fn hide(&self, text: &str) -> String {
        self.hide_encoded(&replace(text, self.found(text)))
    }

    /// `text` without the secrets, of which the first and the last may have been cut with it: of an
    /// output often only the beginning or the end is kept.
    #[must_use]
    pub fn hide_cut(&self, text: &str) -> String {
        // A character that was cut through is shown as this one.
        let text = text.trim_matches('\u{fffd}');
        let whole = |secret: &str| {
            let places = secret.char_indices().map(|(at, _)| at);
            places.collect::<Vec<_>>()
        };
        let first = self.secrets.iter().filter_map(|secret| {
            let mut begins = whole(secret).into_iter();
            let rest = begins.find_map(|begin| {
                let rest = &secret[begin..];
                (rest.len() >= LEAST_CUT && text.starts_with(rest)).then_some(rest)
            })?;
            Some(0..rest.len())
        });
        let last = self.secrets.iter().filter_map(|secret| {
            let mut ends = whole(secret).into_iter().rev();
            let end = ends.find(|&end| {
                (LEAST_CUT..=text.len()).contains(&end) && text.ends_with(&secret[..end])
            })?;
            Some(text.len() - end..text.len())
        });
        self.hide_encoded(&replace(text, self.found(text).chain(first).chain(last)))
    }

    /// `text` without words that hold a secret as a URL does, percent-encoded: a server that answers
    /// an error repeats the address it was asked for.
    fn hide_encoded(&self, text: &str) -> String {
        if !text.contains('%') {
            return text.to_owned();
        }
        let words = text.split_inclusive(char::is_whitespace);
        let words = words.map(|word| {
            let plain = decoded(word);
            match self.found(&plain).next() {
                Some(_) => replace(&plain, self.found(&plain)),
                None => word.to_owned(),
            }
        });
        words.collect()
    }

    /// A fact without the secrets in what it tells of foreign text.
    #[must_use]
    pub fn event(&self, event: Event) -> Event {
        match event {
            Event::Failed(failure) => Event::Failed(self.failure(failure)),
            Event::Lost { why } => Event::Lost {
                why: self.hide(&why),
            },
            Event::StoodUp { endpoints, jobs } => Event::StoodUp {
                endpoints,
                jobs: jobs.into_iter().map(|job| self.job(job)).collect(),
            },
            Event::HookEnded(end) => Event::HookEnded(HookEnd {
                output: self.hide_cut(&end.output),
                failure: end.failure.map(|failure| self.failure(failure)),
                ..end
            }),
            event => event,
        }
    }

    fn job(&self, job: JobEnd) -> JobEnd {
        JobEnd {
            output: self.hide_cut(&job.output),
            ..job
        }
    }

    fn failure(&self, mut failure: Failure) -> Failure {
        failure.what = self.hide(&failure.what);
        failure.hint = failure.hint.map(|hint| self.hide(&hint));
        for report in &mut failure.replicas {
            for text in report.reasons.iter_mut().chain(&mut report.logs) {
                *text = self.hide(text);
            }
        }
        failure
    }

    /// A step without the secrets in what it tells of foreign text.
    #[must_use]
    pub fn progress(&self, step: Progress) -> Progress {
        match step {
            Progress::Build { role, line } => Progress::Build {
                role,
                line: self.hide(&line),
            },
            Progress::Output { of, line } => Progress::Output {
                of,
                line: self.hide(&line),
            },
            Progress::Check {
                container,
                attempt,
                reason,
            } => Progress::Check {
                container,
                attempt,
                reason: reason.map(|reason| self.hide(&reason)),
            },
            step => step,
        }
    }

    fn found(&self, text: &str) -> impl Iterator<Item = Range<usize>> {
        self.secrets.iter().flat_map(move |secret| {
            let found = text.match_indices(secret.as_str());
            found.map(|(at, found)| at..at + found.len())
        })
    }
}

/// `text` with each range, and each run of ranges that touch or overlap, replaced.
fn replace(text: &str, ranges: impl Iterator<Item = Range<usize>>) -> String {
    let mut ranges: Vec<_> = ranges.collect();
    ranges.sort_by_key(|range| range.start);
    let mut out = String::new();
    let mut at = 0;
    for range in ranges {
        if range.start > at || at == 0 {
            out.push_str(&text[at..range.start]);
            out.push_str(INSTEAD);
        }
        at = at.max(range.end);
    }
    out + &text[at..]
}

/// What is secret in what hooks do: their texts, and what is sent of a request's address.
fn of_acts(hooks: &[Hook]) -> impl Iterator<Item = String> {
    let acts = || hooks.iter().map(|hook| &hook.act);
    let texts = acts().flat_map(HookAct::texts).flat_map(forms);
    texts.chain(acts().flat_map(|act| match act {
        HookAct::Http(request) => sent(&request.url),
        HookAct::Container { .. } | HookAct::Command { .. } => Vec::new(),
    }))
}

/// The places of a role that may hold secrets.
fn texts(role: &Role) -> Vec<&Text> {
    let words = role.command.iter().chain(&role.entrypoint).flatten();
    let contents = role.files.iter().filter_map(|file| match &file.content {
        FileContent::File {
            source: FileSource::Value(text),
            ..
        } => Some(text),
        FileContent::File { .. } | FileContent::Directory(_) => None,
    });
    let args = match &role.image {
        ImageSource::Build(build) => Some(build.args.values()),
        ImageSource::Pull(_) => None,
    };
    let test = role.healthcheck.iter().flat_map(|check| &check.test);
    let logging = role
        .logging
        .iter()
        .flat_map(|logging| logging.options.values());
    words
        .chain(role.environment.values())
        .chain(contents)
        .chain(args.into_iter().flatten())
        .chain(test)
        .chain(logging)
        .collect()
}

/// What a plan shows: the names, images, hosts and paths that messages need.
fn shown(plan: &Plan) -> Vec<&str> {
    let mut shown = vec![plan.service.as_str()];
    shown.extend(plan.pointer.hosts());
    for (name, role) in plan.roles.iter().chain(&plan.shared) {
        shown.push(name.as_str());
        match &role.image {
            ImageSource::Pull(reference) => shown.push(reference),
            ImageSource::Build(build) => {
                shown.extend(build.tag.as_deref());
                shown.extend(build.context.to_str());
            }
        }
    }
    for probe in &plan.probes {
        match &probe.kind {
            ProbeKind::Http(http) => {
                shown.push(&http.path);
                shown.extend(http.contains.as_deref());
                shown.extend(http.matches.as_deref());
                if let Some(json) = &http.json {
                    shown.push(&json.pointer);
                    shown.extend(json.equals.as_str());
                }
                let values = http.headers.iter().filter_map(|field| field.value.as_ref());
                shown.extend(values.filter(|value| !value.is_secret()).map(Text::reveal));
            }
            ProbeKind::Grpc(grpc) => shown.push(&grpc.service),
            ProbeKind::Tcp { .. } | ProbeKind::Exec { .. } | ProbeKind::Health => {}
        }
    }
    shown
}

/// How a secret may be met: whole, its parts from outside, their lines, and as engines quote them.
fn forms(text: &Text) -> Vec<String> {
    let parts = text.parts();
    // What is secret only for what stands beside it is not looked for by itself.
    if !text.is_secret() || parts.is_some_and(BTreeSet::is_empty) {
        return Vec::new();
    }
    let mut forms = vec![text.reveal().to_owned()];
    forms.extend(parts.into_iter().flatten().cloned());
    let lines: Vec<_> = forms
        .iter()
        .filter(|form| form.contains('\n'))
        .flat_map(|form| form.lines().map(str::trim))
        .filter(|line| line.len() >= LEAST)
        .map(str::to_owned)
        .collect();
    let quoted: Vec<_> = forms.iter().map(|form| quoted(form)).collect();
    // Some writers of JSON escape a slash too.
    let slashed: Vec<_> = quoted.iter().map(|form| form.replace('/', "\\/")).collect();
    forms.extend(lines);
    forms.extend(quoted);
    forms.extend(slashed);
    forms
}

/// What of a secret URL is met in another form than it is written in: a host in small letters, where
/// it is looked up; user and password in a header field, which a server may show.
fn sent(url: &Text) -> Vec<String> {
    let written = url.reveal();
    let (_, rest) = written.split_once("://").unwrap_or(("", written));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (credentials, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let host = host.split(':').next().unwrap_or_default();
    let mut secrets: Vec<_> = match (url.is_secret(), url.parts()) {
        (false, _) => return Vec::new(),
        (true, None) => vec![host.to_lowercase()],
        (true, Some(parts)) => parts.iter().map(|part| part.to_lowercase()).collect(),
    };
    if secrets
        .iter()
        .any(|part| part.contains(&host.to_lowercase()))
    {
        secrets.push(host.to_lowercase());
    }
    if !credentials.is_empty() {
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        let both = format!("{}:{}", decoded(user), decoded(password));
        secrets.push(STANDARD.encode(both));
    }
    secrets
}

/// A text with its percent-encoding undone.
fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// As it stands between quotes in messages of the engine and in JSON.
fn quoted(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(texts: &[Text]) -> Mask {
        Mask::of_texts(texts.iter())
    }

    #[test]
    fn a_part_from_outside_is_hidden_alone_too() {
        let parts = ["hunter2tok".to_owned()];
        let mask = mask(&[Text::composed("Bearer hunter2tok", parts.into())]);
        assert_eq!(
            mask.hide("no login for hunter2tok!"),
            "no login for [secret]!"
        );
        assert_eq!(mask.hide("got Bearer hunter2tok."), "got [secret].");
    }

    #[test]
    fn overlapping_secrets_leave_nothing_of_either() {
        let mask = mask(&[
            Text::secret("abcdef"),
            Text::secret("defghi"),
            Text::secret("secret"),
        ]);
        assert_eq!(mask.hide("xabcdefghix"), "x[secret]x");
        assert_eq!(mask.hide("abcdef secret"), "[secret] [secret]");
    }

    #[test]
    fn a_secret_that_is_cut_short_is_hidden_at_the_end() {
        let mask = mask(&[Text::secret("hunter2-and-more-ü!")]);
        assert_eq!(mask.hide_cut("403: hunter2-an"), "403: [secret]");
        assert_eq!(
            mask.hide_cut("403: hunter2-and-more-\u{fffd}"),
            "403: [secret]"
        );
        assert_eq!(mask.hide_cut("403: hun"), "403: hun");
        assert_eq!(mask.hide("403: hunter2-an"), "403: hunter2-an");
    }

    #[test]
    fn a_secret_whose_beginning_was_cut_off_is_hidden_at_the_start() {
        let mask = mask(&[Text::secret("ünter-hunter2")]);
        assert_eq!(mask.hide_cut("ter-hunter2 said"), "[secret] said");
        assert_eq!(mask.hide_cut("\u{fffd}nter-hunter2 said"), "[secret] said");
        assert_eq!(mask.hide_cut("er2 said"), "er2 said");
        assert_eq!(mask.hide("ter-hunter2 said"), "ter-hunter2 said");
    }

    #[test]
    fn a_secret_in_a_url_or_in_anothers_json_is_hidden() {
        let mask = mask(&[Text::secret("to ken/ü\"7")]);
        assert_eq!(
            mask.hide("no route /in/to%20ken/%C3%BC%227?a=b%20c here, 5% of all"),
            "no route /in/[secret]?a=b c here, 5% of all"
        );
        assert_eq!(
            mask.hide(r#"{"it":"to ken\/ü\"7"}"#),
            r#"{"it":"[secret]"}"#
        );
    }

    #[test]
    fn of_a_url_it_is_known_what_is_sent() {
        let whole = |text: &str| sent(&Text::secret(text));
        let credentials = "YW5uOmh1bnRlciAy";
        assert_eq!(
            whole("https://ann:hunter%202@CI.example:8/x@y"),
            ["ci.example", "ci.example", credentials]
        );
        let part = |text: &str, part: &str| sent(&Text::composed(text, [part.into()].into()));
        assert_eq!(part("https://ci.example/To", "To"), ["to"]);
        assert_eq!(
            part("https://X7.ci.example/", "X7.ci.example/"),
            ["x7.ci.example/", "x7.ci.example"]
        );
        assert_eq!(part("https://X7.ci.example/", "X7"), ["x7"]);
        assert_eq!(sent(&Text::public("https://ann:b@ci.example/")), [""; 0]);
    }

    #[test]
    fn quoted_and_many_lined_secrets_are_hidden() {
        let mask = mask(&[Text::secret("first \"line\"\nsecond line")]);
        assert_eq!(
            mask.hide(r#"exec: "first \"line\"\nsecond line""#),
            r#"exec: "[secret]""#
        );
        assert_eq!(mask.hide("log: second line"), "log: [secret]");
    }

    #[test]
    fn text_of_the_plan_itself_is_not_hidden() {
        let beside = Text::composed("/bin/server", BTreeSet::new());
        let mask = mask(&[Text::public("hunter2"), Text::secret(""), beside]);
        assert_eq!(mask.hide("hunter2 /bin/server"), "hunter2 /bin/server");
    }
}
