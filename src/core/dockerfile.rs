//! Reads a Dockerfile as far as needed to say whether the classic builder can build it, which images
//! it takes from registries, and where its stages begin. Builds nothing.

use std::collections::BTreeMap;

use super::plan::Text;

/// What to do about a Dockerfile that only BuildKit can build.
pub const WITHOUT_BUILDKIT: &str =
    "write it without, or build the image beforehand and name it with `image:`";

/// One instruction with the numbers of its first and last line, from 1; continuation lines joined by
/// spaces.
struct Instruction {
    line: usize,
    last: usize,
    word: String,
    rest: String,
}

fn instructions(text: &str) -> (char, Vec<Instruction>) {
    let escape = directive(text, "escape").and_then(|value| value.chars().next());
    let escape = escape.unwrap_or('\\');
    let mut all = Vec::new();
    let lines = text.lines().count();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.starts_with('#') || trimmed.is_empty() {
            continue;
        }
        let (continues, part) = match trimmed.strip_suffix(escape) {
            Some(part) => (true, part.trim_end()),
            None => (false, trimmed),
        };
        let (line, text) = match open.take() {
            Some((line, before)) => (line, format!("{before} {part}")),
            None => (index + 1, part.to_owned()),
        };
        if continues {
            open = Some((line, text));
        } else {
            all.push(split((line, index + 1), &text));
        }
    }
    if let Some((line, text)) = open {
        all.push(split((line, lines), &text));
    }
    (escape, all)
}

fn split((line, last): (usize, usize), text: &str) -> Instruction {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    Instruction {
        line,
        last,
        word: word.to_ascii_uppercase(),
        rest: rest.trim().to_owned(),
    }
}

/// A parser directive (`# syntax=…`): only comments before anything else hold one.
fn directive<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let comments = text
        .lines()
        .map(str::trim)
        .take_while(|line| line.starts_with('#'));
    let mut directives = comments.filter_map(|line| line[1..].split_once('='));
    let found = directives.find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim())
}

/// What only BuildKit can build: the line, from 1, and the construct.
#[must_use]
pub fn needs_buildkit(text: &str) -> Option<(usize, String)> {
    for instruction in instructions(text).1 {
        let mut flags = instruction
            .rest
            .split_whitespace()
            .take_while(|word| word.starts_with("--"));
        let flag = flags.find(|flag| {
            let name = flag.split('=').next().unwrap_or_default();
            match instruction.word.as_str() {
                "RUN" => matches!(name, "--mount" | "--network" | "--security" | "--device"),
                "COPY" => matches!(name, "--link" | "--chmod" | "--parents" | "--exclude"),
                "ADD" => matches!(
                    name,
                    "--link"
                        | "--chmod"
                        | "--checksum"
                        | "--keep-git-dir"
                        | "--exclude"
                        | "--unpack"
                ),
                _ => false,
            }
        });
        let word = &instruction.word;
        if let Some(flag) = flag {
            return Some((instruction.line, format!("{word} {flag}")));
        }
        if matches!(word.as_str(), "RUN" | "COPY" | "ADD")
            && let Some(marker) = heredoc(&instruction.rest)
        {
            return Some((instruction.line, format!("{word} {marker}")));
        }
    }
    // A frontend of the project's own is a way to say "newest syntax"; others bring their own language.
    let syntax = directive(text, "syntax")?;
    let plain = syntax.contains("docker/dockerfile:") || syntax == "docker/dockerfile";
    let labs = syntax.contains("labs") || syntax.contains("experimental");
    if plain && !labs {
        return None;
    }
    let line = text.lines().position(|line| line.contains(syntax))? + 1;
    Some((line, format!("# syntax={syntax}")))
}

/// `<<EOF`, `<<-EOF`, `<<"EOF"` at the beginning of a word; quoted text may hold anything.
fn heredoc(rest: &str) -> Option<&str> {
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in rest.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '\'' || c == '"' => quote = Some(c),
            None if c == '<' && before.is_whitespace() && rest[at..].starts_with("<<") => {
                let name = rest[at + 2..]
                    .trim_start_matches('-')
                    .trim_start_matches(['"', '\'']);
                let starts = |c: char| c.is_ascii_alphabetic() || c == '_';
                if name.starts_with(starts) && !rest[at..].starts_with("<<<") {
                    return rest[at..].split_whitespace().next();
                }
            }
            None => {}
        }
        before = c;
    }
    None
}

/// A Dockerfile whose every stage begins with labels, so that also what a build leaves that was cut
/// short carries them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// The text for the builder.
    pub text: String,
    /// After which lines of the original, from 1, a line was put in; ascending.
    after: Vec<usize>,
}

