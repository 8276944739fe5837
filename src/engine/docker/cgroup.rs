//! What containers of an engine on this machine use, as the kernel counts it: at once, where the
//! engine itself takes up to a second to say. Where nothing is found the engine has to be asked.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a container's group lies below a controller's root: by the engine's two drivers.
fn groups(id: &str) -> [String; 2] {
    [
        format!("docker/{id}"),
        format!("system.slice/docker-{id}.scope"),
    ]
}

/// What one container uses.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Used {
    /// Bytes, without what the kernel would drop first.
    pub(super) memory: u64,
    /// CPU time since it was started.
    pub(super) cpu: Duration,
}

/// What the container with this whole id uses, by what lies below `root` (`/sys/fs/cgroup`).
pub(super) fn used(root: &Path, id: &str) -> Option<Used> {
    let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    groups(id)
        .iter()
        .filter(|_| is_id)
        .find_map(|group| second(&root.join(group)).or_else(|| first(root, group)))
}

/// Version 2: one directory has it all.
fn second(group: &Path) -> Option<Used> {
    let memory = number(&group.join("memory.current"))?;
    let cache = field(&group.join("memory.stat"), "inactive_file")?;
    let cpu = field(&group.join("cpu.stat"), "usage_usec")?;
    Some(Used {
        memory: memory.saturating_sub(cache),
        cpu: Duration::from_micros(cpu),
    })
}

/// Version 1: a directory for each controller.
fn first(root: &Path, group: &str) -> Option<Used> {
    let of =
        |controller: &str, file: &str| -> PathBuf { root.join(controller).join(group).join(file) };
    let memory = number(&of("memory", "memory.usage_in_bytes"))?;
    let cache = field(&of("memory", "memory.stat"), "total_inactive_file")?;
    let cpu = number(&of("cpuacct", "cpuacct.usage"))?;
    Some(Used {
        memory: memory.saturating_sub(cache),
        cpu: Duration::from_nanos(cpu),
    })
}

fn number(file: &Path) -> Option<u64> {
    read_to_string(file).ok()?.trim().parse().ok()
}

/// The number behind a name, of a file of such lines.
fn field(file: &Path, name: &str) -> Option<u64> {
    let text = read_to_string(file).ok()?;
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines
        .find(|(found, _)| *found == name)?
        .1
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (file, text) in files {
            let path = root.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn both_versions_are_read_under_both_drivers() {
        let id = "ab".repeat(32);
        for group in groups(&id) {
            let old = tempfile::tempdir().unwrap();
            let of = |file: &str| file.replace("GROUP", &group);
            write(
                old.path(),
                &[
                    (&of("memory/GROUP/memory.usage_in_bytes"), "5000\n"),
                    (
                        &of("memory/GROUP/memory.stat"),
                        "inactive_file 1\ntotal_inactive_file 2000\n",
                    ),
                    (&of("cpuacct/GROUP/cpuacct.usage"), "7000000\n"),
                ],
            );
            let new = tempfile::tempdir().unwrap();
            write(
                new.path(),
                &[
                    (&of("GROUP/memory.current"), "5000\n"),
                    (&of("GROUP/memory.stat"), "anon 9\ninactive_file 2000\n"),
                    (&of("GROUP/cpu.stat"), "usage_usec 7000\nuser_usec 1\n"),
                ],
            );
            for root in [old, new] {
                let expected = Used {
                    memory: 3000,
                    cpu: Duration::from_millis(7),
                };
                assert_eq!(used(root.path(), &id), Some(expected));
                assert_eq!(used(root.path(), &"cd".repeat(32)), None);
                assert_eq!(used(root.path(), &format!("../{}", &id[3..])), None);
            }
        }
    }
}
