//! The unit by which systemd tells the kernel again when the machine starts.
//!
//! Pure.

use std::fmt::Write as _;
use std::path::Path;

use super::NftablesPlan;
use super::forward;
use super::rules::Ways;

/// Its text.
pub(super) fn text(plan: &NftablesPlan, ways: &Ways) -> String {
    let table = &plan.table;
    let state = plan.state.to_string_lossy();
    format!(
        "[Unit]\nDescription=flipside: where {table} leads to\n\
         After=nftables.service docker.service\n\
         {condition}\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\n\
         ExecStart=/usr/bin/env {nft} -f {state}\n{forward}\n\
         [Install]\nWantedBy=multi-user.target\n",
        condition = condition(&plan.state),
        nft = word(&plan.nft),
        state = word(&state),
        forward = forward::lines(table, ways),
    )
}

/// A word of a command as systemd reads it: within quotes, where neither its specifiers (`%`) nor its
/// variables (`$`) are meant.
fn word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:@+,".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '%' => quoted.push_str("%%"),
            '$' => quoted.push_str("$$"),
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_ascii_control() => {
                // Nothing that is written to a text fails.
                let _written = write!(quoted, "\\x{:02x}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// Nothing is told where there is no copy yet. A condition knows no quotes: what cannot be written
/// without them has none, and the unit then fails where there is no copy.
fn condition(path: &Path) -> String {
    let path = path.to_string_lossy();
    let is_cut = path.ends_with(|last: char| last == '\\' || last.is_whitespace());
    if is_cut || path.chars().any(char::is_control) {
        return String::new();
    }
    format!("ConditionPathExists={}\n", path.replace('%', "%%"))
}

#[cfg(test)]
#[test]
fn what_systemd_would_read_otherwise_is_quoted() {
    for (text, quoted) in [
        (
            "/var/lib/flipside/shop-1.nft",
            "/var/lib/flipside/shop-1.nft",
        ),
        ("", r#""""#),
        ("/a b/50%", r#""/a b/50%%""#),
        (r#"/it's "$x"\"#, r#""/it's \"$$x\"\\""#),
        ("/a\nb", r#""/a\x0ab""#),
    ] {
        assert_eq!(word(text), quoted);
    }
    let condition = |path: &str| condition(Path::new(path));
    assert_eq!(condition("/a b/50%"), "ConditionPathExists=/a b/50%%\n");
    assert_eq!(condition("/a\nb"), "");
    assert_eq!(condition("/a\\"), "");
}