/// Puts a `LABEL` of these names and values after every `FROM`.
#[must_use]
pub fn labelled(text: &str, labels: &[(&str, &str)]) -> Labelled {
    let pairs = labels
        .iter()
        .map(|(key, value)| format!(" {key}={value:?}"));
    let label = format!("LABEL{}\n", pairs.collect::<String>());
    let stages = instructions(text).1.into_iter();
    let stages = stages.filter(|instruction| instruction.word == "FROM");
    let after: Vec<usize> = stages.map(|instruction| instruction.last).collect();
    let mut out = String::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        out.push_str(line);
        if after.contains(&(index + 1)) {
            if !line.ends_with('\n') {
                out.push('\n');
            }
            out.push_str(&label);
        }
    }
    Labelled { text: out, after }
}

impl Labelled {
    /// What the builder says of a line that it cannot parse, with the line's number in the original.
    #[must_use]
    pub fn in_the_original(&self, said: &str) -> String {
        const PLACE: &str = "line ";
        let place = said
            .to_ascii_lowercase()
            .contains("dockerfile parse error")
            .then(|| said.find(PLACE))
            .flatten()
            .map(|at| at + PLACE.len());
        let Some(at) = place else {
            return said.to_owned();
        };
        let digits = said[at..].bytes().take_while(u8::is_ascii_digit).count();
        let Ok(number) = said[at..at + digits].parse::<usize>() else {
            return said.to_owned();
        };
        let before = |(count, after): &(usize, &usize)| **after + count < number;
        let put_in = self.after.iter().enumerate().filter(before).count();
        let (head, tail) = (&said[..at], &said[at + digits..]);
        format!("{head}{}{tail}", number - put_in)
    }
}

/// The images that a build takes from registries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bases {
    /// Those whose references are known, in order, each once.
    pub images: Vec<String>,
    /// Whether there are others, named by variables that only the builder knows.
    pub others: bool,
}

/// The images that stages start from and copy from: not earlier stages, not `scratch`. `args` are the
/// build arguments, which win over what the Dockerfile sets before its first stage.
#[must_use]
pub fn bases(text: &str, args: &BTreeMap<String, Text>) -> Bases {
    let mut globals: BTreeMap<String, String> = BTreeMap::new();
    let mut stages: Vec<String> = Vec::new();
    let mut named: Vec<String> = Vec::new();
    let mut begun = false;
    for Instruction { word, rest, .. } in instructions(text).1 {
        let words = rest.split_whitespace();
        match word.as_str() {
            "ARG" if !begun => words.for_each(|word| global(word, args, &mut globals)),
            "FROM" => {
                begun = true;
                let mut words = words.skip_while(|word| word.starts_with("--"));
                let Some(image) = words.next() else { continue };
                let image = substituted(image, &globals);
                let known = stages
                    .iter()
                    .any(|stage| stage.eq_ignore_ascii_case(&image));
                if !known && image != "scratch" {
                    named.push(image);
                }
                let alias = words.next().filter(|word| word.eq_ignore_ascii_case("as"));
                stages.extend(alias.and_then(|_| words.next()).map(str::to_owned));
            }
            "COPY" => {
                let mut flags = words.take_while(|word| word.starts_with("--"));
                let Some(from) = flags.find_map(|flag| flag.strip_prefix("--from=")) else {
                    continue;
                };
                let known = stages.iter().any(|stage| stage.eq_ignore_ascii_case(from));
                if !known && from.parse::<usize>().is_err() {
                    named.push(from.to_owned());
                }
            }
            _ => {}
        }
    }
    named.sort();
    named.dedup();
    let (others, images) = named
        .into_iter()
        .partition(|name: &String| name.contains('$'));
    let others: Vec<String> = others;
    Bases {
        images,
        others: !others.is_empty(),
    }
}

/// Takes in one word of an `ARG` before the first stage.
fn global(word: &str, args: &BTreeMap<String, Text>, globals: &mut BTreeMap<String, String>) {
    let (name, default) = match word.split_once('=') {
        Some((name, default)) => (name, Some(default.trim_matches(['"', '\'']))),
        None => (word, None),
    };
    let given = args.get(name).map(|value| value.reveal().to_owned());
    if let Some(value) = given.or_else(|| default.map(|text| substituted(text, globals))) {
        globals.insert(name.to_owned(), value);
    }
}

/// `$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME-default}` replaced; the whole as it stands
/// where there is anything else or a name without a value.
fn substituted(text: &str, globals: &BTreeMap<String, String>) -> String {
    replaced(text, globals).unwrap_or_else(|| text.to_owned())
}

