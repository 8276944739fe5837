//! A client that asks again and again, over one keep-alive connection, until somebody answers.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{LIMIT, ms};

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(10);

pub struct Poller {
    address: SocketAddr,
    pause: Duration,
    /// Whether each question goes over a connection of its own.
    anew: bool,
    stream: Option<BufReader<TcpStream>>,
}

impl Poller {
    /// `pause` between two questions: the resolution of what is measured, and the load it makes.
    pub fn new(address: SocketAddr, pause: Duration) -> Self {
        Self {
            address,
            pause,
            anew: false,
            stream: None,
        }
    }

    /// One that asks over a new connection each time.
    pub fn anew(self) -> Self {
        Self { anew: true, ..self }
    }

    /// Asks `/` until the answer is `version`, or any where `None`; how long that was since
    /// `begun`, in milliseconds.
    pub fn until(&mut self, version: Option<&str>, begun: Instant) -> f64 {
        loop {
            match self.ask() {
                Ok(said) if version.is_none_or(|version| version == said) => return ms(begun),
                Ok(_) => {}
                Err(_) => self.stream = None,
            }
            assert!(
                begun.elapsed() < LIMIT,
                "{}: no {version:?} within {LIMIT:?}",
                self.address
            );
            std::thread::sleep(self.pause);
        }
    }

    /// The body of one answer with status 200.
    pub fn ask(&mut self) -> io::Result<String> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect_timeout(&self.address, ANSWER)?;
                stream.set_read_timeout(Some(ANSWER))?;
                stream.set_nodelay(true)?;
                self.stream.insert(BufReader::new(stream))
            }
        };
        let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        stream.get_mut().write_all(request.as_bytes())?;
        let mut length = None;
        let mut ok = None;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            ok.get_or_insert_with(|| line.starts_with("http/1.1 200"));
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok();
            }
        }
        let length = length.ok_or_else(|| io::Error::other("an answer without a length"))?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        if self.anew {
            self.stream = None;
        }
        match ok {
            Some(true) => Ok(String::from_utf8_lossy(&body).trim().to_owned()),
            _ => Err(io::Error::other("no 200")),
        }
    }
}
