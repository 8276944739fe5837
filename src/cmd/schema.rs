//! `flipside schema`: what an editor needs to complete and check a plan while it is written.

use crate::error::{Error, Exit};
use crate::plan::schema;

use super::context::Context;

/// Runs the verb.
///
/// # Errors
/// None but a bug's.
pub fn run(context: &Context) -> Result<Exit, Error> {
    let schema = schema();
    context.report.data(&schema, &format!("{schema:#}"));
    Ok(Exit::Done)
}
