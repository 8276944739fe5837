//! Durations, sizes and ranges: numbers that carry their unit.

use crate::core::Millis;

/// Ten years: longer is a slip of the hand.
const LONGEST: f64 = 10.0 * 365.0 * 86_400_000.0;

/// Milliseconds of `30s`, `1m30s`, `500ms`, `1.5h`.
///
/// # Errors
/// What to write instead.
pub fn duration(text: &str) -> Result<Millis, String> {
    if !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit() || c == b'.') {
        return Err(format!(
            "a duration carries a unit: write `{text}s` or `{text}ms`"
        ));
    }
    let wrong = || "write a duration such as `30s`, `1m30s` or `500ms`".to_owned();
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let end = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        total += number
            * match &rest[..end] {
                "ms" => 1.0,
                "s" => 1_000.0,
                "m" => 60_000.0,
                "h" => 3_600_000.0,
                "d" => 86_400_000.0,
                _ => return Err(wrong()),
            };
        rest = &rest[end..];
    }
    if text.is_empty() {
        return Err(wrong());
    }
    if total > LONGEST {
        return Err("this is longer than ten years".to_owned());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to ten years"
    )]
    let millis = total.round() as Millis;
    Ok(millis)
}

/// Bytes of `256MiB`, and of Compose's `256m`, `1g`, `64kb`, which count in 1024s there too.
///
/// # Errors
/// What to write instead.
pub(super) fn size(text: &str) -> Result<i64, String> {
    let wrong = || "write a size such as `256MiB` or `1GiB`".to_owned();
    if !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit()) {
        return Err(format!(
            "a size carries a unit: write `{text}MiB`, or `{text}b` for bytes"
        ));
    }
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .ok_or_else(wrong)?;
    let number: f64 = text[..digits].parse().map_err(|_| wrong())?;
    let shift = match text[digits..].trim_start().to_ascii_lowercase().as_str() {
        "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(wrong()),
    };
    let bytes = number * f64::from(1u32 << (shift / 2)) * f64::from(1u32 << (shift - shift / 2));
    if bytes > 1e18 {
        return Err("this is more than any machine has".to_owned());
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most 1e18")]
    let bytes = bytes.round() as i64;
    Ok(bytes)
}
