//! Building images through the classic build API, from a tar written while it is sent.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::sync::{Arc, OnceLock};

use bollard::auth::DockerCredentials;
use bollard::models::BuildInfo;
use bollard::query_parameters::BuildImageOptions;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::mpsc;

use super::{Client, refused};
use crate::core::event::{Failure, ReplicaReport};
use crate::engine::EngineError;

/// How many of a failing step's last lines are kept.
const KEPT_LINES: usize = 50;

/// A tar archive written by a thread of its own while it is sent.
pub(crate) struct TarStream {
    receiver: mpsc::Receiver<Bytes>,
    failure: Arc<OnceLock<String>>,
}

/// Writes a tar with `fill`, on a thread of its own, as fast as the stream is read.
pub(crate) fn tar_stream<F>(fill: F) -> TarStream
where
    F: FnOnce(&mut tar::Builder<Box<dyn Write>>) -> io::Result<()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(8);
    let failure = Arc::new(OnceLock::new());
    let slot = failure.clone();
    tokio::task::spawn_blocking(move || {
        let writer = io::BufWriter::with_capacity(64 * 1024, Channel(sender.clone()));
        let mut tar = tar::Builder::new(Box::new(writer) as Box<dyn Write>);
        tar.mode(tar::HeaderMode::Complete);
        let written = fill(&mut tar).and_then(|()| tar.into_inner()?.flush());
        if let Err(error) = written {
            // The reader has gone where nothing can be sent any more: not a fault of ours.
            if !sender.is_closed() {
                slot.get_or_init(|| error.to_string());
            }
        }
    });
    TarStream { receiver, failure }
}

struct Channel(mpsc::Sender<Bytes>);

impl Write for Channel {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Bytes::copy_from_slice(buffer));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TarStream {
    /// The bytes, and where a failure to write them is found after they have ended.
    pub fn split(
        self,
    ) -> (
        impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static,
        Arc<OnceLock<String>>,
    ) {
        let failure = self.failure.clone();
        let state = (self.receiver, self.failure, false);
        let bytes = stream::unfold(state, |(mut receiver, failure, ended)| async move {
            if ended {
                return None;
            }
            match receiver.recv().await {
                Some(bytes) => Some((Ok(bytes), (receiver, failure, false))),
                // An archive cut short must not look whole to the engine.
                None => {
                    let error = io::Error::other(failure.get()?.clone());
                    Some((Err(error), (receiver, failure, true)))
                }
            }
        });
        (bytes, failure)
    }
}

impl Client {
    /// Builds an image from a context, and answers its id; `each` gets every line of the builder's.
    ///
    /// # Errors
    /// [`EngineError::Failed`] with the failing step and its last lines.
    pub(crate) async fn build(
        &self,
        name: &str,
        options: BuildImageOptions,
        credentials: Option<HashMap<String, DockerCredentials>>,
        tar: TarStream,
        mut each: impl FnMut(&str) + Send,
    ) -> Result<String, EngineError> {
        let (body, unread) = tar.split();
        let body = bollard::body_try_stream(body);
        let mut answers = Box::pin(self.docker.build_image(options, credentials, Some(body)));
        let mut said = Said::default();
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(info) => said.take(info, &mut each),
                Err(error) => {
                    if let Some(why) = unread.get() {
                        return Err(refused(format!("the build context of `{name}`: {why}")));
                    }
                    return Err(match self.fault(error) {
                        EngineError::Failed(failure) => said.failed(name, &failure.what),
                        other => other,
                    });
                }
            }
        }
        said.image
            .take()
            .ok_or_else(|| said.failed(name, "the builder named no image"))
    }
}

/// What the builder has said so far.
#[derive(Default)]
struct Said {
    image: Option<String>,
    step: Option<String>,
    lines: VecDeque<String>,
    rest: String,
}

impl Said {
    fn take(&mut self, info: BuildInfo, each: &mut impl FnMut(&str)) {
        if let Some(id) = info.aux.and_then(|aux| aux.id) {
            self.image = Some(id);
        }
        let text = info.stream.or(info.status.map(|status| status + "\n"));
        self.rest.push_str(&text.unwrap_or_default());
        while let Some(end) = self.rest.find('\n') {
            let line = plain(self.rest[..end].trim_end());
            self.rest.drain(..=end);
            if line.is_empty() {
                continue;
            }
            each(&line);
            if line.starts_with("Step ") {
                self.step = Some(line);
                self.lines.clear();
                continue;
            }
            // Engines whose builder sends no id apart.
            if let (None, Some(id)) = (&self.image, line.strip_prefix("Successfully built ")) {
                self.image = Some(id.to_owned());
            }
            self.lines.push_back(line);
            if self.lines.len() > KEPT_LINES {
                self.lines.pop_front();
            }
        }
    }

    fn failed(&self, name: &str, why: &str) -> EngineError {
        let step = self.step.as_deref().map(|step| format!(" at `{step}`"));
        EngineError::Failed(Failure {
            what: format!(
                "the build of `{name}` failed{}: {why}",
                step.unwrap_or_default()
            ),
            hint: super::way_out(why),
            replicas: match self.lines.is_empty() {
                true => Vec::new(),
                false => vec![ReplicaReport {
                    container: format!("build of {name}"),
                    reasons: vec![why.to_owned()],
                    logs: self.lines.iter().cloned().collect(),
                }],
            },
        })
    }
}

/// A line without the colours that the builder gives to what a step prints on standard error.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        text.push_str(before);
        let end = after.find(|c: char| c.is_ascii_alphabetic());
        rest = end.map_or("", |end| &after[end + 1..]);
    }
    text.push_str(rest);
    text
}

/// A plain file's header, owned by root.
pub(crate) fn header(size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// Appends a plain file owned by root.
pub(crate) fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    path: &str,
    bytes: &[u8],
    mode: u32,
) -> io::Result<()> {
    let mut header = header(bytes.len() as u64, mode);
    tar.append_data(&mut header, path, bytes)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_archive_cut_short_ends_in_an_error() {
        let (bytes, failure) = tar_stream(|tar| {
            append(tar, "a", b"x", 0o644)?;
            Err(io::Error::other("disk is gone"))
        })
        .split();
        let all: Vec<_> = bytes.collect().await;
        assert!(all.last().unwrap().is_err());
        assert_eq!(failure.get().unwrap(), "disk is gone");
    }

    #[test]
    fn a_failure_names_the_step_and_holds_its_lines_only() {
        let mut said = Said::default();
        for text in [
            "Step 1/2 : FROM x\n",
            "old\n",
            "Step 2/2 : RUN y\n",
            "\u{1b}[91mso",
            "\u{1b}[0mrry\n",
        ] {
            let info = BuildInfo {
                stream: Some(text.into()),
                ..BuildInfo::default()
            };
            said.take(info, &mut |_: &str| ());
        }
        let EngineError::Failed(failure) = said.failed("web", "exit 1") else {
            panic!("not a refusal");
        };
        assert_eq!(
            failure.what,
            "the build of `web` failed at `Step 2/2 : RUN y`: exit 1"
        );
        assert_eq!(failure.replicas[0].logs, ["sorry"]);
    }
}
