//! Hooks: what is run around a switch.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::hook::HookPlan;
use super::super::names::{Millis, RoleName};
use super::Text;

/// A hook.
#[derive(Debug, Clone, PartialEq)]
pub struct Hook {
    /// Its name, when and where it runs.
    pub plan: HookPlan,
    /// `timeout:`, 5 min by default: how long it may run.
    pub timeout_ms: Millis,
    /// What it does.
    pub act: HookAct,
}

/// What a hook does.
#[derive(Debug, Clone, PartialEq)]
pub enum HookAct {
    /// Runs a command in a container of its own, with all that a role of the release has.
    Container {
        /// The role.
        role: RoleName,
        /// Instead of the role's.
        command: Vec<Text>,
    },
    /// Runs a command on the deployer, without a shell.
    Command {
        /// The program and its arguments.
        command: Vec<Text>,
        /// Variables beside those of this process.
        environment: BTreeMap<String, Text>,
        /// Where it runs: the plan's directory.
        directory: PathBuf,
    },
    /// Sends a request.
    Http(HookRequest),
}

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub struct HookRequest {
    /// Where to; an address may hold a token.
    pub url: Text,
    /// In capitals.
    pub method: String,
    /// Its header fields.
    pub headers: Vec<(String, Text)>,
    /// Its body.
    pub body: Option<Text>,
    /// The statuses that are taken for done, each from and to.
    pub status: Vec<(u16, u16)>,
}

impl HookAct {
    /// What of it may be secret.
    pub fn texts(&self) -> Vec<&Text> {
        match self {
            Self::Container { command, .. } => command.iter().collect(),
            Self::Command {
                command,
                environment,
                ..
            } => command.iter().chain(environment.values()).collect(),
            Self::Http(request) => {
                let headers = request.headers.iter().map(|(_, value)| value);
                let rest = request.body.iter().chain([&request.url]);
                headers.chain(rest).collect()
            }
        }
    }
}
