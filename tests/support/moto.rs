//! An emulator of AWS's, which is more lenient than AWS. It is a Python package.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::backends::until;
use super::ports::free_port;

/// One that runs, ended when it is dropped.
pub struct Moto {
    port: u16,
    child: Child,
}

impl Moto {
    pub async fn start() -> Self {
        let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/moto_server");
        assert!(
            program.exists(),
            "{} is not there: `python3 -m venv target/venv && target/venv/bin/pip install \
             'moto[server]==5.2.5'`, as tests/run.sh does",
            program.display()
        );
        let port = free_port();
        // Ends with the test, also where that is killed.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .arg(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let moto = Self { port, child };
        until("moto", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .ok()
        })
        .await;
        moto
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
