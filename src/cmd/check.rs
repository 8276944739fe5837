//! `flipside check`: read a plan and say what is wrong with it. Touches nothing.

use unicode_width::UnicodeWidthStr;

use crate::cli::Check;
use crate::core::words::{clean, count};
use crate::error::{Error, Exit};
use crate::plan::Entry;

use super::context::{Context, Digests, Told};

/// Runs the verb.
///
/// # Errors
/// Everything that is wrong with the plan.
pub async fn run(context: &Context, args: &Check) -> Result<Exit, Error> {
    if args.keys {
        let entries = context.account_plan(&args.plan)?;
        // Of a file that is no YAML there are none.
        if !entries.is_empty() {
            let value = serde_json::json!({"event": "keys", "keys": entries});
            context.report.data(&value, &keys(&entries));
        }
    }
    let plan = &args.plan;
    let loaded = context.load_plan(plan, Digests::Dropped, Told::All).await?;
    let plan = &loaded.plan;
    let shared = match plan.shared.len() {
        0 => String::new(),
        several => format!(" and {several} shared"),
    };
    let text = format!(
        "{} is good: service `{}`, {}{shared}, {}, exposes {}:{}",
        loaded.record.path,
        plan.service,
        count(plan.roles.len() as u64, "role"),
        count(plan.probes.len() as u64, "probe"),
        plan.exposed.role,
        plan.exposed.port
    );
    let notes: Vec<_> = loaded.notes.iter().map(ToString::to_string).collect();
    let value = serde_json::json!({
        "event": "checked", "plan": loaded.record.path, "service": plan.service, "notes": notes,
    });
    context.report.data(&value, &text);
    Ok(Exit::Done)
}

/// A line for each value: where it stands, what it is of, what became of it.
fn keys(entries: &[Entry]) -> String {
    let rows: Vec<_> = entries
        .iter()
        .map(|entry| {
            let place = format!("{}:{}", clean(&entry.file), entry.line);
            (place, clean(&entry.path.join(".")), entry.fate)
        })
        .collect();
    let width = |cells: &mut dyn Iterator<Item = &String>| cells.map(|cell| cell.width()).max();
    let places = width(&mut rows.iter().map(|(place, _, _)| place)).unwrap_or(0);
    let paths = width(&mut rows.iter().map(|(_, path, _)| path)).unwrap_or(0);
    let lines = rows.iter().map(|(place, path, fate)| {
        let (after, more) = (places - place.width(), paths - path.width());
        format!("{place}{:after$}  {path}{:more$}  {fate}\n", "", "")
    });
    lines.collect()
}
