//! What sends traffic.
