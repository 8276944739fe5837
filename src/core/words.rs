//! Numbers, durations, names and foreign text, as every message writes them.
//!
//! Composes no sentences.

use unicode_width::UnicodeWidthStr;

use super::names::{Millis, Release};

/// `shop@2`; release 0 is what stood there before flipside came.
#[must_use]
pub fn release_name(service: &str, release: Release) -> String {
    match release {
        Release(0) => format!("{service}@0 (foreign)"),
        Release(number) => format!("{service}@{number}"),
    }
}

/// Bytes in hexadecimal digits, lower case.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The number, or `unknown`.
#[must_use]
pub fn known(number: Option<u64>) -> String {
    number.map_or_else(|| "unknown".into(), |number| number.to_string())
}

/// `1 check`, `9 checks`: for nouns that take an `s`.
#[must_use]
pub fn count(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        n => format!("{n} {noun}s"),
    }
}

/// The command that goes on with a run of `service`; `again` are variables that must be given their
/// values once more, since no journal holds them.
#[must_use]
pub fn resume(service: &str, again: &[String]) -> String {
    go_on("resume", service, again)
}

/// As [`resume`], for a release that waits at its preview.
#[must_use]
pub fn promote(service: &str, again: &[String]) -> String {
    go_on("promote", service, again)
}

fn go_on(verb: &str, service: &str, again: &[String]) -> String {
    let set = again.iter().map(|name| format!(" --set {}=…", clean(name)));
    format!("flipside {verb} {service}{}", set.collect::<String>())
}

/// `a`, `a and b`, `a, b and c`.
#[must_use]
pub fn list(items: &[String]) -> String {
    match items {
        [] => "nothing".into(),
        [one] => one.clone(),
        [head @ .., last] => format!("{} and {last}", head.join(", ")),
    }
}

/// `text` in lines of at most `width` columns, broken between words where that is possible; all but
/// the first begin with `indent` blanks. What is too long in itself stays whole.
#[must_use]
pub fn wrap(text: &str, width: usize, indent: usize) -> String {
    let (mut lines, mut line, mut used) = (String::new(), String::new(), 0);
    for word in text.split(' ') {
        let long = word.width();
        if used > 0 && used + 1 + long > width {
            lines += &line;
            lines += "\n";
            line = " ".repeat(indent) + word;
            used = indent + long;
        } else {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line += word;
            used += long;
        }
    }
    lines + &line
}

/// A duration given in microseconds, for people: `850 µs`, `1.9 ms`, `31 ms`, `1.2 s`, `2m 10s`,
/// `3h 5m`, `4d 2h`. Cut off, not rounded.
#[must_use]
pub fn micros(us: u64) -> String {
    let tenths = |whole: u64, tenth: u64, unit: &str| match tenth {
        0 => format!("{whole} {unit}"),
        _ => format!("{whole}.{tenth} {unit}"),
    };
    let pair = |large: u64, a: &str, small: u64, b: &str| match small {
        0 => format!("{large}{a}"),
        _ => format!("{large}{a} {small}{b}"),
    };
    let s = us / 1_000_000;
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..10_000 => tenths(us / 1_000, us / 100 % 10, "ms"),
        10_000..1_000_000 => format!("{} ms", us / 1_000),
        1_000_000..60_000_000 => tenths(s, us / 100_000 % 10, "s"),
        60_000_000..3_600_000_000 => pair(s / 60, "m", s % 60, "s"),
        3_600_000_000..86_400_000_000 => pair(s / 3600, "h", s / 60 % 60, "m"),
        86_400_000_000.. => pair(s / 86_400, "d", s / 3600 % 24, "h"),
    }
}

/// A duration given in milliseconds, as [`micros`] writes it.
#[must_use]
pub fn millis(ms: Millis) -> String {
    match ms {
        0 => "0 ms".into(),
        ms => micros(ms.saturating_mul(1_000)),
    }
}

/// Text from outside without escape sequences and control characters; a tab becomes a space.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\t' | '\n' => kept.push(' '),
            // Marks that turn the direction of writing can make a line read as another.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            c if c.is_control() => {}
            c => kept.push(c),
        }
    }
    kept
}

/// Skips the rest of an escape sequence (ECMA-48): a control sequence to its final byte, a string
/// to its terminator, else one character.
fn skip_escape(chars: &mut std::str::Chars<'_>) {
    match chars.next() {
        Some('[') => while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while chars.next().is_some_and(|c| c != '\u{7}' && c != '\\') {}
        }
        _ => {}
    }
}
