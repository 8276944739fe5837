//! The program as users and pipelines call it, on a real Docker engine.

mod deploys;
mod kit;
mod rollbacks;
