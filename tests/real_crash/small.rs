//! A disk that is soon full.

use std::path::PathBuf;

use super::kit::{as_root, quiet, root};

/// A small file system on a directory, until it is dropped.
pub struct Small(PathBuf);

impl Small {
    /// Of `size`, as `mount` takes it: `1m`.
    pub fn on(directory: PathBuf, size: &str) -> Self {
        std::fs::create_dir_all(&directory).unwrap();
        let at = directory.to_str().unwrap();
        let size = format!("size={size}");
        root(&["mount", "-t", "tmpfs", "-o", &size, "flipside-test", at]);
        Self(directory)
    }

    /// Not a byte more goes in.
    pub fn fill(&self) {
        // `cat` fails once nothing more goes in.
        quiet(
            &[
                as_root(),
                &["sh", "-c", "cat /dev/zero >\"$1\"", "sh", &self.ballast()],
            ]
            .concat(),
        );
    }

    /// Takes away what filled it.
    pub fn free(&self) {
        root(&["rm", "-f", &self.ballast()]);
    }

    fn ballast(&self) -> String {
        let path = self.0.join("ballast");
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let words = ["umount", "-l", self.0.to_str().unwrap()];
        quiet(&[as_root(), &words].concat());
    }
}
