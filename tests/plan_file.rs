//! The plan file, read from outside: what is refused and how that is said (`golden/plan_refusals.txt`,
//! a table of inputs and exact messages), what each key becomes, what a resumed run compares.

pub mod compose;
mod compose_trees;
mod compose_values;
mod config_output;
mod contents;
pub mod fixture;
mod hidden;
mod hints;
mod hostile;
mod keys;
mod record;
mod refusals;
mod samples;
mod schema;
