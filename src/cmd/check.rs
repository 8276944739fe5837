//! `flipside check`: read a plan and say what is wrong with it. Touches nothing.

use crate::cli::PlanArgs;
use crate::core::words::count;
use crate::error::{Error, Exit};

use super::context::{Context, Digests, Told};

/// Runs the verb.
///
/// # Errors
/// Everything that is wrong with the plan.
pub async fn run(context: &Context, args: &PlanArgs) -> Result<Exit, Error> {
    let loaded = context.load_plan(args, Digests::Dropped, Told::All).await?;
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
