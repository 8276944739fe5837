//! Where environments stand.