fn replaced(text: &str, globals: &BTreeMap<String, String>) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (form, after) = match after.strip_prefix('{') {
            Some(after) => after.split_once('}')?,
            None => {
                let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let end = after.find(|c| !good(c)).unwrap_or(after.len());
                after.split_at(end)
            }
        };
        let (name, default) = match form.split_once(":-").or_else(|| form.split_once('-')) {
            Some((name, default)) => (name, Some(default)),
            None => (form, None),
        };
        let value = globals.get(name).map(String::as_str);
        let value = value.filter(|value| !value.is_empty()).or(default)?;
        out.push_str(value);
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(usize, &str)>) {
        let found = needs_buildkit(text);
        let found = found.as_ref().map(|(line, what)| (*line, what.as_str()));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn what_only_buildkit_builds_is_found_with_its_line() {
        check(
            "FROM x\nRUN --mount=type=cache y\n",
            Some((2, "RUN --mount=type=cache")),
        );
        check("FROM x\n\n# c\ncopy --link a b\n", Some((4, "COPY --link")));
        check(
            "FROM x\nCOPY --chown=1 --chmod=755 a b",
            Some((2, "COPY --chmod=755")),
        );
        check(
            "FROM x\nADD --checksum=sha256:1 a b",
            Some((2, "ADD --checksum=sha256:1")),
        );
        check(
            "FROM x\nRUN a \\\n  # c\n  && b\nRUN <<EOF\nls\nEOF\n",
            Some((5, "RUN <<EOF")),
        );
        check("FROM x\nCOPY <<-\"E\" /a\nE\n", Some((2, "COPY <<-\"E\"")));
        check(
            "# syntax=vendor/language:1\nFROM x",
            Some((1, "# syntax=vendor/language:1")),
        );
        check(
            "# syntax=docker/dockerfile:1-labs\nFROM x",
            Some((1, "# syntax=docker/dockerfile:1-labs")),
        );
    }

    #[test]
    fn what_the_classic_builder_builds_is_let_through() {
        check(
            "# syntax=docker/dockerfile:1\nFROM x\nCOPY --chown=1 a b\n",
            None,
        );
        check(
            "FROM x\nRUN echo '<<EOF' && test 1 << 2 && cat <<<word\n",
            None,
        );
        check(
            "# escape=`\nFROM x\nRUN a `\n --mount=1\nCOPY --from=x a b",
            None,
        );
        check("FROM x\nRUN echo --mount=1\nCMD [\"--mount\"]", None);
    }

    #[test]
    fn every_stage_begins_with_the_labels() {
        let text = "# escape=`\nARG A=1\nfrom a `\n  as b\r\nRUN c\nFROM b";
        let found = labelled(text, &[("x", "y z"), ("v", "1")]);
        assert_eq!(
            found.text,
            "# escape=`\nARG A=1\nfrom a `\n  as b\r\nLABEL x=\"y z\" v=\"1\"\nRUN c\nFROM b\n\
             LABEL x=\"y z\" v=\"1\"\n"
        );
    }

    #[test]
    fn a_parse_error_is_told_with_its_own_line() {
        let found = labelled("FROM a\nRUN b\nFROM c\nNOPE\n", &[("x", "y")]);
        let said = |line: u32| format!("dockerfile parse error line {line}: unknown instruction");
        for (labelled, original) in [(1, 1), (3, 2), (4, 3), (6, 4)] {
            assert_eq!(found.in_the_original(&said(labelled)), said(original));
        }
        for other in ["pull of line 7 failed", "Dockerfile parse error: line x"] {
            assert_eq!(found.in_the_original(other), other);
        }
    }

    fn bases_of(text: &str, args: &[(&str, &str)]) -> Bases {
        let args = args.iter();
        let args = args.map(|&(name, value)| (name.to_owned(), Text::public(value)));
        bases(text, &args.collect())
    }

    #[test]
    fn bases_leave_out_stages_and_scratch() {
        let text = "FROM --platform=x a:1 AS build\nFROM build\nFROM scratch\nFROM b\n\
                    COPY --from=build /a /a\nCOPY --chown=1 --from=0 /a /a\nCOPY a b";
        let found = bases_of(text, &[]);
        assert_eq!(
            (found.images.as_slice(), found.others),
            (&["a:1".to_owned(), "b".to_owned()][..], false)
        );
    }

    #[test]
    fn bases_named_by_arguments_and_copied_from_are_found() {
        let text = "ARG HOST=hub.example\nARG BASE=\"$HOST/base\" TAG\nFROM ${BASE}:${TAG:-1}\n\
                    COPY --from=reg.example/tools:2 /a /a";
        let found = bases_of(text, &[]);
        assert_eq!(found.images, ["hub.example/base:1", "reg.example/tools:2"]);
        let found = bases_of(text, &[("HOST", "own.example"), ("TAG", "7")]);
        assert_eq!(found.images, ["own.example/base:7", "reg.example/tools:2"]);
        assert!(!found.others);
    }

    #[test]
    fn bases_that_only_the_builder_knows_are_told_of() {
        let found = bases_of("ARG A\nFROM x\nFROM $A\n", &[]);
        assert_eq!(
            (found.images.as_slice(), found.others),
            (&["x".to_owned()][..], true)
        );
        assert!(bases_of("FROM x\nCOPY --from=${B} a b", &[("B", "y")]).others);
        assert!(bases_of("ARG A=1\nFROM x${A:+y}", &[]).others);
    }
}
