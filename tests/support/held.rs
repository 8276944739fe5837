//! What is kept waiting on its way to a pointer, so that a test can do something meanwhile.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, watch};

use super::backends::{LONG, until};

/// When something is kept waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before it is done.
    Before,
    /// Before its answer is handed on.
    After,
}

/// What is kept waiting within this process.
#[derive(Debug, Clone)]
pub struct Gate {
    here: watch::Sender<bool>,
    gate: Arc<Notify>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            here: watch::Sender::new(false),
            gate: Arc::default(),
        }
    }
}

impl Gate {
    /// Waits until there is something.
    pub async fn came(&self) {
        let mut here = self.here.subscribe();
        let came = tokio::time::timeout(LONG, here.wait_for(|here| *here)).await;
        came.expect("something to hold").unwrap();
    }

    /// Lets it go on.
    pub fn go(&self) {
        self.gate.notify_one();
    }

    /// Is kept waiting.
    pub async fn wait(&self) {
        self.here.send_replace(true);
        self.gate.notified().await;
    }
}

/// Keeps the next of those waiting that somebody asked for.
#[derive(Debug, Default)]
pub struct Keeper<T>(Mutex<Option<(T, Moment, Gate)>>);

impl<T> Keeper<T> {
    /// Keeps the next one waiting of which this is true.
    pub fn hold(&self, of: T, moment: Moment) -> Held {
        let gate = Gate::default();
        *self.0.lock().unwrap() = Some((of, moment, gate.clone()));
        Held::Gate(gate)
    }

    /// What this one has to wait for, and when.
    pub fn meets(&self, is: impl Fn(&T) -> bool) -> Option<(Moment, Gate)> {
        let mut kept = self.0.lock().unwrap();
        let (_, moment, gate) = kept.take_if(|(of, ..)| is(of))?;
        Some((moment, gate))
    }
}

/// Waits at the gate that was met, if this is the moment.
pub async fn pass(met: &Option<(Moment, Gate)>, now: Moment) {
    if let Some((_, gate)) = met.as_ref().filter(|(moment, _)| *moment == now) {
        gate.wait().await;
    }
}

/// What is kept waiting.
#[derive(Debug)]
pub enum Held {
    /// In this process.
    Gate(Gate),
    /// A script, by the files in its directory: [`WAITS`].
    Script(PathBuf),
}

/// In a script, with its directory in `$dir`: keeps it waiting where a file `hold-…` with the name of
/// what it does says so.
pub const WAITS: &str = "\
wait_at() {
    mv \"$dir/hold-$1\" \"$dir/waits\" 2>/dev/null || return 0
    until mv \"$dir/go\" \"$dir/gone\" 2>/dev/null; do sleep 0.01; done
}
";

/// How commands are run, each after a word for what it is, which is noted in the file `asked`: one may
/// be kept waiting, before what it does or after it, and does nothing where there is a file `pretends`.
const COMMAND: &str = "dir=${0%/*}
cd \"$dir\" || exit 9
of=$1
shift
echo \"$of\" >>asked
wait_at \"$of-before\"
[ -e pretends ] || \"$@\"
code=$?
wait_at \"$of-after\"
exit $code
";

/// A script that runs commands as [`COMMAND`] says.
pub fn command() -> String {
    format!("#!/bin/sh\n{WAITS}{COMMAND}")
}

impl Held {
    /// The next script in `directory` that does this is kept waiting.
    pub fn script(directory: &Path, of: &str, moment: Moment) -> Self {
        for left in ["waits", "go", "gone"] {
            std::fs::remove_file(directory.join(left)).ok();
        }
        let when = match moment {
            Moment::Before => "before",
            Moment::After => "after",
        };
        std::fs::write(directory.join(format!("hold-{of}-{when}")), "").unwrap();
        Self::Script(directory.to_owned())
    }

    /// Waits until there is something.
    pub async fn came(&self) {
        match self {
            Self::Gate(gate) => gate.came().await,
            Self::Script(directory) => exists(directory, "waits").await,
        }
    }

    /// Lets it go on.
    pub fn go(&self) {
        match self {
            Self::Gate(gate) => gate.go(),
            Self::Script(directory) => std::fs::write(directory.join("go"), "").unwrap(),
        }
    }

    /// Lets a script go on, and waits until it does.
    pub async fn went(&self) {
        self.go();
        if let Self::Script(directory) = self {
            exists(directory, "gone").await;
        }
    }
}

async fn exists(directory: &Path, name: &str) {
    let path = directory.join(name);
    until(name, async || path.exists().then_some(())).await;
}
