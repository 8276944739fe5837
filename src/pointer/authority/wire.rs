//! One message to one DNS server, and its answer.
//!
//! A question goes by UDP, with EDNS, and by TCP where the answer does not fit or does not come; an
//! update goes by TCP. What is signed is answered with a signature, or not believed. Nothing is
//! repeated.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::rdata::tsig::TsigError;
use hickory_proto::rr::{TSigVerifier, TSigner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::Instant;

/// How long an answer by UDP may take; it may have been lost.
const UDP: Duration = Duration::from_secs(1);

/// How long an answer by TCP may take.
const TCP: Duration = Duration::from_secs(2);

/// The largest answer by UDP that no network on the way has to cut in pieces.
const PAYLOAD: u16 = 1232;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It could not be sent.
    Away(String),
    /// It has been sent.
    Silent(String),
    /// The server did not take the signature.
    Key(TsigError),
}

/// Asks the server at `at`.
pub async fn ask(
    at: SocketAddr,
    mut question: Message,
    signer: Option<&TSigner>,
) -> Result<Message, Trouble> {
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD);
    question.set_edns(edns);
    let sent = Sent::new(question, signer)?;
    match tokio::time::timeout(UDP, by_udp(at, &sent)).await {
        Ok(Ok(answer)) if !answer.metadata.truncation => Ok(answer),
        Ok(Err(Trouble::Key(error))) => Err(Trouble::Key(error)),
        _ => by_tcp(at, &sent).await,
    }
}

/// Sends an update to the server at `at`.
pub async fn tell(at: SocketAddr, update: Message, signer: &TSigner) -> Result<Message, Trouble> {
    by_tcp(at, &Sent::new(update, Some(signer))?).await
}

/// A message as it is sent, and what tells whether an answer is one to it.
struct Sent {
    id: u16,
    bytes: Vec<u8>,
    signed: Option<(TSigner, u64)>,
    message: Message,
}

impl Sent {
    fn new(mut message: Message, signer: Option<&TSigner>) -> Result<Self, Trouble> {
        let plain = message.clone();
        let wrong = |error: hickory_proto::ProtoError| Trouble::Away(error.to_string());
        let signed = signer.map(|signer| (signer.clone(), seconds()));
        if let Some((signer, at)) = &signed {
            message.finalize(signer, *at).map_err(wrong)?;
        }
        Ok(Self {
            id: message.metadata.id,
            bytes: message.to_vec().map_err(wrong)?,
            signed,
            message: plain,
        })
    }

    fn verifier(&self) -> Option<TSigVerifier> {
        let (signer, at) = self.signed.as_ref()?;
        signer.sign_message(&self.message, *at).ok()?.1
    }

    /// The answer in these bytes, where they are one.
    fn answer(&self, bytes: &[u8]) -> Result<Message, Trouble> {
        let not = |why: &str| Trouble::Silent(why.to_owned());
        let answer = Message::from_vec(bytes).map_err(|error| not(&error.to_string()))?;
        if answer.metadata.id != self.id {
            return Err(not("it answered something else"));
        }
        if self.signed.is_none() {
            return Ok(answer);
        }
        let error = answer.signature().and_then(|tsig| tsig.data.error);
        if let (ResponseCode::NotAuth, Some(error)) = (answer.metadata.response_code, error) {
            return Err(Trouble::Key(error));
        }
        let verified = self.verifier().map(|mut known| known.verify(bytes));
        match verified {
            Some(Ok(answer)) => Ok(answer.into_message()),
            _ => Err(not(&format!(
                "its answer ({}) is not signed with the key",
                answer.metadata.response_code
            ))),
        }
    }
}

fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

async fn by_udp(at: SocketAddr, sent: &Sent) -> Result<Message, Trouble> {
    let away = |error: std::io::Error| Trouble::Away(error.to_string());
    let here: IpAddr = match at {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((here, 0)).await.map_err(away)?;
    socket.connect(at).await.map_err(away)?;
    socket.send(&sent.bytes).await.map_err(away)?;
    let mut bytes = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut bytes).await.map_err(away)?;
        match sent.answer(&bytes[..length]) {
            // Anybody can send a datagram: the server's own may still come.
            Err(Trouble::Silent(_)) => {}
            answer => return answer,
        }
    }
}

async fn by_tcp(at: SocketAddr, sent: &Sent) -> Result<Message, Trouble> {
    let end = Instant::now() + TCP;
    let late = || format!("no answer within {} s", TCP.as_secs());
    let connected = tokio::time::timeout_at(end, TcpStream::connect(at)).await;
    let mut stream = connected
        .map_err(|_| Trouble::Away(late()))?
        .map_err(|error| Trouble::Away(error.to_string()))?;
    let answered = tokio::time::timeout_at(end, exchange(&mut stream, &sent.bytes)).await;
    let bytes = answered
        .map_err(|_| Trouble::Silent(late()))?
        .map_err(|error| Trouble::Silent(error.to_string()))?;
    sent.answer(&bytes)
}

/// RFC 1035, section 4.2.2: each message after its length.
async fn exchange(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<Vec<u8>> {
    let length = u16::try_from(message.len()).map_err(std::io::Error::other)?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(message);
    stream.write_all(&bytes).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}
