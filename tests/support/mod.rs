//! What the tests share.
#![allow(dead_code, reason = "not every test uses every part of a fake")]

#[cfg(feature = "aws")]
pub mod aws;
pub mod backends;
pub mod clients_contract;
pub mod docker;
#[cfg(feature = "aws")]
pub mod elb;
#[cfg(feature = "aws")]
pub mod elb_rules;
pub mod engine_contract;
pub mod facts;
pub mod fake_compose;
pub mod fake_engine;
pub mod fake_pointer;
mod fake_ports;
pub mod fake_shared;
pub mod fake_sleep;
pub mod fake_workers;
pub mod fake_world;
pub mod faults;
pub mod faulty_store;
pub mod held;
pub mod hooks;
pub mod moto;
pub mod network;
pub mod over_tcp;
pub mod pointer_contract;
pub mod ports;
pub mod ports_contract;
#[cfg(feature = "aws")]
pub mod route53;
pub mod sample;
pub mod shared_contract;
pub mod shell;
pub mod sleep_contract;
pub mod verb_scenes;
pub mod worker_contract;
pub mod xml;
