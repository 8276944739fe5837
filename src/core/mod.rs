//! The state machine of a release: pure.
