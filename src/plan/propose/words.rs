//! Names, word by word.

/// The words of a name: what stands between `-`, `_` and `.`.
pub(super) fn words(name: &str) -> Vec<String> {
    let lower = name.to_ascii_lowercase();
    let words = lower.split(['-', '_', '.', ' ', '/', ':']);
    words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Whether a name is one of those known, or has one among its words.
pub(super) fn has(name: &str, known: &[&str]) -> bool {
    known.contains(&name)
        || words(name)
            .iter()
            .any(|word| known.contains(&word.as_str()))
}
