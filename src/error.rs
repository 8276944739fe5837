//! Expected errors: what happened, to what, why, the way out, and the exit code.
