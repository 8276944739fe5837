//! One file per verb.

pub mod proxy;
