//! `flipside schema`: what an editor needs to complete and check a plan while it is written.

use crate::error::{Error, Exit};
use crate::plan::SCHEMA;

use super::context::Context;

/// Runs the verb.
///
/// # Errors
/// None but a bug's.
pub fn run(context: &Context) -> Result<Exit, Error> {
    let value = serde_json::from_str(SCHEMA).map_err(|error| Error::Bug {
        what: format!("the plan's schema cannot be read: {error}"),
    })?;
    context.report.data(&value, SCHEMA);
    Ok(Exit::Done)
}
