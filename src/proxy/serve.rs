//! One request: which environment, which replica, there and back.
//!
//! The table is read for every request, so the first request after a switch goes to the new
//! environment, on whatever connection it comes in. A body is neither buffered nor sent twice.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue, UPGRADE};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use tokio::io::{AsyncWriteExt, copy_bidirectional};

use super::backend::{AnswerBody, Backend, BackendBody, Failure, RequestBody, is_own_shortage};
use super::client::Client;
use super::headers::{RELEASE, TRACE, UnknownCoding, Wish, forward_answer, forward_request};
use super::pool::{Endpoint, Repeat};
use super::worker::Flight;

/// Why a request is answered by the proxy itself.
struct Refusal(StatusCode, String);

impl Refusal {
    fn new(status: StatusCode, text: impl Into<String>) -> Refusal {
        Refusal(status, text.into())
    }

    fn answer(self) -> Response<AnswerBody> {
        let text = Bytes::from(self.1 + "\n");
        let mut answer = Response::new(AnswerBody::Text(Some(text)));
        *answer.status_mut() = self.0;
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        answer.headers_mut().insert(CONTENT_TYPE, plain);
        answer
    }
}

/// Answers one request of `client`.
pub async fn serve(client: Rc<Client>, mut request: Request<Incoming>) -> Response<AnswerBody> {
    client.is_asking();
    let traced = request
        .headers_mut()
        .remove(TRACE)
        .is_some_and(|secret| secret == client.worker.shared.secret);
    let mut release = None;
    let mut answer = match forward(&client, request, &mut release).await {
        Ok(answer) => answer,
        Err(refusal) => {
            if release.is_none() {
                client.is_done();
            }
            refusal.answer()
        }
    };
    if let (true, Some(release)) = (traced, release) {
        answer
            .headers_mut()
            .insert(RELEASE, HeaderValue::from(release));
    }
    answer
}

async fn forward(
    client: &Rc<Client>,
    request: Request<Incoming>,
    release: &mut Option<u64>,
) -> Result<Response<AnswerBody>, Refusal> {
    if request.method() == Method::CONNECT {
        let text = "CONNECT is not spoken here";
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, text));
    }
    let host = host_of(&request)?;
    let host_name = host.as_ref().map_or("", |host| host.to_str().unwrap_or(""));
    let version = request.version();
    let (mut flight, first) = depart(client, host_name, request.headers())?;
    let mut first = Some(first);
    *release = Some(flight.lane.release);

    let (mut request, upgrade) = prepare(request, host.as_ref(), client)?;
    let repeat = if request.body().is_empty() && request.method().is_idempotent() {
        Repeat::Safe
    } else {
        Repeat::Never
    };
    let limits = client.worker.shared.limits;
    let mut tried: Vec<SocketAddr> = Vec::new();
    let mut lost: u32 = 0;
    let mut idle_welcome = true;
    loop {
        let next = match first.take() {
            Some(first) => first,
            None => choose(
                client,
                host_name,
                request.headers(),
                &mut flight,
                &mut tried,
            ),
        };
        let Some(endpoint) = next else {
            return Err(unreachable(&flight, "no replica could be reached"));
        };
        *release = Some(flight.lane.release);
        flight.goes_to(endpoint.clone());
        let idle = if idle_welcome {
            endpoint.take(repeat)
        } else {
            None
        };
        let mut backend = match idle {
            Some(backend) => backend,
            None => match Backend::connect(&client.worker.pool, endpoint.clone(), limits.connect)
                .await
            {
                Ok(backend) => {
                    endpoint.note_reached();
                    backend
                }
                Err(error) => {
                    tracing::debug!(address = %endpoint.address, %error, "no connection");
                    if !is_own_shortage(&error) {
                        endpoint.note_refused();
                    }
                    tried.push(endpoint.address);
                    continue;
                }
            },
        };
        if request.headers().get(HOST).is_none() {
            let address = HeaderValue::try_from(backend.address().to_string());
            request
                .headers_mut()
                .extend(address.ok().map(|it| (HOST, it)));
        }
        let spare = (repeat == Repeat::Safe).then(|| copy_of(&request));
        match backend.exchange(request, limits.answer).await {
            Ok(answer) => {
                let class = usize::from(answer.status().as_u16() / 100).saturating_sub(1);
                if let Some(count) = flight.lane.tally.statuses.get(class) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                return pass_back(answer, backend, flight, version, upgrade);
            }
            // Nothing of it has left: this counts as no try at all, but with a new connection.
            Err(Failure::Unsent(again)) if backend.reused => {
                request = *again;
                idle_welcome = false;
            }
            Err(Failure::Unsent(again)) => {
                request = *again;
                tried.push(endpoint.address);
            }
            Err(Failure::Lost(error)) => {
                tracing::debug!(address = %endpoint.address, %error, "connection lost");
                lost += 1;
                request = match spare {
                    Some(spare) if lost <= 2 => spare,
                    _ => return Err(unreachable(&flight, "the replica closed without an answer")),
                };
                // A connection that had rested says nothing about its replica; a new one does.
                if backend.reused {
                    idle_welcome = false;
                } else {
                    tried.push(endpoint.address);
                }
            }
            // Asked again, or asked of another one, it would not be of more use.
            Err(Failure::Unreadable(error)) => {
                tracing::debug!(address = %endpoint.address, %error, "no HTTP");
                return Err(unreachable(&flight, "the replica's answer is not HTTP"));
            }
            Err(Failure::Late) => {
                let text = "the replica did not answer in time";
                return Err(counted(&flight, StatusCode::GATEWAY_TIMEOUT, text));
            }
            Err(Failure::BadBody) => {
                let text = "the body of the request is not valid";
                return Err(Refusal::new(StatusCode::BAD_REQUEST, text));
            }
            Err(Failure::BodyLate) => {
                let text = "the rest of the request did not come in time";
                return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, text));
            }
        }
    }
}

