//! The one integration binary. Modules named `real_…` need a Docker engine; the others do not.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

mod bad_days;
mod crash_matrix;
mod engine_contract;
mod guide;
mod house_rules;
mod init;
mod journal_store;
mod lease_contract;
mod load_client;
mod lock_wait;
mod plan_file;
mod pointer_contract;
mod probe_wait;
mod proxy_server;
mod readme;
#[cfg(feature = "aws")]
mod real_alb;
mod real_app;
mod real_bad_days;
mod real_crash;
mod real_dns;
mod real_docker;
mod real_exec;
mod real_haproxy;
mod real_nftables;
mod real_nginx;
mod real_pointer;
mod real_published;
mod real_readme;
#[cfg(feature = "aws")]
mod real_route53;
mod real_shared;
mod real_verbs;
mod report_lines;
mod retention;
mod verbs_check;
mod verbs_manual;
mod verbs_misuse;
mod workers;
