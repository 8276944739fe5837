//! What a killed flipside has left running on this machine of a hook's command.
//!
//! It is found by the variables that a hook gets and hands down, so nothing need be written down
//! before, and nothing is left to clear away. Another user's processes do not show theirs.

use std::path::Path;

/// The processes that have all of these variables, as far as they can be seen.
pub fn running(variables: &[(&str, &str)]) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut found: Vec<_> = all
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            has(&entry.path(), variables)?.then_some(pid)
        })
        .collect();
    found.sort_unstable();
    found
}

/// Whether a process has these variables; one that has ended has none.
fn has(process: &Path, variables: &[(&str, &str)]) -> Option<bool> {
    let environ = std::fs::read(process.join("environ")).ok()?;
    Some(variables.iter().all(|(name, value)| {
        let wanted = format!("{name}={value}");
        let mut theirs = environ.split(|&byte| byte == 0);
        theirs.any(|variable| variable == wanted.as_bytes())
    }))
}