/// Chooses an environment and a replica and counts the request in, at one instant as seen by a
/// switch.
fn depart(
    client: &Rc<Client>,
    host: &str,
    headers: &HeaderMap,
) -> Result<(Flight, Option<Rc<Endpoint>>), Refusal> {
    let worker = &client.worker;
    worker.shared.picking[worker.index].during(|| {
        let routes = worker.shared.routes.load();
        let Some(service) = routes.find(client.listen, host) else {
            let text = format!("no service here answers for host `{host}`");
            return Err(Refusal::new(StatusCode::NOT_FOUND, text));
        };
        let Some(environment) = service.choose_for(host, headers, || worker.dice()) else {
            let text = "no environment serves this yet";
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text));
        };
        Ok(Flight::start(client, environment))
    })
}

/// The replica to try next. Where the environment has none left but has meanwhile gone from the
/// routing, the request, of which nothing has been sent, departs again.
fn choose(
    client: &Rc<Client>,
    host: &str,
    headers: &HeaderMap,
    flight: &mut Flight,
    tried: &mut Vec<SocketAddr>,
) -> Option<Rc<Endpoint>> {
    let worker = &client.worker;
    let routes = worker.shared.routes.load();
    let environment = routes.find(client.listen, host).and_then(|service| {
        service.all().find(|environment| {
            let lane = environment.stint.lane(worker.index);
            Arc::ptr_eq(lane, &flight.lane)
        })
    });
    if let Some(environment) = environment {
        return worker.pool.choose(&environment.endpoints, tried);
    }
    let (again, endpoint) = depart(client, host, headers).ok()?;
    flight.lane.tally.requests.fetch_sub(1, Ordering::Relaxed);
    tried.clear();
    *flight = again;
    // The flight before has just said that this client has nothing more to wait for.
    client.is_asking();
    client.flies(flight.lane.clone());
    endpoint
}

fn unreachable(flight: &Flight, text: &str) -> Refusal {
    counted(flight, StatusCode::BAD_GATEWAY, text)
}

/// A refusal for which the release is to blame.
fn counted(flight: &Flight, status: StatusCode, text: &str) -> Refusal {
    let tally = &flight.lane.tally;
    tally.unreachable.fetch_add(1, Ordering::Relaxed);
    Refusal::new(status, text)
}

