//! Whether a holder on this machine still runs: its process, told from every other one that ever
//! had or will have the same id.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

/// A process of some machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id, in its namespace.
    pub pid: u32,
    /// The machine's boot, as a random id.
    pub boot: String,
    /// The namespace its id counts in: containers on one machine share the boot, not this.
    pub namespace: String,
    /// When it started, in clock ticks since the boot.
    pub started: u64,
}

/// What is known of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Alive,
    Dead,
    /// It is not of this machine, or this machine does not tell.
    Unknown,
}

impl Process {
    /// This one; `None` where `/proc` does not tell.
    #[must_use]
    pub fn here() -> Option<Self> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        Some(Self {
            pid: std::process::id(),
            boot: boot.trim().to_owned(),
            namespace: namespace.to_string_lossy().into_owned(),
            started: parse_stat(&stat)?.1,
        })
    }

    pub(super) fn from_labels(labels: &BTreeMap<String, String>) -> Option<Self> {
        Some(Self {
            pid: labels.get("pid")?.parse().ok()?,
            boot: labels.get("boot")?.clone(),
            namespace: labels.get("pidns")?.clone(),
            started: labels.get("started")?.parse().ok()?,
        })
    }

    pub(super) fn write_labels(&self, labels: &mut BTreeMap<String, String>) {
        labels.insert("pid".to_owned(), self.pid.to_string());
        labels.insert("boot".to_owned(), self.boot.clone());
        labels.insert("pidns".to_owned(), self.namespace.clone());
        labels.insert("started".to_owned(), self.started.to_string());
    }

    /// Whether `self` runs, as seen from `watcher`.
    pub(super) fn life(&self, watcher: &Self) -> Life {
        if (&self.boot, &self.namespace) != (&watcher.boot, &watcher.namespace) {
            return Life::Unknown;
        }
        let path = Path::new("/proc").join(self.pid.to_string()).join("stat");
        match std::fs::read_to_string(path) {
            Ok(stat) => match parse_stat(&stat) {
                // A zombie acts no more; only its parent has not yet looked.
                Some(('Z' | 'X', _)) => Life::Dead,
                Some((_, started)) if started == self.started => Life::Alive,
                Some(_) => Life::Dead,
                None => Life::Unknown,
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Life::Dead,
            // The kernel's answer for a process that ends while it is being read.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Life::Dead,
            Err(_) => Life::Unknown,
        }
    }
}

/// State and start time of `/proc/PID/stat` (proc(5): the second field may hold anything, so the
/// others are counted from its closing parenthesis).
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Process {
        Process::here().unwrap_or_else(|| panic!("no /proc"))
    }

    #[test]
    fn this_process_lives_and_its_labels_read_back() {
        let mut labels = BTreeMap::new();
        here().write_labels(&mut labels);
        assert_eq!(Process::from_labels(&labels), Some(here()));
        assert_eq!(here().life(&here()), Life::Alive);
    }

    #[test]
    fn another_process_with_the_same_id_is_another() {
        let earlier = Process {
            started: here().started - 1,
            ..here()
        };
        assert_eq!(earlier.life(&here()), Life::Dead);
    }

    #[test]
    fn a_zombie_is_dead() {
        let mut child = std::process::Command::new("true")
            .spawn()
            .unwrap_or_else(|e| panic!("{e}"));
        let path = format!("/proc/{}/stat", child.id());
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let started = loop {
            let stat = std::fs::read_to_string(&path).unwrap_or_default();
            match parse_stat(&stat) {
                Some(('Z', started)) => break started,
                _ => assert!(std::time::Instant::now() < deadline, "{stat}"),
            }
            std::thread::yield_now();
        };
        let zombie = Process {
            pid: child.id(),
            started,
            ..here()
        };
        assert_eq!(zombie.life(&here()), Life::Dead);
        assert!(child.wait().is_ok());
        assert_eq!(zombie.life(&here()), Life::Dead);
    }

    #[test]
    fn of_other_machines_and_containers_nothing_is_known() {
        let elsewhere = Process {
            boot: "another".into(),
            ..here()
        };
        assert_eq!(elsewhere.life(&here()), Life::Unknown);
        let contained = Process {
            namespace: "pid:[1]".into(),
            ..here()
        };
        assert_eq!(contained.life(&here()), Life::Unknown);
    }

    #[test]
    fn a_command_name_may_hold_anything() {
        let stat = "7 (a) R 1 (b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 99 20";
        assert_eq!(parse_stat(stat), Some(('S', 99)));
    }
}
