//! A build context as the engine gets it: every file of the directory but those that
//! `.dockerignore` leaves out. The rules are those of Docker's builder, not those of git: a pattern
//! is anchored at the root of the context, and the last one that matches wins.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::docker::append_file;

/// The file that says what is left out.
pub(super) const IGNORE_FILE: &str = ".dockerignore";

/// What the Dockerfile is called that the builder gets: the project's own, changed by us, goes beside
/// the untouched one, which a `COPY` may want.
pub(super) const DOCKERFILE: &str = ".flipside.Dockerfile";

/// The rules of one `.dockerignore`.
#[derive(Debug, Default)]
pub(super) struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    pattern: Vec<char>,
    keeps: bool,
}

impl Ignore {
    /// Reads the file's text.
    pub(super) fn new(text: &str) -> Self {
        let text = text.trim_start_matches('\u{feff}');
        let rules = text.lines().filter_map(rule).collect();
        Self { rules }
    }

    /// Whether `path`, relative and with `/` between its parts, is left out.
    pub(super) fn leaves_out(&self, path: &str) -> bool {
        let mut out = false;
        for rule in &self.rules {
            // A rule for a directory holds for all in it.
            let ends = path
                .match_indices('/')
                .map(|(at, _)| at)
                .chain([path.len()]);
            if out == rule.keeps && ends.into_iter().any(|end| rule.matches(&path[..end])) {
                out = !rule.keeps;
            }
        }
        out
    }

    /// Whether anything below a directory that is left out may be kept.
    fn may_keep_below(&self, directory: &str) -> bool {
        let first = |rule: &Rule| {
            rule.pattern
                .iter()
                .take_while(|c| **c != '/')
                .collect::<String>()
        };
        let top = directory.split('/').next().unwrap_or_default();
        let literal = |text: &str| !text.contains(['*', '?', '[', '\\']);
        let keeping = self.rules.iter().filter(|rule| rule.keeps);
        keeping
            .map(first)
            .any(|first| !literal(&first) || first == top)
    }
}

fn rule(line: &str) -> Option<Rule> {
    if line.starts_with('#') {
        return None;
    }
    let line = line.trim();
    let (keeps, line) = match line.strip_prefix('!') {
        Some(rest) => (true, rest.trim()),
        None => (false, line),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in line.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let pattern: Vec<char> = parts.join("/").chars().collect();
    (!pattern.is_empty()).then_some(Rule { pattern, keeps })
}

impl Rule {
    fn matches(&self, path: &str) -> bool {
        let path: Vec<char> = path.chars().collect();
        glob(&self.pattern, &path)
    }
}

/// `*` and `?` do not cross `/`; `**` does; `[a-z]` and `[^a-z]` are sets; `\` takes the next as is.
fn glob(pattern: &[char], path: &[char]) -> bool {
    match pattern {
        [] => path.is_empty(),
        ['*', '*', '/', rest @ ..] => {
            let starts = (0..path.len())
                .filter(|&at| path[at] == '/')
                .map(|at| at + 1);
            std::iter::once(0)
                .chain(starts)
                .any(|at| glob(rest, &path[at..]))
        }
        ['*', '*', rest @ ..] => (0..=path.len()).any(|at| glob(rest, &path[at..])),
        ['*', rest @ ..] => {
            let end = path.iter().position(|&c| c == '/').unwrap_or(path.len());
            (0..=end).any(|at| glob(rest, &path[at..]))
        }
        ['?', rest @ ..] => matches!(path, [c, tail @ ..] if *c != '/' && glob(rest, tail)),
        ['[', rest @ ..] => match (set(rest), path) {
            (Some((set, rest)), [c, tail @ ..]) => set(*c) && *c != '/' && glob(rest, tail),
            _ => false,
        },
        ['\\', literal, rest @ ..] | [literal, rest @ ..] => {
            matches!(path, [c, tail @ ..] if c == literal && glob(rest, tail))
        }
    }
}

/// The set after `[`, and what follows its `]`.
fn set(pattern: &[char]) -> Option<(impl Fn(char) -> bool, &[char])> {
    let (negated, pattern) = match pattern {
        ['^' | '!', rest @ ..] => (true, rest),
        _ => (false, pattern),
    };
    let end = 1 + pattern.get(1..)?.iter().position(|&c| c == ']')?;
    let members = &pattern[..end];
    let holds = move |c: char| {
        let mut rest = members;
        let mut found = false;
        loop {
            rest = match rest {
                [] => return found != negated,
                [low, '-', high, tail @ ..] => {
                    found |= (*low..=*high).contains(&c);
                    tail
                }
                [one, tail @ ..] => {
                    found |= *one == c;
                    tail
                }
            };
        }
    };
    Some((holds, &pattern[end + 1..]))
}

/// Appends the files of `context` that its `.dockerignore` of text `ignored` lets through, owned by
/// root, in the order of names, and `dockerfile`, which the builder reads and takes away again.
pub(super) fn append(
    tar: &mut tar::Builder<Box<dyn Write>>,
    context: &Path,
    ignored: Option<&str>,
    dockerfile: &str,
) -> io::Result<()> {
    let rules = Ignore::new(ignored.unwrap_or_default());
    tar.follow_symlinks(false);
    walk(tar, context, "", &rules)?;
    append_file(tar, DOCKERFILE, dockerfile.as_bytes(), 0o644)?;
    // The builder takes away what this names of these two. An own one stays, as with any build.
    let own = ignored.map_or_else(|| format!("{IGNORE_FILE}\n"), |text| format!("{text}\n"));
    let builders = format!("{own}{DOCKERFILE}\n");
    append_file(tar, IGNORE_FILE, builders.as_bytes(), 0o644)
}

fn walk(
    tar: &mut tar::Builder<Box<dyn Write>>,
    context: &Path,
    directory: &str,
    ignore: &Ignore,
) -> io::Result<()> {
    let said = |path: &Path, error: io::Error| {
        io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))
    };
    let here = context.join(directory);
    let entries = here.read_dir().map_err(|error| said(&here, error))?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let name = name.into_string().map_err(|name| {
            let path = here.join(PathBuf::from(name));
            io::Error::other(format!("`{}`: its name is not UTF-8", path.display()))
        })?;
        names.push(name);
    }
    names.sort();
    for name in names {
        let relative = match directory {
            "" => name,
            _ => format!("{directory}/{name}"),
        };
        let path = context.join(&relative);
        let metadata = path
            .symlink_metadata()
            .map_err(|error| said(&path, error))?;
        let out = ignore.leaves_out(&relative);
        if metadata.is_dir() {
            if !out {
                let mut header = header(&metadata);
                tar.append_data(&mut header, format!("{relative}/"), io::empty())?;
            }
            if !out || ignore.may_keep_below(&relative) {
                walk(tar, context, &relative, ignore)?;
            }
        } else if !out && metadata.is_symlink() {
            let target = path.read_link().map_err(|error| said(&path, error))?;
            let mut header = header(&metadata);
            tar.append_link(&mut header, &relative, target)?;
        } else if !out && metadata.is_file() {
            let mut file = std::fs::File::open(&path).map_err(|error| said(&path, error))?;
            let mut header = header(&metadata);
            tar.append_data(&mut header, &relative, &mut file)?;
        }
    }
    Ok(())
}

