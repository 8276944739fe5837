//! One connection to a backend, and the bodies that pass through it.
//!
//! A connection is driven by whoever uses it, inside the task of the client's connection: no task
//! of its own, no wake-up from one task to another, and dropping the request closes it.

use std::cell::Cell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper::{Request, Response, Version};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::headers::{HEADERS_MOST, forward_trailers};
use super::listen::keep_alive;
use super::pool::{Endpoint, Place, Pool};
use super::worker::Flight;

/// How long the rest of a request is still sent once it has been answered.
const REST_LIMIT: Duration = Duration::from_secs(30);

type Wire = http1::Connection<TokioIo<TcpStream>, RequestBody>;

/// One connection to a backend.
pub struct Backend {
    send: http1::SendRequest<RequestBody>,
    wire: Option<Wire>,
    /// Left by a protocol change: the connection and what was already read from it.
    upgraded: Option<(TcpStream, Bytes)>,
    endpoint: Rc<Endpoint>,
    /// Whether it has carried a request before.
    pub reused: bool,
    _place: Place,
}

/// Whether a connection failed for want of something of this machine's, which says nothing about
/// the other end.
pub fn is_own_shortage(error: &std::io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::EADDRNOTAVAIL | libc::ENOBUFS | libc::ENOMEM)
    )
}

/// Connects to `address`, within `limit`.
///
/// # Errors
///
/// Where it is refused, unreachable or too slow, or this process is short of something; see
/// [`is_own_shortage`].
pub async fn dial(
    pool: &Pool,
    address: SocketAddr,
    limit: Duration,
) -> std::io::Result<(TcpStream, Place)> {
    let place = pool.place();
    let mut connected = timeout(limit, TcpStream::connect(address)).await?;
    if connected.as_ref().is_err_and(is_own_shortage) && pool.close_idle() {
        connected = timeout(limit, TcpStream::connect(address)).await?;
    }
    let stream = connected?;
    stream.set_nodelay(true)?;
    keep_alive(&socket2::SockRef::from(&stream))?;
    Ok((stream, place))
}

/// Why a request got no answer.
pub enum Failure {
    /// Not a byte was sent; here it is again.
    Unsent(Box<Request<RequestBody>>),
    /// The connection ended before an answer.
    Lost(hyper::Error),
    /// What came as an answer is none.
    Unreadable(hyper::Error),
    /// No answer came in time.
    Late,
    /// What the client sent as the body of the request is none.
    BadBody,
    /// The client did not send the rest of the body in time.
    BodyLate,
}

impl Backend {
    /// Connects to `endpoint` of `pool`, within `limit`.
    ///
    /// # Errors
    ///
    /// As [`dial`].
    pub async fn connect(
        pool: &Pool,
        endpoint: Rc<Endpoint>,
        limit: Duration,
    ) -> std::io::Result<Box<Backend>> {
        let (stream, place) = dial(pool, endpoint.address, limit).await?;
        let (send, wire) = http1::Builder::new()
            .max_headers(HEADERS_MOST)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(std::io::Error::other)?;
        Ok(Box::new(Backend {
            send,
            wire: Some(wire),
            upgraded: None,
            endpoint,
            reused: false,
            _place: place,
        }))
    }

    /// Where it leads.
    pub fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    /// Whether an idle connection can carry a request, as far as this side knows.
    pub fn is_fit(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.wire.is_some() && self.send.is_ready()
    }

