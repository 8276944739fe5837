//! The known name that a person probably meant.

/// How many names are compared at most: a plan of thousands is no place for guesses.
const MOST_COMPARED: usize = 200;

/// The nearest of `known` to `word`, if any is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let fold = |text: &str| text.to_ascii_lowercase().replace(['-', '_'], "");
    let folded = fold(word);
    // Everything is near to one or two letters.
    let allowed = word.chars().count() / 3;
    let near = |name: &&str| name.len().abs_diff(word.len()) <= allowed + 4;
    known
        .into_iter()
        .filter(near)
        .take(MOST_COMPARED)
        .map(|name| (strsim::damerau_levenshtein(&folded, &fold(name)), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `a`, `b` and `c`, each in backticks.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}
