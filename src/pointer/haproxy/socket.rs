//! HAProxy's runtime API: words in, text out.
//!
//! Replies carry no codes: what a command has done is known only by looking afterwards.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// The most that a reply may be, in bytes: far more than any table.
const MOST: u64 = 64 << 20;

/// Where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Socket {
    /// A path.
    Unix(String),
    /// An address and port.
    Tcp(String),
}

impl Socket {
    /// A path begins with `/`; anything else is an address.
    pub(super) fn new(place: &str) -> Self {
        match place.starts_with('/') {
            true => Self::Unix(place.to_owned()),
            false => Self::Tcp(place.to_owned()),
        }
    }

    pub(super) fn place(&self) -> &str {
        let (Self::Unix(place) | Self::Tcp(place)) = self;
        place
    }

    /// Sends commands in one line, and answers all that was said to them.
    pub(super) async fn say(&self, commands: &[String]) -> io::Result<String> {
        let line = commands.join(";") + "\n";
        match self {
            Self::Unix(path) => exchange(UnixStream::connect(path).await?, &line).await,
            Self::Tcp(address) => exchange(TcpStream::connect(address).await?, &line).await,
        }
    }
}

async fn exchange<S: AsyncReadExt + AsyncWriteExt + Unpin>(
    mut stream: S,
    line: &str,
) -> io::Result<String> {
    stream.write_all(line.as_bytes()).await?;
    let mut reply = Vec::new();
    // Even a command that has nothing to say is answered with an empty line.
    if stream.take(MOST).read_to_end(&mut reply).await? == 0 {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "it closed the connection without an answer",
        ));
    }
    Ok(String::from_utf8_lossy(&reply).into_owned())
}
