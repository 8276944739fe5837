//! An engine that is reached over TCP: by its address it counts as one elsewhere.

use tokio::net::{TcpListener, UnixStream};
use tokio::task::JoinHandle;

/// A way to an engine's socket, as long as it is kept.
pub struct OverTcp {
    /// As `--engine` takes it.
    pub address: String,
    relay: JoinHandle<()>,
}

impl OverTcp {
    /// To the engine whose socket is at this path.
    pub async fn to(socket: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        let relay = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let socket = socket.clone();
                tokio::spawn(async move {
                    let mut far = UnixStream::connect(socket).await.unwrap();
                    // Whoever is done first ends it.
                    tokio::io::copy_bidirectional(&mut near, &mut far)
                        .await
                        .ok();
                });
            }
        });
        Self { address, relay }
    }
}

impl Drop for OverTcp {
    fn drop(&mut self) {
        self.relay.abort();
    }
}
