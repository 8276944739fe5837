//! Reads a Dockerfile as far as needed to say whether the classic builder can build it, and which
//! images it starts from. Builds nothing.

use crate::docker::refused_hint;
use crate::engine::EngineError;

/// One instruction with its first line's number, from 1; continuation lines joined by spaces.
struct Instruction {
    line: usize,
    word: String,
    rest: String,
}

fn instructions(text: &str) -> (char, Vec<Instruction>) {
    let escape = directive(text, "escape").and_then(|value| value.chars().next());
    let escape = escape.unwrap_or('\\');
    let mut all = Vec::new();
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
            all.push(split(line, &text));
        }
    }
    if let Some((line, text)) = open {
        all.push(split(line, &text));
    }
    (escape, all)
}

fn split(line: usize, text: &str) -> Instruction {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    Instruction {
        line,
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

/// Refuses what only BuildKit can build, naming file, line and construct.
pub(super) fn check(file: &str, text: &str) -> Result<(), EngineError> {
    match find(text) {
        None => Ok(()),
        Some((line, construct)) => Err(refused_hint(
            format!("{file}:{line}: `{construct}` needs BuildKit, which flipside does not use"),
            "write it without, or build the image beforehand and name it with `image:`",
        )),
    }
}

fn find(text: &str) -> Option<(usize, String)> {
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

/// The images that stages start from: not earlier stages, not `scratch`, not what a variable names.
pub(super) fn bases(text: &str) -> Vec<String> {
    let mut stages: Vec<String> = Vec::new();
    let mut bases = Vec::new();
    for instruction in instructions(text).1 {
        if instruction.word != "FROM" {
            continue;
        }
        let mut words = instruction
            .rest
            .split_whitespace()
            .skip_while(|w| w.starts_with("--"));
        let Some(image) = words.next() else { continue };
        let known = stages.iter().any(|stage| stage.eq_ignore_ascii_case(image));
        if !known && image != "scratch" && !image.contains('$') {
            bases.push(image.to_owned());
        }
        if words
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case("as"))
        {
            stages.extend(words.next().map(str::to_owned));
        }
    }
    bases.sort();
    bases.dedup();
    bases
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_find(text: &str, expected: Option<(usize, &str)>) {
        let found = find(text);
        let found = found.as_ref().map(|(line, what)| (*line, what.as_str()));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn what_only_buildkit_builds_is_found_with_its_line() {
        check_find(
            "FROM x\nRUN --mount=type=cache y\n",
            Some((2, "RUN --mount=type=cache")),
        );
        check_find("FROM x\n\n# c\ncopy --link a b\n", Some((4, "COPY --link")));
        check_find(
            "FROM x\nCOPY --chown=1 --chmod=755 a b",
            Some((2, "COPY --chmod=755")),
        );
        check_find(
            "FROM x\nADD --checksum=sha256:1 a b",
            Some((2, "ADD --checksum=sha256:1")),
        );
        check_find(
            "FROM x\nRUN a \\\n  # c\n  && b\nRUN <<EOF\nls\nEOF\n",
            Some((5, "RUN <<EOF")),
        );
        check_find("FROM x\nCOPY <<-\"E\" /a\nE\n", Some((2, "COPY <<-\"E\"")));
        check_find(
            "# syntax=vendor/language:1\nFROM x",
            Some((1, "# syntax=vendor/language:1")),
        );
        check_find(
            "# syntax=docker/dockerfile:1-labs\nFROM x",
            Some((1, "# syntax=docker/dockerfile:1-labs")),
        );
    }

    #[test]
    fn what_the_classic_builder_builds_is_let_through() {
        check_find(
            "# syntax=docker/dockerfile:1\nFROM x\nCOPY --chown=1 a b\n",
            None,
        );
        check_find(
            "FROM x\nRUN echo '<<EOF' && test 1 << 2 && cat <<<word\n",
            None,
        );
        check_find(
            "# escape=`\nFROM x\nRUN a `\n --mount=1\nCOPY --from=x a b",
            None,
        );
        check_find("FROM x\nRUN echo --mount=1\nCMD [\"--mount\"]", None);
    }

    #[test]
    fn bases_leave_out_stages_and_scratch() {
        let text = "FROM --platform=x a:1 AS build\nFROM build\nFROM scratch\nFROM ${B}\nFROM b";
        assert_eq!(bases(text), ["a:1", "b"]);
    }
}
