//! The embedded proxy as a pointer.
