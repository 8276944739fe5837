//! `flipside proxy ctl`: standard input and output, joined to the control socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

/// How long answers are still passed on once the input has ended.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Copies `input` to the control socket and its answers to `output`.
///
/// Ends when the socket does, or when `input` does and the answers to what it asked are out, at
/// most a second later: whoever held the other end is gone.
///
/// # Errors
///
/// Where nothing listens on the socket, or copying fails.
pub async fn relay<I, O>(socket: &Path, mut input: I, mut output: O) -> io::Result<()>
where
    I: AsyncRead + Unpin,
    O: AsyncWrite + Unpin,
{
    let (mut from, mut to) = UnixStream::connect(socket).await?.into_split();
    let asking = async {
        tokio::io::copy(&mut input, &mut to).await?;
        to.shutdown().await
    };
    let answering = copy_at_once(&mut from, &mut output);
    tokio::pin!(asking, answering);
    tokio::select! {
        answered = &mut answering => return answered,
        asked = &mut asking => asked?,
    }
    match tokio::time::timeout(LAST_ANSWERS, answering).await {
        Ok(answered) => answered,
        Err(_still_answering) => Ok(()),
    }
}

/// Like [`tokio::io::copy`], but what has come in is out before more is waited for.
async fn copy_at_once<I, O>(input: &mut I, output: &mut O) -> io::Result<()>
where
    I: AsyncRead + Unpin,
    O: AsyncWrite + Unpin,
{
    use tokio::io::AsyncReadExt;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = input.read(&mut buffer).await?;
        if read == 0 {
            return output.flush().await;
        }
        output.write_all(&buffer[..read]).await?;
        output.flush().await?;
    }
}
