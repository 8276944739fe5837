//! Verbs and flags: what the command line means, and no logic.
