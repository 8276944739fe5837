//! Pieces of the pool that look free and that the engine refuses.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bollard::errors::Error;
use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use flipside::engine::Engine;
use flipside::engine::docker::Docker;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use super::stand_up::simple;
use super::{failure, try_up, up};
use crate::plan_file::fixture::{Fixture, with_top};
use crate::proxy_server::kit::backend;
use crate::support::docker::{Scope, api, get_soon};

/// The label of networks that a relay can hide.
const HIDDEN: &str = "test.hidden";

/// What a relay does to calls about networks.
#[derive(Clone, Copy, PartialEq)]
enum Ruse {
    /// Leaves those labelled [`HIDDEN`] out of every list.
    Hide,
    /// Refuses to make any, as an engine does whose ranges are taken: in its words.
    Refuse(&'static str),
}

/// The subnets that networks were asked for, in order.
type Asked = Arc<Mutex<Vec<String>>>;

/// Puts a relay between `scope` and its engine. It is reached over TCP, so that the routes of this
/// machine are not looked at.
async fn relay(scope: &mut Scope, ruse: Ruse) -> Asked {
    let socket = scope.engine.address().trim_start_matches("unix://");
    let socket: Arc<Path> = Path::new(socket).into();
    let asked = Asked::default();
    let log = asked.clone();
    let address = backend(move |request| {
        let (socket, log) = (socket.clone(), log.clone());
        async move { answer(request, &socket, ruse, &log).await }
    });
    let address = format!("tcp://{}", address.await);
    scope.engine = Docker::connect(Some(&address)).await.unwrap();
    asked
}

async fn answer(
    request: Request<Incoming>,
    socket: &Path,
    ruse: Ruse,
    asked: &Asked,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let is = |method, path| head.method == method && head.uri.path().ends_with(path);
    let lists = is(Method::GET, "/networks");
    if is(Method::POST, "/networks/create") {
        let wanted: Value = serde_json::from_slice(&body).unwrap();
        let subnet = wanted["IPAM"]["Config"][0]["Subnet"].as_str().unwrap();
        asked.lock().unwrap().push(subnet.to_owned());
        if let Ruse::Refuse(words) = ruse {
            let words = json!({ "message": words });
            return Response::builder()
                .status(StatusCode::FORBIDDEN)
                .header(CONTENT_TYPE, "application/json")
                .body(words.to_string().into())
                .unwrap();
        }
    }
    let stream = UnixStream::connect(socket).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::from_parts(head, Full::new(body));
    request.headers_mut().remove(TRANSFER_ENCODING);
    let answer = sender.send_request(request).await.unwrap();
    let (mut head, body) = answer.into_parts();
    let mut body = body.collect().await.unwrap().to_bytes();
    if ruse == Ruse::Hide && lists {
        let mut networks: Vec<Value> = serde_json::from_slice(&body).unwrap();
        networks.retain(|network| network["Labels"].get(HIDDEN).is_none());
        body = serde_json::to_vec(&networks).unwrap().into();
    }
    // The server writes those that fit.
    head.headers.remove(TRANSFER_ENCODING);
    head.headers.remove(CONTENT_LENGTH);
    Response::from_parts(head, body.into())
}

/// Takes a piece of a range, on the engine itself; whether it was free.
async fn take(scope: &Scope, base: Ipv4Addr) -> bool {
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let request = NetworkCreateRequest {
        name: format!("taken-{}-{base}", scope.service),
        ipam: Some(Ipam {
            config: Some(vec![IpamConfig {
                subnet: Some(format!("{base}/26")),
                ..Default::default()
            }]),
            ..Default::default()
        }),
        labels: Some(HashMap::from([
            label("flipside.service", scope.service.as_str()),
            label(HIDDEN, "yes"),
        ])),
        ..Default::default()
    };
    match api().create_network(request).await {
        Ok(_) => true,
        Err(Error::DockerResponseServerError {
            status_code: 403, ..
        }) => false,
        Err(error) => panic!("{error}"),
    }
}

/// A range of four pieces whose first three are taken.
async fn nearly_full(scope: &Scope) -> [Ipv4Addr; 4] {
    for _ in 0..16 {
        let [x, y, ..] = getrandom::u32().unwrap().to_be_bytes();
        let pieces = [0, 64, 128, 192].map(|last| Ipv4Addr::new(10, 215 + x % 8, y, last));
        if take(scope, pieces[0]).await
            && take(scope, pieces[1]).await
            && take(scope, pieces[2]).await
        {
            return pieces;
        }
    }
    panic!("sixteen ranges are taken");
}

/// Holds that a hint names the plan's own key for the range, by writing it into a plan.
#[track_caller]
pub fn assert_mends(hint: &str) {
    let key = hint.split('`').find(|word| word.starts_with("pools"));
    let line = key.unwrap().replace('…', "10.9.0.0/16");
    let plan = Fixture::new().load(with_top(&line)).map(|it| it.plan);
    let plan = plan.unwrap_or_else(|error| panic!("{hint}\n{error}"));
    assert_eq!(plan.pools.networks, (Ipv4Addr::new(10, 9, 0, 0), 16));
}

#[tokio::test]
async fn a_piece_that_the_engine_refuses_is_passed_over() {
    let mut scope = Scope::new().await;
    let pieces = nearly_full(&scope).await;
    let asked = relay(&mut scope, Ruse::Hide).await;
    let mut spec = simple(&scope, 1);
    spec.plan.pools.networks = (pieces[0], 24);
    let endpoint = up(&scope, &spec).await.endpoints()[0];
    assert_eq!(
        *asked.lock().unwrap(),
        pieces.map(|base| format!("{base}/26"))
    );
    let [a, b, c, last] = pieces[3].octets();
    assert_eq!(
        endpoint.to_string(),
        format!("{a}.{b}.{c}.{}:8080", last + 2)
    );
    let (status, body) = get_soon(endpoint, "/env?VERSION").await;
    assert_eq!((status, body.as_str()), (200, "one"));
}

#[tokio::test]
async fn after_sixteen_refused_pieces_the_plans_range_is_named() {
    let bridge = "conflicts with network 4e11 (br-4e11): networks have overlapping IPv4";
    for words in ["Pool overlaps with other one on this address space", bridge] {
        sixteen_are_refused(words).await;
    }
}

async fn sixteen_are_refused(words: &'static str) {
    let mut scope = Scope::new().await;
    let asked = relay(&mut scope, Ruse::Refuse(words)).await;
    let failed = failure(try_up(&scope, &simple(&scope, 1)).await.unwrap_err());
    let name = format!("0-flipside.{}.1", scope.service);
    assert_eq!(
        failed.what,
        format!(
            "the engine refused 16 pieces of 10.213.0.0/16 for the network `{name}`: \
             {words}"
        )
    );
    assert_mends(&failed.hint.unwrap());
    let asked = asked.lock().unwrap().clone();
    let distinct: BTreeSet<_> = asked.iter().collect();
    assert_eq!((asked.len(), distinct.len()), (16, 16), "{asked:?}");
    assert_eq!(scope.parts().await, [""; 0]);
}
