//! `flipside man`: manual pages, made from the same verbs and flags that are parsed.

use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::cli::{self, Cli};
use crate::core::words::count;
use crate::error::{Error, Exit, Touched};

use super::context::Context;

/// One page.
struct Page {
    /// `flipside-deploy.1`.
    name: String,
    /// In roff.
    text: String,
}

/// Runs the verb.
///
/// # Errors
/// Where there is no such verb, or a page cannot be written.
pub fn run(context: &Context, args: &cli::Man) -> Result<Exit, Error> {
    let mut root = Cli::command();
    root.build();
    if let Some(directory) = &args.dir {
        return write(context, directory, &all(&root)?);
    }
    let page = page(verb(&root, &args.verb)?)?;
    let value = serde_json::json!({"event": "manual", "page": page.name, "roff": page.text});
    context.report.data(&value, &page.text);
    Ok(Exit::Done)
}

/// The verb that `words` name, below `root`.
///
/// # Errors
/// Where there is none such.
pub(super) fn verb<'a>(root: &'a Command, words: &[String]) -> Result<&'a Command, Error> {
    words.iter().try_fold(root, |at, word| {
        at.find_subcommand(word).ok_or_else(|| {
            let known = at.get_subcommands().map(Command::get_name);
            Error::BadFlags {
                what: format!("`{}` has no verb `{word}`", name(at)),
                instead: Some(match crate::plan::nearest(word, known) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("{} --help", name(at)),
                }),
            }
        })
    })
}

/// `flipside proxy`.
fn name(command: &Command) -> &str {
    command.get_bin_name().unwrap_or(command.get_name())
}

/// The page of `command`, and those of all verbs below it.
fn all(command: &Command) -> Result<Vec<Page>, Error> {
    let mut pages = vec![page(command)?];
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        pages.extend(all(verb)?);
    }
    Ok(pages)
}

fn page(command: &Command) -> Result<Page, Error> {
    let page = Man::new(command.clone())
        .source(concat!("flipside ", env!("CARGO_PKG_VERSION")))
        .manual("Flipside");
    let mut text = Vec::new();
    page.render(&mut text).map_err(|error| Error::Bug {
        what: format!("a manual page cannot be made: {error}"),
    })?;
    Ok(Page {
        name: page.get_filename(),
        text: String::from_utf8_lossy(&text).into_owned(),
    })
}

fn write(context: &Context, directory: &Path, pages: &[Page]) -> Result<Exit, Error> {
    let refused = |doing: String, error: std::io::Error| Error::Io {
        doing,
        why: error.to_string(),
        touched: Touched::Nothing,
    };
    let shown = directory.display();
    std::fs::create_dir_all(directory)
        .map_err(|error| refused(format!("making `{shown}`"), error))?;
    for page in pages {
        let path = directory.join(&page.name);
        std::fs::write(&path, &page.text)
            .map_err(|error| refused(format!("writing `{}`", path.display()), error))?;
    }
    let names: Vec<_> = pages.iter().map(|page| &page.name).collect();
    let value = serde_json::json!({
        "event": "manuals", "directory": shown.to_string(), "pages": names,
    });
    let wrote = count(pages.len() as u64, "page");
    context
        .report
        .data(&value, &format!("wrote {wrote} to {shown}"));
    Ok(Exit::Done)
}
