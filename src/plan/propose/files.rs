//! Which files Compose would read, and how a plan names them.

use std::path::{Path, PathBuf};

use super::super::{Inputs, dotenv, error::Problem, read::clean};

/// The files as a plan in `directory` names them, with those that Compose reads by itself.
pub(super) fn names(
    files: &[PathBuf],
    directory: &Path,
    inputs: &Inputs<'_>,
) -> Result<Vec<String>, Problem> {
    let (files, listed) = match files {
        [only] => read_with(only, inputs)?,
        several => (several.to_vec(), false),
    };
    let named = files.iter().map(|file| {
        dotenv::read(file).map_err(|error| {
            Problem::whole(
                &file.display().to_string(),
                format!("cannot be read: {error}"),
            )
            .help(match listed {
                false => "name the Compose file: `--from compose.yaml`",
                true => "`COMPOSE_FILE` names it; where it is not meant, give that another value for this run: `--set COMPOSE_FILE=compose.yaml`",
            })
        })?;
        Ok(relative(&absolute(file)?, directory))
    });
    named.collect()
}

/// A file with those that Compose reads when it is not told which: `COMPOSE_FILE` where that names
/// it, else the one that overrides it; and whether it was the variable.
fn read_with(file: &Path, inputs: &Inputs<'_>) -> Result<(Vec<PathBuf>, bool), Problem> {
    let directory = file.parent().unwrap_or(Path::new(""));
    let given = |name: &str| {
        let given = inputs.overrides.get(name);
        given.or_else(|| inputs.vars.get(name)).cloned()
    };
    let beside = dotenv::beside(directory, &mut |name| given(name))?;
    let value = |name: &str| given(name).or_else(|| beside.get(name).cloned());
    let separator = value("COMPOSE_PATH_SEPARATOR").filter(|text| !text.is_empty());
    let separator = separator.unwrap_or_else(|| ":".to_owned());
    let listed = value("COMPOSE_FILE").unwrap_or_default();
    let mut files = Vec::new();
    for part in listed.split(&separator).filter(|part| !part.is_empty()) {
        files.push(directory.join(part));
    }
    let itself = absolute(file)?;
    for listed in &files {
        if absolute(listed)? == itself {
            return Ok((files, true));
        }
    }
    let mut files = vec![file.to_path_buf()];
    files.extend(override_beside(file));
    Ok((files, false))
}

/// The file that Compose reads by itself after one with a usual name.
fn override_beside(file: &Path) -> Option<PathBuf> {
    let stem = file.file_stem()?.to_str()?;
    if !matches!(stem, "compose" | "docker-compose") {
        return None;
    }
    let beside = |ending| file.with_file_name(format!("{stem}.override.{ending}"));
    [beside("yaml"), beside("yml")]
        .into_iter()
        .find(|path| path.is_file())
}

pub(super) fn absolute(path: &Path) -> Result<PathBuf, Problem> {
    let placed = std::path::absolute(path).map_err(|error| {
        Problem::whole(
            &path.display().to_string(),
            format!("cannot be placed: {error}"),
        )
    });
    placed.map(|path| clean(&path))
}

/// How `path` is named from `directory`; both absolute.
pub(in super::super) fn relative(path: &Path, directory: &Path) -> String {
    let (from, to): (Vec<_>, Vec<_>) = (
        directory.components().collect(),
        path.components().collect(),
    );
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let mut parts: Vec<String> = vec!["..".to_owned(); from.len() - common];
    let rest = to[common..].iter();
    parts.extend(rest.map(|part| part.as_os_str().to_string_lossy().into_owned()));
    parts.join("/")
}
