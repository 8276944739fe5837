//! What the control plane says when it refuses.

use std::io;
use std::net::SocketAddr;

use super::control::{Code, ControlError, Entry};
use super::store::BadEntry;

/// Refuses a fencing number lower than the stored one.
///
/// # Errors
///
/// Where it is lower.
pub fn refuse_stale(stored: &Entry, fence: u64) -> Result<(), ControlError> {
    if fence >= stored.fence {
        return Ok(());
    }
    let message = format!(
        "fence {fence} is lower than {}, with which `{}` wrote `{}`",
        stored.fence, stored.author, stored.service
    );
    Err(ControlError {
        entry: Some(Box::new(stored.clone())),
        ..ControlError::new(Code::StaleFence, message)
    })
}

/// The service `other` answers for `host` on the same listener; an empty host stands for the default.
pub fn host_taken(other: &str, host: &str, listen: &str) -> ControlError {
    let what = if host.is_empty() {
        "requests for any host".to_owned()
    } else {
        format!("host `{host}`")
    };
    let message = format!("service `{other}` already answers {what} on `{listen}`");
    ControlError::new(Code::HostTaken, message)
}

/// Another service keeps the address from being opened.
pub fn listen_taken(address: SocketAddr, other: &str, listens: SocketAddr) -> ControlError {
    let message = format!(
        "cannot listen on {address}: this proxy already listens on {listens} for service `{other}`"
    );
    ControlError::new(Code::HostTaken, message)
}

/// The entry is not of the expected generation.
pub fn generation_moved(
    service: &str,
    expected: Option<u64>,
    stored: Option<&Entry>,
) -> ControlError {
    let message = match (expected, stored) {
        (None, Some(stored)) => {
            let generation = stored.generation;
            format!("`{service}` was expected to be absent; it is at generation {generation}")
        }
        (Some(expected), Some(stored)) => {
            let generation = stored.generation;
            format!("`{service}` was expected at generation {expected}; it is at {generation}")
        }
        (Some(expected), None) => {
            format!("`{service}` was expected at generation {expected}; it is absent")
        }
        (None, None) => format!("`{service}` is absent"),
    };
    ControlError {
        entry: stored.cloned().map(Box::new),
        ..ControlError::new(Code::GenerationMoved, message)
    }
}

/// The address cannot be opened.
pub fn listen_failed(address: SocketAddr, error: &io::Error) -> ControlError {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => "another process listens there already".to_owned(),
        io::ErrorKind::PermissionDenied => "it may not (permission denied)".to_owned(),
        io::ErrorKind::AddrNotAvailable => "the engine's host has no such address".to_owned(),
        _ => error.to_string(),
    };
    ControlError {
        address: Some(address.to_string()),
        ..ControlError::new(
            Code::ListenFailed,
            format!("cannot listen on {address}: {why}"),
        )
    }
}

/// The table could not be saved.
pub fn store_failed(error: io::Error) -> ControlError {
    let message = format!("the table could not be saved, nothing was changed: {error}");
    ControlError::new(Code::StoreFailed, message)
}

/// The saved entry cannot be read.
pub fn bad_entry(bad: &BadEntry) -> ControlError {
    let message = format!(
        "the saved entry `{}` cannot be read: {}",
        bad.file, bad.reason
    );
    ControlError::new(Code::BadEntry, message)
}

/// There is no service of this name.
pub fn unknown(service: &str) -> ControlError {
    ControlError::new(
        Code::UnknownService,
        format!("there is no service `{service}`"),
    )
}