fn header(metadata: &std::fs::Metadata) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_metadata(metadata);
    // As Docker's own client does: whoever builds, the image is the same.
    header.set_uid(0);
    header.set_gid(0);
    if !metadata.is_file() {
        header.set_size(0);
    }
    header
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn check(text: &str, out: &[&str], kept: &[&str]) {
        let ignore = Ignore::new(text);
        for path in out {
            assert!(ignore.leaves_out(path), "{path} is kept by {text:?}");
        }
        for path in kept {
            assert!(!ignore.leaves_out(path), "{path} is left out by {text:?}");
        }
    }

    #[test]
    fn patterns_are_anchored_and_the_last_match_wins() {
        check(
            "node_modules",
            &["node_modules", "node_modules/a/b"],
            &["a/node_modules"],
        );
        check("*.md\n!README.md", &["a.md"], &["README.md", "docs/a.md"]);
        check(
            "*.md\n!README*.md\nREADME-secret.md",
            &["README-secret.md"],
            &["README.md"],
        );
        check("**/*.o", &["a.o", "x/y/z.o"], &["x/y/z.obj"]);
        check("/a/b/", &["a/b", "a/b/c"], &["b"]);
        check("a/**", &["a/b", "a/b/c"], &["b"]);
        check("**/x/**", &["x/a", "b/x/c/d"], &["y"]);
        check("# note\n\n  temp?  ", &["temp1"], &["temp", "temp12"]);
        check("[a-c]x\n[^a-z]y", &["bx", "1y"], &["dx", "by", "-x"]);
        check("a\\*b", &["a*b"], &["axb"]);
        check("../a\n./b/../c", &["a", "c"], &["b"]);
        check(
            "*\n!src\n!x/y",
            &["a", "x/z", "srcs"],
            &["src", "src/a/b", "x/y/z"],
        );
        check("**", &["a/b", "Dockerfile"], &[]);
        check("[", &[], &["["]);
    }

    /// What the builder gets of that context: path and text.
    fn sent(context: &Path, ignored: Option<&str>) -> Vec<(String, String)> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut tar = tar::Builder::new(Box::new(file.reopen().unwrap()) as Box<dyn Write>);
        append(&mut tar, context, ignored, "FROM x\n").unwrap();
        tar.finish().unwrap();
        let mut archive = tar::Archive::new(file.reopen().unwrap());
        let entries = archive.entries().unwrap();
        let read = |entry: io::Result<tar::Entry<'_, _>>| {
            let mut entry = entry.unwrap();
            let text = io::read_to_string(&mut entry).unwrap();
            (entry.path().unwrap().display().to_string(), text)
        };
        entries.map(read).collect()
    }

    #[test]
    fn directories_left_out_are_still_searched_for_what_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["keep/deep/a", "drop/b", "Dockerfile"] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        std::os::unix::fs::symlink("a", dir.path().join("keep/deep/link")).unwrap();
        let sent = sent(dir.path(), Some("*\n!keep/deep"));
        let names: Vec<_> = sent.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "keep/deep/",
                "keep/deep/a",
                "keep/deep/link",
                DOCKERFILE,
                IGNORE_FILE
            ]
        );
    }

    #[test]
    fn the_builder_is_told_to_take_away_what_only_it_reads() {
        let dir = tempfile::tempdir().unwrap();
        let told = |ignored| sent(dir.path(), ignored);
        let (dockerfile, ignore) = (DOCKERFILE.to_owned(), IGNORE_FILE.to_owned());
        let from = (dockerfile, "FROM x\n".to_owned());
        let without = ".dockerignore\n.flipside.Dockerfile\n".to_owned();
        assert_eq!(told(None), [from.clone(), (ignore.clone(), without)]);
        let own = "a\n!b\n.flipside.Dockerfile\n".to_owned();
        assert_eq!(told(Some("a\n!b")), [from, (ignore, own)]);
    }
}
