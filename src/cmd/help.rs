//! `flipside help`: the guide's pages, and what every verb takes.

use clap::{Command, CommandFactory};

use crate::cli::{self, Cli};
use crate::error::{Error, Exit};
use crate::guide::{PAGES, Page};

use super::context::Context;
use super::man;

/// Runs the verb.
///
/// # Errors
/// Where there is neither such a topic nor such a verb.
pub fn run(context: &Context, args: &cli::Help) -> Result<Exit, Error> {
    let mut root = Cli::command();
    root.build();
    let text = match args.topic.as_slice() {
        [] => listed(&root),
        words => about(&root, words)?,
    };
    let value = serde_json::json!({
        "event": "help", "topic": args.topic.join(" "), "text": text,
    });
    context.report.data(&value, &text);
    Ok(Exit::Done)
}

/// The page of that name, and what the verb of that name takes.
fn about(root: &Command, words: &[String]) -> Result<String, Error> {
    let page = match words {
        [word] => PAGES.iter().find(|page| page.topic == word),
        _ => None,
    };
    let flags = man::verb(root, words).map(|verb| verb.clone().render_help().to_string());
    match (page, flags) {
        (Some(page), Ok(flags)) => Ok(format!("{}\n{flags}", page.text)),
        (Some(page), Err(_)) => Ok(page.text.to_owned()),
        (None, Ok(flags)) => Ok(flags),
        (None, Err(unknown)) => Err(match words {
            [word] => unheard_of(root, word),
            _ => unknown,
        }),
    }
}

fn unheard_of(root: &Command, word: &str) -> Error {
    let verbs = root.get_subcommands().map(Command::get_name);
    let known = PAGES.iter().map(|page| page.topic).chain(verbs);
    Error::BadFlags {
        what: format!("`{word}` is neither a topic nor a verb"),
        instead: Some(match crate::plan::nearest(word, known) {
            Some(near) => format!("did you mean `flipside help {near}`?"),
            None => "flipside help".into(),
        }),
    }
}

/// Topics and verbs, a line each.
fn listed(root: &Command) -> String {
    let verbs: Vec<_> = root
        .get_subcommands()
        .map(|verb| {
            let about = verb.get_about().map(ToString::to_string);
            (verb.get_name(), about.unwrap_or_default())
        })
        .collect();
    let widths = verbs.iter().map(|(name, _)| name.len());
    let widths = widths.chain(PAGES.iter().map(|page| page.topic.len()));
    let width = widths.max().unwrap_or_default();
    let line = |name: &str, about: &str| format!("  {name:width$}  {about}\n");
    let topics: String = PAGES
        .iter()
        .map(|Page { topic, about, .. }| line(topic, about))
        .collect();
    let verbs: String = verbs
        .iter()
        .map(|(name, about)| line(name, about))
        .collect();
    format!(
        "Topics (flipside help TOPIC):\n{topics}\nVerbs (flipside help VERB):\n{verbs}\n\
         At three in the morning: flipside rollback\n"
    )
}