/// The host a request is for: that of an absolute target, else the `Host` header.
fn host_of(request: &Request<Incoming>) -> Result<Option<HeaderValue>, Refusal> {
    let bad = |text: &str| Refusal::new(StatusCode::BAD_REQUEST, text);
    let mut hosts = request.headers().get_all(HOST).iter();
    let named = hosts.next().cloned();
    if hosts.next().is_some() {
        return Err(bad("a request has one Host header"));
    }
    if named.is_none() && request.version() != Version::HTTP_10 {
        return Err(bad("a request has a Host header"));
    }
    if named.as_ref().is_some_and(|named| !is_host(named)) {
        return Err(bad("the Host header is not valid"));
    }
    match (request.uri().scheme(), request.uri().authority()) {
        (_, None) => Ok(named),
        (None, Some(_)) => Err(bad("the target is not a path")),
        (Some(_), Some(authority)) => {
            let (_user, host) = authority
                .as_str()
                .rsplit_once('@')
                .unwrap_or(("", authority.as_str()));
            HeaderValue::try_from(host)
                .map(Some)
                .map_err(|_| bad("the target's host is not valid"))
        }
    }
}

/// Whether `value` is made of what RFC 9110, section 7.2, lets a `Host` header be made of.
fn is_host(value: &HeaderValue) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%:[]".contains(byte);
    value.as_bytes().iter().all(fits)
}

type Prepared = (Request<RequestBody>, Option<hyper::upgrade::OnUpgrade>);

fn prepare(
    mut request: Request<Incoming>,
    host: Option<&HeaderValue>,
    client: &Client,
) -> Result<Prepared, Refusal> {
    if request.version() == Version::HTTP_10 {
        request.headers_mut().remove(UPGRADE);
    }
    let wish = forward_request(request.headers_mut(), host, &client.peer);
    let upgrade = match wish {
        Wish::Answer => None,
        Wish::Upgrade => Some(hyper::upgrade::on(&mut request)),
        Wish::UnknownCoding => {
            let text = "this transfer coding is not spoken here";
            return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, text));
        }
    };
    let (mut parts, body) = request.into_parts();
    if parts.uri.authority().is_some() {
        if let Some(host) = host {
            parts.headers.insert(HOST, host.clone());
        }
        let path = parts.uri.path_and_query().cloned();
        parts.uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    Ok((Request::from_parts(parts, RequestBody::new(body)), upgrade))
}

fn copy_of(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = HeaderMap::clone(request.headers());
    copy
}

fn pass_back(
    answer: Response<Incoming>,
    backend: Box<Backend>,
    flight: Flight,
    version: Version,
    upgrade: Option<hyper::upgrade::OnUpgrade>,
) -> Result<Response<AnswerBody>, Refusal> {
    let (mut parts, body) = answer.into_parts();
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    let switching = parts.status == StatusCode::SWITCHING_PROTOCOLS;
    let wish = match (switching, &upgrade) {
        (false, _) => Wish::Answer,
        (true, Some(_)) => Wish::Upgrade,
        (true, None) => {
            return Err(unreachable(&flight, "the replica changed protocol unasked"));
        }
    };
    if let Err(UnknownCoding) = forward_answer(&mut parts.headers, &wish) {
        let text = "the transfer coding of the replica's answer is not spoken here";
        return Err(unreachable(&flight, text));
    }
    if let (Wish::Upgrade, Some(upgrade)) = (wish, upgrade) {
        tokio::task::spawn_local(tunnel(upgrade, backend, flight));
        return Ok(Response::from_parts(parts, AnswerBody::Text(None)));
    }
    let body = AnswerBody::Backend(BackendBody::new(body, backend, flight, version));
    Ok(Response::from_parts(parts, body))
}

/// Copies both ways after a change of protocol; in flight until both sides have ended.
async fn tunnel(upgrade: hyper::upgrade::OnUpgrade, mut backend: Box<Backend>, flight: Flight) {
    let copying = async {
        let (upgraded, bare) = tokio::join!(upgrade, backend.upgraded());
        let mut client = hyper_util::rt::TokioIo::new(upgraded.map_err(std::io::Error::other)?);
        let (mut server, first) = bare.ok_or(std::io::ErrorKind::ConnectionReset)?;
        client.write_all(&first).await?;
        copy_bidirectional(&mut client, &mut server).await
    };
    tokio::select! {
        copied = copying => if let Err(error) = copied {
            tracing::debug!(%error, "a tunnel ended");
        },
        () = flight.client.closed() => {}
    }
}
