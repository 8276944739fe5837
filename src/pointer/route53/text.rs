//! Text as Route 53 writes it in the value of a TXT record: strings in quotes, and what is no plain
//! character as `\` and three octal digits.

use super::super::authority::note;

/// The value of a TXT record.
pub(super) fn written(text: &[u8]) -> String {
    let strings: Vec<String> = note::strings(text).map(quoted).collect();
    strings.join(" ")
}

fn quoted(string: &[u8]) -> String {
    let mut out = String::from("\"");
    for byte in string {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => out.push(char::from(*byte)),
            other => out += &format!("\\{other:03o}"),
        }
    }
    out + "\""
}

/// The text in the value of a TXT record; none where it is none.
pub(super) fn read(value: &str) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let mut inside = false;
    let mut rest = value.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (byte, inside) {
            (b'"', _) => inside = !inside,
            (b' ', false) => {}
            (_, false) => return None,
            (b'\\', true) => match rest {
                [
                    a @ b'0'..=b'3',
                    b @ b'0'..=b'7',
                    c @ b'0'..=b'7',
                    after @ ..,
                ] => {
                    text.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                    rest = after;
                }
                [escaped, after @ ..] => {
                    text.push(*escaped);
                    rest = after;
                }
                [] => return None,
            },
            (other, true) => text.push(*other),
        }
    }
    (!inside).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_as_it_was_written() {
        let long = "x".repeat(600);
        for text in ["", "a \"b\" \\ c", "grüße\n\u{1f600}", long.as_str()] {
            let value = written(text.as_bytes());
            assert!(value.is_ascii(), "{value}");
            assert_eq!(read(&value).as_deref(), Some(text.as_bytes()), "{value}");
        }
        assert_eq!(written(long.as_bytes()).matches('"').count(), 6);
        assert_eq!(written("ü\"".as_bytes()), r#""\303\274\"""#);
        for wrong in ["plain", "\"open", "\"a\" b"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
