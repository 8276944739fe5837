//! What variables are worth to a plan, and what is said of those that have no value.

use std::collections::BTreeMap;

use super::compose::normalised;
use super::dotenv;
use super::read::Reader;
use super::source::Span;
use super::substitute::{self, Wanted};

/// The variable that Compose itself gives a value: the project's name.
pub(super) const PROJECT: &str = "COMPOSE_PROJECT_NAME";

/// What a variable is recorded as when only its being there mattered.
const PRESENT: &str = "set";

impl Reader<'_> {
    /// A variable that says nothing secret: as it was read first, where a run is resumed.
    pub(super) fn public_variable(&mut self, name: &str) -> Option<String> {
        let value = match self.recorded {
            Some(record) => record.public.get(name).cloned(),
            None => self.variable(name),
        }?;
        self.public.insert(name.to_owned(), value.clone());
        Some(value)
    }

    /// A variable of whose value only a digest is kept: a run that is resumed needs it once more.
    pub(super) fn secret_variable(&mut self, name: &str) -> Option<String> {
        if self.inputs.overrides.contains_key(name) {
            self.given.insert(name.to_owned());
        }
        self.variable(name)
    }

    /// The caller's value of a variable: `--set`, then the variables, then `.env` beside the plan, then
    /// that beside its Compose file.
    pub(super) fn variable(&mut self, name: &str) -> Option<String> {
        self.asked.insert(name.to_owned());
        self.given(name)
    }

    /// As [`Self::variable`], where it may turn out that nobody wants it.
    fn given(&mut self, name: &str) -> Option<String> {
        if name == PROJECT && self.said_project.is_some() {
            return self.said_project.clone();
        }
        if let Some(value) = self
            .inputs
            .overrides
            .get(name)
            .or_else(|| self.inputs.vars.get(name))
        {
            return Some(value.clone());
        }
        if self.dotenv.is_none() {
            let inputs = self.inputs;
            let mut directories = vec![&self.project_directory];
            if self.directory != self.project_directory {
                directories.push(&self.directory);
            }
            let mut all = BTreeMap::new();
            for directory in directories {
                let found = dotenv::beside(directory, &mut |name| {
                    let given = inputs.overrides.get(name);
                    given.or_else(|| inputs.vars.get(name)).cloned()
                });
                match found {
                    Ok(found) => all.extend(found),
                    Err(problem) => {
                        self.problems.push(problem);
                        self.dotenv_is_broken = true;
                    }
                }
            }
            self.dotenv = Some(all);
        }
        self.dotenv
            .as_ref()
            .and_then(|found| found.get(name).cloned())
    }

    pub(super) fn expand_public(&mut self, text: &str) -> Result<String, substitute::Unexpandable> {
        let expanded = substitute::expand(text, &mut |name, wanted| {
            let value = match self.recorded {
                Some(record) => record.public.get(name).cloned(),
                None => self.variable(name),
            }?;
            match wanted {
                Wanted::Value => {
                    self.public.insert(name.to_owned(), value.clone());
                }
                Wanted::Presence => {
                    let seen = if value.is_empty() { "" } else { PRESENT };
                    self.public
                        .entry(name.to_owned())
                        .or_insert_with(|| seen.to_owned());
                }
            }
            Some(value)
        })?;
        Ok(expanded.value)
    }

    /// Whether a text of a public place is empty once its variables are substituted. Of one that is
    /// not, nothing is kept.
    pub(super) fn is_empty(&mut self, text: &str) -> bool {
        if !text.starts_with('$') {
            return text.is_empty();
        }
        let expanded = substitute::expand(text, &mut |name, _| match self.recorded {
            Some(record) => record.public.get(name).cloned(),
            None => self.given(name),
        });
        expanded.is_ok_and(|expanded| expanded.value.is_empty()) && self.expand_public(text).is_ok()
    }

    /// As [`Self::expand_public`], or the text as it is written where that cannot be.
    pub(super) fn expanded_or_written(&mut self, text: &str) -> String {
        self.expand_public(text).unwrap_or_else(|_| text.to_owned())
    }

    pub(super) fn unexpandable(
        &mut self,
        span: Span,
        text: &str,
        wrong: &substitute::Unexpandable,
    ) {
        if wrong.missing && self.dotenv_is_broken {
            return;
        }
        let covered = self.written(span).unwrap_or("");
        let form = text.get(wrong.at.clone()).unwrap_or("");
        let place = match covered.find(form).filter(|_| !form.is_empty()) {
            Some(offset) => {
                let start = span.start + offset;
                Span {
                    end: start + form.len(),
                    ..self.source(span).place(start)
                }
            }
            None => span,
        };
        let name = form.trim_start_matches(['$', '{']);
        let is_project = name[..substitute::name_length(name)] == *PROJECT;
        let help = match is_project && span.is_compose() {
            true => self.project_by_directory(),
            false => wrong.help.clone(),
        };
        self.wrong(place, wrong.message.clone(), help);
    }

    /// What Compose would call the project, which only the plan should say.
    fn project_by_directory(&self) -> String {
        let name = self.project_directory.file_name();
        let name = name.and_then(|name| normalised(&name.to_string_lossy()));
        let name = name.unwrap_or_else(|| "NAME".to_owned());
        format!(
            "Compose names the project by its directory, which may be another tomorrow: write `project: {name}` in the plan"
        )
    }
}
