//! Records and their store.
