//! What the tests share.

pub mod facts;
pub mod faulty_store;
