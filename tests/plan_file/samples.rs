//! The sample plans under `plans/` are good plans.