    /// Sends `request` and waits for the head of its answer, until nothing has moved for `patience`.
    ///
    /// # Errors
    ///
    /// Each [`Failure`] says what may be done about it.
    pub async fn exchange(
        &mut self,
        request: Request<RequestBody>,
        patience: Duration,
    ) -> Result<Response<Incoming>, Failure> {
        let upload = request.body().upload.clone();
        let is = |coming| upload.as_ref().is_some_and(|it| it.coming.get() == coming);
        let mut answer = std::pin::pin!(self.send.try_send_request(request));
        let mut limit = std::pin::pin!(sleep_until(Instant::now() + patience));
        std::future::poll_fn(|cx| {
            Self::drive_parts(&mut self.wire, &mut self.upgraded, cx);
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer.map_err(|mut error| match error.take_message() {
                    Some(request) => Failure::Unsent(Box::new(request)),
                    None if is(Coming::Broken) => Failure::BadBody,
                    None => match error.into_error() {
                        error if error.is_parse() => Failure::Unreadable(error),
                        error => Failure::Lost(error),
                    },
                }));
            }
            while limit.as_mut().poll(cx).is_ready() {
                // A slow upload is no slow answer: what counts is the time since anything moved.
                let moved = upload.as_ref().map(|upload| upload.moved.get());
                match moved.map(|moved| moved + patience) {
                    Some(later) if later > Instant::now() => limit.as_mut().reset(later),
                    _ if is(Coming::Awaited) => return Poll::Ready(Err(Failure::BodyLate)),
                    _ => return Poll::Ready(Err(Failure::Late)),
                }
            }
            Poll::Pending
        })
        .await
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        Self::drive_parts(&mut self.wire, &mut self.upgraded, cx);
    }

    /// Moves bytes; takes the connection apart once it has ended. An error of it is told by hyper
    /// to whoever waits for the answer or reads its body.
    fn drive_parts(
        wire: &mut Option<Wire>,
        upgraded: &mut Option<(TcpStream, Bytes)>,
        cx: &mut Context<'_>,
    ) {
        let Some(open) = wire else { return };
        match open.poll_without_shutdown(cx) {
            Poll::Pending => {}
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "backend connection failed");
                *wire = None;
            }
            Poll::Ready(Ok(())) => {
                if let Some(ended) = wire.take() {
                    let parts = ended.into_parts();
                    *upgraded = Some((parts.io.into_inner(), parts.read_buf));
                }
            }
        }
    }

    /// The bare connection after a 101, and what the backend has already said on it. To be kept
    /// until that ends.
    pub async fn upgraded(&mut self) -> Option<(TcpStream, Bytes)> {
        std::future::poll_fn(|cx| {
            self.drive(cx);
            if self.wire.is_some() {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
        self.upgraded.take()
    }

    /// Puts it back among the idle ones of its endpoint, now or once all of the request is sent.
    pub fn give_back(mut self: Box<Self>) {
        if self.is_fit() {
            self.reused = true;
            let endpoint = self.endpoint.clone();
            endpoint.keep(self);
        } else if self.wire.is_some() {
            // The answer came before the end of the request. What is left of it still flows, so
            // that the client can read the answer before it is told to stop.
            tokio::task::spawn_local(async move {
                let rest = std::future::poll_fn(|cx| {
                    self.drive(cx);
                    match (&self.wire, self.send.poll_ready(cx)) {
                        (None, _) | (_, Poll::Ready(_)) => Poll::Ready(()),
                        (Some(_), Poll::Pending) => Poll::Pending,
                    }
                });
                if timeout(REST_LIMIT, rest).await.is_ok() && self.is_fit() {
                    self.reused = true;
                    let endpoint = self.endpoint.clone();
                    endpoint.keep(self);
                }
            });
        }
    }
}

/// The body of a request on its way to a backend.
pub struct RequestBody {
    from: Option<Incoming>,
    /// Only where there is a body.
    upload: Option<Rc<Upload>>,
}

/// How a body comes in.
struct Upload {
    /// When it last moved.
    moved: Cell<Instant>,
    coming: Cell<Coming>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Coming {
    /// What has come so far was taken, or nobody asked for it.
    Taken,
    /// The client is waited for.
    Awaited,
    /// It makes no sense, or the client has left.
    Broken,
}

impl RequestBody {
    /// Passes `from` on.
    pub fn new(from: Incoming) -> RequestBody {
        if from.is_end_stream() {
            RequestBody::empty()
        } else {
            RequestBody {
                from: Some(from),
                upload: Some(Rc::new(Upload {
                    moved: Cell::new(Instant::now()),
                    coming: Cell::new(Coming::Taken),
                })),
            }
        }
    }

    /// No body.
    pub fn empty() -> RequestBody {
        RequestBody {
            from: None,
            upload: None,
        }
    }

    /// Whether there is no body.
    pub fn is_empty(&self) -> bool {
        self.from.is_none()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(from) = &mut self.from else {
            return Poll::Ready(None);
        };
        let mut frame = Pin::new(from).poll_frame(cx);
        if let Some(upload) = &self.upload {
            upload.coming.set(match &frame {
                Poll::Pending => Coming::Awaited,
                Poll::Ready(Some(Err(_))) => Coming::Broken,
                Poll::Ready(_) => Coming::Taken,
            });
            if frame.is_ready() {
                upload.moved.set(Instant::now());
            }
        }
        if let Poll::Ready(Some(Ok(frame))) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            forward_trailers(trailers);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.from.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.from {
            Some(from) => from.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

/// The body of an answer on its way to a client.
pub enum AnswerBody {
    /// The proxy's own words.
    Text(Option<Bytes>),
    /// A backend's.
    Backend(BackendBody),
}

/// The body of a backend's answer: drives the connection it comes from, and counts the request
/// out when it has ended.
pub struct BackendBody {
    from: Incoming,
    backend: Option<Box<Backend>>,
    flight: Option<Flight>,
    failed: Option<hyper::Error>,
    /// The client can tell its end by nothing but the end of the connection.
    ends_by_close: bool,
}

impl BackendBody {
    /// Passes `from` on, which comes over `backend`, to a client that speaks `version`.
    pub fn new(
        from: Incoming,
        backend: Box<Backend>,
        flight: Flight,
        version: Version,
    ) -> BackendBody {
        BackendBody {
            ends_by_close: version == Version::HTTP_10 && from.size_hint().exact().is_none(),
            from,
            backend: Some(backend),
            flight: Some(flight),
            failed: None,
        }
    }

    /// The next frame, or the error that comes instead.
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let mut frame = Pin::new(&mut self.from).poll_frame(cx);
        if frame.is_pending() {
            if let Some(backend) = &mut self.backend {
                backend.drive(cx);
            }
            frame = Pin::new(&mut self.from).poll_frame(cx);
        }
        match frame {
            // hyper drops what it has not flushed when a body fails; one pause lets it flush, so
            // that the client gets what there was of the answer before it breaks off.
            Poll::Ready(Some(Err(error))) => {
                self.failed = Some(error);
                if let (true, Some(flight)) = (self.ends_by_close, &self.flight) {
                    flight.client.will_be_reset();
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            other => other,
        }
    }

    fn finish(&mut self) {
        if let Some(backend) = self.backend.take() {
            backend.give_back();
        }
        self.flight = None;
    }
}

impl Drop for BackendBody {
    fn drop(&mut self) {
        // Dropped without its end, the connection is closed, which cancels the request.
        if self.from.is_end_stream() {
            self.finish();
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            AnswerBody::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            AnswerBody::Backend(body) => body.poll_next(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerBody::Text(text) => text.is_none(),
            AnswerBody::Backend(body) => body.from.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Text(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            AnswerBody::Backend(body) => body.from.size_hint(),
        }
    }
}
