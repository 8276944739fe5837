//! The engine's daemon restarted while a release is live.
