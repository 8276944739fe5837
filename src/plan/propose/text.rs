//! A draft as the text of a plan: each line with its reason above it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Draft, Section};

impl Draft {
    /// The plan's text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("name: {}\n", quoted(&self.service));
        let listed: Vec<_> = self.compose.iter().map(|name| quoted(name)).collect();
        match listed.as_slice() {
            [one] => text += &format!("compose: {one}\n"),
            several => text += &format!("compose: [{}]\n", several.join(", ")),
        }
        if !self.unset.is_empty() {
            text += "\n# These variables have no value yet. Give them in `.env` beside this file or beside the\n# Compose file, or by `--set NAME=VALUE`:\n";
            for name in &self.unset {
                let _ = writeln!(text, "#   {name}");
            }
        }
        let sections: BTreeSet<Section> = self.lines.iter().map(|line| line.section).collect();
        for section in sections {
            let lines = || {
                self.lines
                    .iter()
                    .filter(move |line| line.section == section)
            };
            text.push('\n');
            let inline = section.is_inline();
            if !inline {
                let head = format!("{}:\n", section.key());
                let any = lines().any(|line| line.accepted);
                text += &if any { head } else { format!("# {head}") };
            }
            let pad = if inline { "" } else { "  " };
            for line in lines() {
                for why in wrapped(&line.why, 96 - pad.len()) {
                    let _ = writeln!(text, "{pad}# {why}");
                }
                let mark = if line.accepted { "" } else { "# " };
                let _ = writeln!(text, "{pad}{mark}{}", line.text);
            }
        }
        text
    }
}

impl Section {
    /// Whether its one line has the section's key in it.
    pub(super) fn is_inline(self) -> bool {
        matches!(
            self,
            Self::Project | Self::Profiles | Self::Expose | Self::Pointer
        )
    }

    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Profiles => "profiles",
            Self::Services => "services",
            Self::Volumes => "volumes",
            Self::Networks => "networks",
            Self::SharedPaths => "shared_paths",
            Self::CopiedPaths => "copied_paths",
            Self::Expose => "expose",
            Self::Probes => "probes",
            Self::Pointer => "pointer",
        }
    }
}

/// A text as YAML takes it for a text.
pub(super) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let starts =
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '.' || c == '/' || c == '_');
    let word = matches!(
        text,
        "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "~"
    );
    let colon = text.split_once(':').is_some_and(|(a, b)| {
        a.chars().all(plain) && !b.is_empty() && b.bytes().all(|c| c.is_ascii_digit())
    });
    if starts && !word && (text.chars().all(plain) || colon) {
        return text.to_owned();
    }
    always_quoted(text)
}

/// A text in quotes.
pub(in super::super) fn always_quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

/// A comment's lines.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
