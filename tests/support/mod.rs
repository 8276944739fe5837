//! What the tests share.
#![allow(dead_code)]

pub mod docker;
pub mod engine_contract;
pub mod sample;
