//! The one loop around the core: decide, journal the intent, perform, journal the outcome, apply, report.
