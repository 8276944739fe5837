//! Runs of the program under way, and load under way.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc;

/// How long anything may take before a test gives up.
pub const LONG: Duration = Duration::from_secs(60);

/// What became of a run of the program.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; 128 and the signal's number where one ended it.
    pub code: i32,
    /// JSON lines of standard output.
    pub lines: Vec<Value>,
    /// Standard error.
    pub talk: String,
    pub took: Duration,
}

impl Ran {
    /// It must have ended with this code.
    #[track_caller]
    pub fn ends(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// The outcome in the last line, which must be `finished` with all its fields, unless the run was
    /// killed before it.
    #[track_caller]
    pub fn outcome(&self) -> &str {
        let last = self.lines.last().filter(|line| line["event"] == "finished");
        let Some(last) = last else {
            assert!(
                self.code >= 128,
                "the last line is not `finished`: {self:#?}"
            );
            return "";
        };
        let fields = [
            "service",
            "release",
            "live",
            "elapsed_ms",
            "requests_in_flight",
            "requests_cut",
        ];
        for field in fields {
            assert!(last.get(field).is_some(), "no `{field}` in {last}");
        }
        last["outcome"].as_str().unwrap()
    }

    /// The error's kind, of a run that ended with one.
    pub fn error(&self) -> &str {
        let error = self.lines.iter().rfind(|line| line["event"] == "error");
        error.and_then(|line| line["error"].as_str()).unwrap_or("")
    }

    /// The error's message.
    pub fn message(&self) -> &str {
        let error = self.lines.iter().rfind(|line| line["event"] == "error");
        error
            .and_then(|line| line["message"].as_str())
            .unwrap_or("")
    }
}

/// A run of the program under way.
pub struct Running {
    child: Child,
    arriving: mpsc::UnboundedReceiver<Value>,
    lines: Vec<Value>,
    talk: tokio::task::JoinHandle<String>,
    began: Instant,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        let began = Instant::now();
        let mut child = command.spawn().unwrap();
        let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (arrived, arriving) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                arrived.send(line).ok();
            }
        });
        let talk = tokio::spawn(async move {
            let mut talk = String::new();
            stderr.read_to_string(&mut talk).await.ok();
            talk
        });
        Self {
            child,
            arriving,
            lines: Vec::new(),
            talk,
            began,
        }
    }

    /// Waits for a line.
    pub async fn line(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let come = tokio::time::timeout(LONG, async {
            while let Some(line) = self.arriving.recv().await {
                self.lines.push(line.clone());
                if is(&line) {
                    return Some(line);
                }
            }
            None
        });
        match come.await {
            Ok(Some(line)) => line,
            Ok(None) => panic!("ended without {what}: {:#?}", self.lines),
            Err(_) => panic!("not within {LONG:?}: {what}: {:#?}", self.lines),
        }
    }

    /// Waits for an event.
    pub async fn event(&mut self, name: &str) -> Value {
        self.line(name, |line| line["event"] == name).await
    }

    /// Waits for the intent of an act.
    pub async fn intends(&mut self, act: &str) -> Value {
        self.line(&format!("the intent {act}"), |line| {
            line["event"] == "intended" && line["action"]["act"] == act
        })
        .await
    }

    pub fn signal(&self, signal: Signal) {
        // One that has ended has no id any more.
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id as i32)) {
            kill_process(pid, signal).unwrap();
        }
    }

    /// Waits until it handles SIGTERM itself.
    pub async fn handles_signals(&self) {
        let id = self.child.id().expect("it runs");
        crate::support::docker::until("it handles SIGTERM", || async {
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
            let caught = status
                .lines()
                .find_map(|line| line.strip_prefix("SigCgt:"))?;
            let caught = u64::from_str_radix(caught.trim(), 16).ok()?;
            (caught >> (Signal::TERM.as_raw() - 1) & 1 == 1).then_some(())
        })
        .await;
    }

    /// `kill -9`.
    pub async fn kill(self) -> Ran {
        self.signal(Signal::KILL);
        self.ended().await
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> Ran {
        use std::os::unix::process::ExitStatusExt;
        let ended = tokio::time::timeout(2 * LONG, self.child.wait()).await;
        let status = ended.expect("it ends").unwrap();
        let took = self.began.elapsed();
        while let Some(line) = self.arriving.recv().await {
            self.lines.push(line);
        }
        let code = status.code();
        Ran {
            code: code.unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
            lines: self.lines,
            talk: self.talk.await.unwrap(),
            took,
        }
    }
}

/// Load under way.
pub struct Load {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Load {
    /// Starts it; when this returns the service has answered once.
    pub async fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let answered = tokio::time::timeout(LONG, stdout.read_line(&mut line));
        answered.await.expect("it is answered").unwrap();
        assert_eq!(line, "answered\n");
        Self { child, stdout }
    }

    /// Ends it: it must have gone on until now, and no request may have been lost.
    pub async fn stop(mut self) -> Value {
        let ended = self.child.try_wait().unwrap();
        assert_eq!(ended, None, "the load ended by itself");
        let pid = Pid::from_raw(self.child.id().unwrap() as i32).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let mut said = String::new();
        self.stdout.read_to_string(&mut said).await.unwrap();
        self.child.wait().await.unwrap();
        let total: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(total["failed"], 0, "{total}");
        assert!(total["sent"].as_u64() > Some(0), "{total}");
        total
    }
}
