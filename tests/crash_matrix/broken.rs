//! Cores and shells that are broken on purpose.
