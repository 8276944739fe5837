//! `flipside init`: a first plan for Compose files, each decision a proposal that a person takes or
//! leaves.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use crate::cli;
use crate::core::words::count;
use crate::error::{Error, Exit, Touched};
use crate::plan::propose::{Draft, Line, Section, draft};
use crate::plan::{self, Inputs};

use super::context::{Answer, Context, NO_KEY, refused, variables};

/// Runs the verb.
///
/// # Errors
/// Where a file cannot be read, a plan stands already, or it would have to ask and cannot.
pub fn run(context: &Context, args: &cli::Init) -> Result<Exit, Error> {
    let (overrides, vars): (BTreeMap<_, _>, _) = (args.set.iter().cloned().collect(), variables());
    let inputs = Inputs {
        overrides: &overrides,
        vars: &vars,
        name: None,
        digest_key: &NO_KEY,
    };
    let to_stdout = args.out == Path::new("-");
    let directory = match args.out.parent().filter(|_| !to_stdout) {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut draft = draft(&args.from, directory, &inputs).map_err(refused)?;
    if to_stdout {
        let value = serde_json::json!({
            "event": "drafted", "plan": draft.text(), "decisions": draft.lines.len(),
            "unset": draft.unset,
        });
        context.report.data(&value, draft.text().trim_end());
        return Ok(Exit::Done);
    }
    let out = args.out.display().to_string();
    if args.out.exists() {
        return Err(Error::BadFlags {
            what: format!("`{out}` is there already, and is left as it is"),
            instead: Some("-o ANOTHER.yaml".into()),
        });
    }
    accept(context, &mut draft, &out)?;
    write(&args.out, &draft.text())?;
    tell(context, &draft, &out, plan::load(&args.out, &inputs))
}

/// Asks for each decision, unless `--yes` has said it all.
fn accept(context: &Context, draft: &mut Draft, out: &str) -> Result<(), Error> {
    if context.common.yes {
        return Ok(());
    }
    if !context.may_ask() {
        let decisions = count(draft.lines.len() as u64, "proposal");
        return Err(Error::NeedsYes {
            what: format!("write `{out}` with {decisions}, which `-o -` shows"),
        });
    }
    for line in draft.lines.iter_mut().filter(|line| is_asked(line)) {
        let (usual, choice) = match line.accepted {
            true => (Answer::Yes, "[Y/n]"),
            false => (Answer::No, "[y/N]"),
        };
        let question = format!("{}\n  ({})\n  write it? {choice} ", line.whole(), line.why);
        line.accepted = context.confirm_or(&context.report, &question, usual)? == Answer::Yes;
    }
    Ok(())
}

/// What a plan cannot be without is written all the same, to be edited.
fn is_asked(line: &Line) -> bool {
    !matches!(
        line.section,
        Section::Project | Section::Pointer | Section::Probes
    )
}

/// Writes the plan, unless one has come there in the meantime.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::Io {
        doing: format!("writing `{}`", path.display()),
        why: error.to_string(),
        touched: Touched::Nothing,
    };
    let mut file = std::fs::File::create_new(path).map_err(failed)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    written.map_err(|error| {
        // Half a plan is none.
        let _ = std::fs::remove_file(path);
        failed(error)
    })
}

/// Says what stands in the plan now, and what is left to decide.
fn tell(
    context: &Context,
    draft: &Draft,
    out: &str,
    read: Result<plan::Loaded, plan::PlanError>,
) -> Result<Exit, Error> {
    let written: Vec<_> = draft.lines.iter().filter(|line| line.accepted).collect();
    let left_out = draft.lines.len() - written.len();
    let mut lines = vec![format!(
        "wrote {out}: {}{}",
        count(written.len() as u64, "decision"),
        match left_out {
            0 => String::new(),
            several => format!(", {several} left as comments"),
        }
    )];
    let (exit, problems) = match &read {
        Ok(loaded) => {
            for note in &loaded.notes {
                context.report.warn(&note.to_string());
            }
            lines.push(format!(
                "it is good: look it through, then `flipside deploy {out}`"
            ));
            (Exit::Done, 0)
        }
        Err(error) => {
            let problems = error.problems.len() + error.more;
            context.report.warn(&format!(
                "{} to mend before it is good; `flipside check {out}` says which:\n{error}",
                count(problems as u64, "thing")
            ));
            lines.push(format!(
                "`flipside check {out}` says what is left to decide"
            ));
            (Exit::Decide, problems)
        }
    };
    let value = serde_json::json!({
        "event": "drafted", "path": out, "plan": draft.text(), "decisions": written.len(),
        "left_out": left_out, "unset": draft.unset, "problems": problems,
    });
    context.report.data(&value, &lines.join("\n"));
    Ok(exit)
}
