//! Environments on a Docker engine.
