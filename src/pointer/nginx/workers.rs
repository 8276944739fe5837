//! nginx's processes, as this machine shows them: which take new requests, and which only end what
//! they have begun.

use std::collections::BTreeSet;
use std::path::Path;

/// One process of nginx's.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    /// Its number where it lives itself: a container has numbers of its own.
    inner: u32,
    part: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Master,
    Serving,
    Leaving,
}

/// The processes of one nginx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Family {
    /// More than one while the program is being upgraded.
    pub(super) masters: BTreeSet<u32>,
    /// Workers that take new requests.
    pub(super) serving: BTreeSet<u32>,
    /// Workers that end what they have begun.
    pub(super) leaving: BTreeSet<u32>,
}

/// That of the worker with this number, as it says itself; none where it cannot be told for sure.
pub(super) async fn family(worker: u32) -> Option<Family> {
    let all = tokio::task::spawn_blocking(|| all(Path::new("/proc"))).await;
    of(&all.ok()?, worker)
}

fn of(all: &[Process], worker: u32) -> Option<Family> {
    let mut alike = all
        .iter()
        .filter(|process| process.inner == worker && process.part != Part::Master);
    let (found, None) = (alike.next()?, alike.next()) else {
        return None;
    };
    // A worker bears its master's title for a moment after its birth, and has no children.
    let is_master = |pid: u32| {
        let is = |process: &Process| process.pid == pid && process.part == Part::Master;
        all.iter().any(is) && all.iter().any(|process| process.parent == pid)
    };
    let mut masters = BTreeSet::from([found.parent]);
    if !is_master(found.parent) {
        return None;
    }
    // While the program is upgraded, the new master is a child of the old one.
    loop {
        let near = all.iter().filter(|process| {
            let up = masters.contains(&process.pid) && is_master(process.parent);
            let down = masters.contains(&process.parent) && is_master(process.pid);
            up || down
        });
        let near = near.flat_map(|process| [process.pid, process.parent]);
        let more: BTreeSet<u32> = near.filter(|pid| !masters.contains(pid)).collect();
        if more.is_empty() {
            break;
        }
        masters.extend(more);
    }
    let workers = |part: Part| {
        let its = |process: &&Process| process.part == part && masters.contains(&process.parent);
        all.iter().filter(its).map(|process| process.pid).collect()
    };
    Some(Family {
        serving: workers(Part::Serving),
        leaving: workers(Part::Leaving),
        masters,
    })
}

/// All of them; what cannot be looked at is left out.
fn all(proc: &Path) -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir(proc) else {
        return Vec::new();
    };
    let of = |entry: std::fs::DirEntry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let title = std::fs::read(entry.path().join("cmdline")).ok()?;
        let part = part(&String::from_utf8_lossy(&title))?;
        let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().last()?.parse().ok()
        };
        Some(Process {
            pid,
            parent: field("PPid:")?,
            inner: field("NSpid:").unwrap_or(pid),
            part,
        })
    };
    entries.flatten().filter_map(of).collect()
}

/// By its title; none for what is neither master nor worker.
fn part(title: &str) -> Option<Part> {
    let rest = title.strip_prefix("nginx: ")?;
    if rest.starts_with("master process") {
        return Some(Part::Master);
    }
    let rest = rest.strip_prefix("worker process")?;
    Some(match rest.contains("is shutting down") {
        true => Part::Leaving,
        false => Part::Serving,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn process(pid: u32, parent: u32, inner: u32, title: &str) -> Process {
        Process {
            pid,
            parent,
            inner,
            part: part(title).unwrap(),
        }
    }

    const MASTER: &str = "nginx: master process nginx -c /a";
    const WORKER: &str = "nginx: worker process";
    const LEAVING: &str = "nginx: worker process is shutting down";

    #[test]
    fn a_worker_names_its_family() {
        let all = [
            process(10, 1, 10, MASTER),
            process(11, 10, 11, WORKER),
            process(12, 10, 12, LEAVING),
            process(20, 1, 1, MASTER),
            process(21, 20, 7, WORKER),
        ];
        let family = of(&all, 11).unwrap();
        assert_eq!(family.masters, [10].into());
        assert_eq!(family.serving, [11].into());
        assert_eq!(family.leaving, [12].into());
        // In a container, by the number that it has there.
        assert_eq!(of(&all, 7).unwrap().serving, [21].into());
        assert_eq!(of(&all, 21), None);
        assert_eq!(of(&all, 99), None);
    }

    #[test]
    fn two_that_may_be_meant_are_none() {
        let all = [
            process(10, 1, 1, MASTER),
            process(11, 10, 7, WORKER),
            process(20, 1, 1, MASTER),
            process(21, 20, 7, WORKER),
        ];
        assert_eq!(of(&all, 7), None);
    }

    #[test]
    fn an_upgrade_has_two_masters() {
        let all = [
            process(10, 1, 10, MASTER),
            process(11, 10, 11, WORKER),
            process(20, 10, 20, MASTER),
            process(21, 20, 21, WORKER),
        ];
        for worker in [11, 21] {
            let family = of(&all, worker).unwrap();
            assert_eq!(family.masters, [10, 20].into());
            assert_eq!(family.serving, [11, 21].into());
        }
    }

    #[test]
    fn a_worker_that_has_just_been_born_is_no_master() {
        let all = [
            process(10, 1, 10, MASTER),
            process(11, 10, 11, WORKER),
            process(12, 10, 12, MASTER),
        ];
        assert_eq!(of(&all, 11).unwrap().masters, [10].into());
    }

    #[test]
    fn what_is_no_worker_has_no_part() {
        assert_eq!(part("nginx: cache manager process"), None);
        assert_eq!(part("vim nginx: worker process"), None);
        assert_eq!(part(""), None);
    }
}
