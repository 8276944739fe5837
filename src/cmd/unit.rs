//! `flipside unit`: what systemd needs to tell a pointer again, when the machine starts, what it has
//! forgotten. It touches nothing.

use crate::cli;
use crate::core::plan::PointerPlan;
use crate::error::{Error, Exit, Touched};
use crate::pointer;

use super::context::{Context, Digests, Told};

/// Runs the verb.
///
/// # Errors
/// Where it is not known which pointer is meant, or that pointer forgets nothing.
pub async fn run(context: &Context, args: &cli::Unit) -> Result<Exit, Error> {
    let (service, plan) = meant(context, args).await?;
    let unit = pointer::unit(&plan).map_err(|error| {
        let service = service.as_str();
        Error::of_pointer(service, error, Touched::Nothing)
    })?;
    let Some(unit) = unit else {
        return Err(Error::BadFlags {
            what: format!(
                "the pointer of `{service}` needs no unit: {} remembers by itself what it says",
                plan.kind
            ),
            instead: None,
        });
    };
    let value = serde_json::json!({"event": "unit", "service": service, "unit": unit});
    context.report.data(&value, &unit);
    Ok(Exit::Done)
}

/// The service's name, and its pointer: as a plan has it, or as the last deploy has recorded it.
async fn meant(context: &Context, args: &cli::Unit) -> Result<(String, PointerPlan), Error> {
    if let Some(file) = &args.file {
        let of_plan = cli::PlanArgs {
            plan: None,
            file: Some(file.clone()),
            set: args.set.clone(),
            name: None,
        };
        let loaded = context
            .load_plan(&of_plan, Digests::Dropped, Told::Cautions)
            .await?;
        return Ok((loaded.plan.service.to_string(), loaded.plan.pointer));
    }
    let operator = context.operator_of_service(&args.service).await?;
    let embedded = || PointerPlan::new(pointer::proxy::SECTION.kind, serde_json::Map::new());
    let plan = operator.outside.clone().unwrap_or_else(embedded);
    Ok((operator.service.to_string(), plan))
}
