//! Files of variables (`env_file`, `.env`) in Compose's syntax: `NAME=value`, `NAME: value`, quotes,
//! comments, `export`, values over several lines in quotes.
//!
//! Their values are secrets: a problem names file and line and never shows the line.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use super::error::Problem;
use super::substitute;

/// How large such a file may be, in bytes.
const MOST_BYTES: usize = 1 << 20;
/// How large the values of one file may become, its variables substituted, in bytes.
const MOST_EXPANDED: usize = 4 << 20;

/// The bytes of such a file: at most one more than it may have, and only of a regular file, since a
/// pipe may never end and a device has no end at all.
///
/// # Errors
/// Where it is no regular file or cannot be read.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    let most = MOST_BYTES as u64 + 1;
    fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The variables of `.env` beside a plan; none where there is no such file.
///
/// # Errors
/// Where it cannot be read or understood.
pub(super) fn beside(
    directory: &Path,
    lookup: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, Problem> {
    let path = directory.join(".env");
    let shown = path.display().to_string();
    let bytes = match read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(Problem::whole(&shown, format!("cannot be read: {error}"))),
    };
    let set = parse(&shown, &bytes, lookup)?.into_iter();
    Ok(set
        .filter_map(|(name, value)| Some((name, value?)))
        .collect())
}

/// The variables in the file's order; `None` for a name without `=`, which passes the caller's
/// value through. `lookup` answers what the file itself does not define.
///
/// # Errors
/// The first line that is no variable.
pub(super) fn parse(
    file: &str,
    bytes: &[u8],
    lookup: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<Vec<(String, Option<String>)>, Problem> {
    if bytes.len() > MOST_BYTES {
        return Err(Problem::whole(file, "is larger than 1 MiB").help("is this the right file?"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()]
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count()
            + 1;
        Problem::at(file, line, 1, "this is not UTF-8 text").help("save the file as UTF-8")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = Found::default();
    let mut rest = text;
    let mut number = 0;
    while !rest.is_empty() {
        number += 1;
        let at = |message: &str, help: &str| Problem::at(file, number, 1, message).help(help);
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        rest = after;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let name_end = line
            .find(|c: char| c == '=' || c == ':' || c.is_whitespace())
            .unwrap_or(line.len());
        let name = &line[..name_end];
        let good = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        if !good {
            return Err(at(
                "this line does not begin with a variable's name",
                "write `NAME=value`",
            ));
        }
        let Some(value) = line[name_end..].trim_start().strip_prefix(['=', ':']) else {
            if line.len() > name_end {
                return Err(at(
                    "this line has no `=` after its name",
                    "write `NAME=value`",
                ));
            }
            found.push(name, None);
            continue;
        };
        let value = value.trim_start();
        let quote = value.chars().next().filter(|c| "'\"".contains(*c));
        let raw = match quote {
            None => unquoted(value).to_owned(),
            Some(quote) => {
                let mut body = value[1..].to_owned();
                let mut lines = 0;
                let mut scanned = 0;
                let mut escaped = false;
                let end = loop {
                    if let Some(end) = closing(&body[scanned..], quote, &mut escaped) {
                        break scanned + end;
                    }
                    scanned = body.len();
                    if rest.is_empty() {
                        return Err(at("the quote that begins here is never closed", "close it"));
                    }
                    let (more, after) = rest.split_once('\n').unwrap_or((rest, ""));
                    body.push('\n');
                    body.push_str(more.trim_end_matches('\r'));
                    rest = after;
                    lines += 1;
                };
                let trailing = body[end + 1..].trim();
                if !trailing.is_empty() && !trailing.starts_with('#') {
                    return Err(at(
                        "there is text after the closing quote",
                        "quote the whole value",
                    ));
                }
                body.truncate(end);
                let value = match quote {
                    '"' => expand(&unescape(&body), &found, lookup, &at)?,
                    _ => body.replace("\\'", "'"),
                };
                found.push(name, Some(value));
                number += lines;
                continue;
            }
        };
        let value = expand(&raw, &found, lookup, &at)?;
        found.push(name, Some(value));
    }
    Ok(found.entries)
}

/// What has been read of a file so far.
#[derive(Default)]
struct Found {
    entries: Vec<(String, Option<String>)>,
    /// Where the last entry of each name stands.
    last: HashMap<String, usize>,
    /// How many bytes the values have.
    size: usize,
}

impl Found {
    fn push(&mut self, name: &str, value: Option<String>) {
        self.size += value.as_ref().map_or(0, String::len);
        self.last.insert(name.to_owned(), self.entries.len());
        self.entries.push((name.to_owned(), value));
    }

    fn value(&self, name: &str) -> Option<String> {
        let at = *self.last.get(name)?;
        self.entries[at].1.clone()
    }
}

fn expand(
    raw: &str,
    found: &Found,
    lookup: &mut dyn FnMut(&str) -> Option<String>,
    at: &dyn Fn(&str, &str) -> Problem,
) -> Result<String, Problem> {
    let expanded = substitute::expand(raw, &mut |name, _| {
        found.value(name).or_else(|| lookup(name))
    });
    let expanded = expanded.map_err(|_| {
        at(
            "this value has a `$` that names no variable which is set",
            "put it in 'single quotes'",
        )
    })?;
    if found.size + expanded.value.len() > MOST_EXPANDED {
        return Err(at(
            "with its variables substituted this file is larger than 4 MiB",
            "write large values once, or put them into files",
        ));
    }
    Ok(expanded.value)
}

/// An unquoted value ends where a comment begins.
fn unquoted(value: &str) -> &str {
    if value.starts_with('#') {
        return "";
    }
    let end = [" #", "\t#"]
        .iter()
        .filter_map(|mark| value.find(mark))
        .min();
    value[..end.unwrap_or(value.len())].trim_end()
}

/// Where the closing quote stands; `escaped` is whether a backslash stands before, and is carried
/// from one part of a text to the next, so that none is read twice.
fn closing(part: &str, quote: char, escaped: &mut bool) -> Option<usize> {
    for (index, c) in part.char_indices() {
        if c == quote && !*escaped {
            return Some(index);
        }
        *escaped = c == '\\' && !*escaped;
    }
    None
}

fn unescape(body: &str) -> String {
    let mut out = String::new();
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('$') => out.push_str("$$"),
            Some(c @ ('\\' | '"' | '\'')) => out.push(c),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}
