//! A Rust file with everything blanked that is no code: comments, the insides of literals, and what
//! stands under `#[cfg(test)]`. Lines stay where they are. Not a parser: it knows as much of the
//! language as the rules need.

/// A Rust file of `src/`.
pub(super) struct Source {
    /// From the repository's root.
    pub path: String,
    /// As written.
    pub text: String,
    /// Only its code; empty for a file that holds nothing but tests.
    pub code: String,
}

impl Source {
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let (path, text) = (path.into(), text.into());
        let code = if path.ends_with("/tests.rs") || path.contains("/tests/") {
            String::new()
        } else {
            without_tests(&without_words(&text))
        };
        Self { path, text, code }
    }

    /// Its module's path, below the crate: `src/a/mod.rs` and `src/a.rs` are `[a]`.
    pub fn module(&self) -> Vec<&str> {
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let path = path.strip_suffix(".rs").unwrap_or(path);
        let mut parts: Vec<&str> = path.split('/').collect();
        if parts.last() == Some(&"mod") || parts == ["lib"] {
            parts.pop();
        }
        parts
    }
}

/// The line, counted from 1, of a byte.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    1 + text[..at].bytes().filter(|byte| *byte == b'\n').count()
}

/// The text with comments and the insides of literals blanked; quotes stay.
fn without_words(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let (skip, from, to) = if rest.starts_with(b"//") {
            let end = find(rest, b"\n").unwrap_or(rest.len());
            (end, 0, end)
        } else if rest.starts_with(b"/*") {
            let end = block_comment(rest);
            (end, 0, end)
        } else if let Some(hashes) = raw_string(bytes, at) {
            let open = find(rest, b"\"").unwrap() + 1;
            let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
            let inside = find(&rest[open..], &close).unwrap_or(rest.len() - open);
            (open + inside + close.len(), open, open + inside)
        } else if rest[0] == b'"' {
            let end = quoted(rest, b'"');
            (end, 1, end - 1)
        } else if rest[0] == b'\'' && is_char(rest) {
            let end = quoted(rest, b'\'');
            (end, 1, end - 1)
        } else {
            (1, 0, 0)
        };
        let last = bytes.len();
        blank(&mut out[(at + from).min(last)..(at + to).min(last)]);
        at += skip;
    }
    String::from_utf8(out).unwrap()
}

/// The code with every item under `#[cfg(test)]` blanked.
fn without_tests(code: &str) -> String {
    const MARK: &[u8] = b"#[cfg(test)]";
    let mut out = code.as_bytes().to_vec();
    let mut at = 0;
    while let Some(found) = find(&out[at..], MARK) {
        let start = at + found;
        let mut end = start + MARK.len();
        let mut depth = 0usize;
        while end < out.len() {
            match out[end] {
                b'{' => depth += 1,
                b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            end += 1;
            if depth == 0 && matches!(out[end - 1], b'}' | b';') {
                break;
            }
        }
        blank(&mut out[start..end]);
        at = end;
    }
    String::from_utf8(out).unwrap()
}

fn blank(bytes: &mut [u8]) {
    for byte in bytes {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn block_comment(bytes: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0usize);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at.min(bytes.len())
}

/// How many `#` the raw string has that begins here.
fn raw_string(bytes: &[u8], at: usize) -> Option<usize> {
    let in_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    let rest = &bytes[at..];
    let rest = rest.strip_prefix(b"b").unwrap_or(rest);
    let rest = rest.strip_prefix(b"r")?;
    let hashes = rest.iter().take_while(|byte| **byte == b'#').count();
    (!in_word && rest.get(hashes) == Some(&b'"')).then_some(hashes)
}

/// Where the literal ends that begins here.
fn quoted(bytes: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// Whether this quote begins a character and not a lifetime.
fn is_char(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&bytes[1..bytes.len().min(8)]);
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => true,
        (Some(_), second) => second == Some('\''),
        (None, _) => false,
    }
}

#[test]
fn only_code_is_left_of_a_file() {
    let source = Source::new(
        "src/a.rs",
        r##"//! crate::words
fn f<'a>(x: &'a str) -> char { /* crate::words /* nested */ crate::words */ '"' }
const A: &str = "crate::words \" crate::words"; // crate::words
const B: &str = r#"crate::words " crate::words"#;
use crate::code;
#[cfg(test)]
#[allow(unused)]
mod tests { use crate::words; fn g() { if true {} } }
use crate::more;
"##,
    );
    assert!(!source.code.contains("words"), "{}", source.code);
    assert!(source.code.contains("use crate::code;"));
    assert!(source.code.contains("use crate::more;"));
    assert_eq!(source.code.lines().count(), source.text.lines().count());
}

#[test]
fn a_file_of_tests_has_no_code() {
    assert_eq!(Source::new("src/core/tests.rs", "use crate::x;").code, "");
}
