//! Route 53 as AWS's documents have it, where emulators are more lenient: batches are all or nothing,
//! DELETE wants exactly what stands there, CREATE nothing of that name, and a change is PENDING until
//! it is INSYNC. Its name servers answer what was INSYNC last.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::aws::{Answer, Asked, FakeAws, refusal};
use super::xml::Element;

/// The hosted zone that is there.
pub const ID: &str = "Z0123456789ABC";

/// Its name.
pub const ZONE: &str = "example.org";

/// How many sets a page of a list has: fewer than AWS's 300, so that tests see a second.
const PAGE: usize = 2;

#[derive(Default)]
struct State {
    sets: Vec<Element>,
    /// What the name servers say.
    served: Vec<Element>,
    /// How often each change is PENDING yet.
    changes: BTreeMap<String, usize>,
    /// How often the next ones will be.
    pending: usize,
    /// Whether name servers hear of nothing.
    stuck: bool,
    answered: usize,
}

/// Route 53, ended when it is dropped.
pub struct Route53 {
    pub api: FakeAws,
    /// Its name server.
    pub server: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap()
}

impl Route53 {
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = socket.local_addr().unwrap();
        let (of_api, of_server) = (Arc::clone(&state), Arc::clone(&state));
        Self {
            api: FakeAws::start(move |asked| answer(&mut lock(&of_api), asked)).await,
            server,
            state,
            task: tokio::spawn(serve(socket, of_server)),
        }
    }

    /// Changes are PENDING for so many looks from now on.
    pub fn pending(&self, looks: usize) {
        lock(&self.state).pending = looks;
    }

    /// Its name servers hear of no change, or of all again.
    pub fn stuck(&self, stuck: bool) {
        let mut state = lock(&self.state);
        state.stuck = stuck;
        serve_now(&mut state);
    }

    /// Puts a set there by hand, in AWS's own form without its name.
    pub fn by_hand(&self, name: &str, kind: &str, rest: &str) {
        let text = format!(
            "<ResourceRecordSet><Name>{name}.</Name><Type>{kind}</Type>{rest}</ResourceRecordSet>"
        );
        let mut state = lock(&self.state);
        state.sets.push(Element::read(&text));
        serve_now(&mut state);
    }

    /// Takes all sets of a name and type away by hand.
    pub fn without(&self, name: &str, kind: &str) {
        let mut state = lock(&self.state);
        state.sets.retain(|set| !is_of(set, name, kind));
        serve_now(&mut state);
    }

    /// All sets of a name and type, as they stand there.
    pub fn sets(&self, name: &str, kind: &str) -> Vec<String> {
        let state = lock(&self.state);
        let found = state.sets.iter().filter(|set| is_of(set, name, kind));
        found.map(Element::write).collect()
    }

    /// Everything that stands there.
    pub fn all(&self) -> Vec<String> {
        lock(&self.state).sets.iter().map(Element::write).collect()
    }

    /// The addresses and the weights of a name, in order.
    pub fn shares(&self, name: &str, kind: &str) -> Vec<(String, i64)> {
        shares(&lock(&self.state), name, kind)
    }

    /// The same, whenever it is asked for.
    pub fn watch(
        &self,
        name: &'static str,
        kind: &'static str,
    ) -> impl Fn() -> Vec<(String, i64)> + Send + 'static {
        let state = Arc::clone(&self.state);
        move || shares(&lock(&state), name, kind)
    }
}

fn shares(state: &State, name: &str, kind: &str) -> Vec<(String, i64)> {
    let found = state.sets.iter().filter(|set| is_of(set, name, kind));
    let mut shares: Vec<(String, i64)> = found
        .map(|set| {
            let weight = set.get("Weight").map(|weight| weight.parse().unwrap());
            (values(set).join(","), weight.unwrap_or(-1))
        })
        .collect();
    shares.sort();
    shares
}

impl Drop for Route53 {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn serve_now(state: &mut State) {
    if !state.stuck {
        state.served = state.sets.clone();
    }
}

fn name(set: &Element) -> &str {
    set.get("Name").unwrap().trim_end_matches('.')
}

fn is_of(set: &Element, of: &str, kind: &str) -> bool {
    name(set) == of && set.get("Type") == Some(kind)
}

fn values(set: &Element) -> Vec<String> {
    let records = set.child("ResourceRecords");
    let records = records.into_iter().flat_map(|records| &records.children);
    let values = records.map(|record| record.get("Value").unwrap().to_owned());
    values.collect()
}

fn answer(state: &mut State, asked: &Asked) -> Answer {
    let path = asked.path.trim_start_matches("/2013-04-01/");
    let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    match (asked.method.as_str(), parts.as_slice()) {
        (_, ["hostedzone", id, ..]) if *id != ID => refusal(
            404,
            "NoSuchHostedZone",
            &format!("No hosted zone found with ID: {id}"),
        ),
        ("GET", ["hostedzone", _]) => hosted_zone(),
        ("GET", ["hostedzone", _, "rrset"]) => list(state, asked),
        ("POST", ["hostedzone", _, "rrset"]) => change(state, &asked.body),
        ("GET", ["change", id]) => status(state, id),
        _ => refusal(400, "InvalidAction", &format!("{asked:?}")),
    }
}

fn document(inner: &str) -> Answer {
    (200, format!("<?xml version=\"1.0\"?>\n{inner}"))
}

fn hosted_zone() -> Answer {
    document(&format!(
        "<GetHostedZoneResponse><HostedZone><Id>/hostedzone/{ID}</Id><Name>{ZONE}.</Name>\
         <CallerReference>test</CallerReference></HostedZone><DelegationSet><NameServers>\
         </NameServers></DelegationSet></GetHostedZoneResponse>"
    ))
}

/// In AWS's order: labels from the last to the first, then the type, then the identifier.
fn order(set: &Element) -> (Vec<String>, String, String) {
    let text = |key| set.get(key).unwrap_or_default().to_owned();
    let mut labels: Vec<String> = name(set).split('.').map(str::to_owned).collect();
    labels.reverse();
    (labels, text("Type"), text("SetIdentifier"))
}

fn list(state: &State, asked: &Asked) -> Answer {
    let query = |key| asked.query(key).unwrap_or_default();
    let from = format!(
        "<X><Name>{}</Name><Type>{}</Type><SetIdentifier>{}</SetIdentifier></X>",
        query("name"),
        query("type"),
        query("identifier")
    );
    let from = order(&Element::read(&from));
    let mut sets: Vec<&Element> = state.sets.iter().filter(|set| order(set) >= from).collect();
    sets.sort_by_key(|set| order(set));
    let shown: String = sets.iter().take(PAGE).map(|set| set.write()).collect();
    let next = sets.get(PAGE).map_or_else(String::new, |next| {
        let id = next.get("SetIdentifier").map_or_else(String::new, |id| {
            format!("<NextRecordIdentifier>{id}</NextRecordIdentifier>")
        });
        format!(
            "<NextRecordName>{}</NextRecordName><NextRecordType>{}</NextRecordType>{id}",
            next.get("Name").unwrap(),
            next.get("Type").unwrap()
        )
    });
    document(&format!(
        "<ListResourceRecordSetsResponse><ResourceRecordSets>{shown}</ResourceRecordSets>\
         <IsTruncated>{}</IsTruncated>{next}<MaxItems>{PAGE}</MaxItems></ListResourceRecordSetsResponse>",
        sets.len() > PAGE
    ))
}

fn status(state: &mut State, id: &str) -> Answer {
    let Some(left) = state.changes.get_mut(id) else {
        return refusal(404, "NoSuchChange", &format!("no change {id}"));
    };
    let is_pending = *left > 0;
    *left = left.saturating_sub(1);
    if !is_pending {
        serve_now(state);
    }
    document(&format!(
        "<GetChangeResponse>{}</GetChangeResponse>",
        info(id, is_pending)
    ))
}

fn info(id: &str, is_pending: bool) -> String {
    let status = if is_pending { "PENDING" } else { "INSYNC" };
    format!(
        "<ChangeInfo><Id>/change/{id}</Id><Status>{status}</Status>\
         <SubmittedAt>2026-01-01T00:00:00Z</SubmittedAt></ChangeInfo>"
    )
}

/// All of it or nothing.
fn change(state: &mut State, body: &str) -> Answer {
    let request = Element::read(body);
    let batch = request.child("ChangeBatch").unwrap();
    let mut sets = state.sets.clone();
    let mut wrong = Vec::new();
    for change in &batch.child("Changes").unwrap().children {
        let mut set = change.child("ResourceRecordSet").unwrap().clone();
        if let Some(name) = set.child_mut("Name")
            && !name.text.ends_with('.')
        {
            name.text.push('.');
        }
        if let Some(weight) = set.get("Weight")
            && !(0..=255).contains(&weight.parse::<i64>().unwrap())
        {
            let why = format!("Value {weight} at weight failed to satisfy constraint: 0 to 255");
            return refusal(400, "InvalidInput", &why);
        }
        wrong.extend(apply(&mut sets, change.get("Action").unwrap(), set));
    }
    if !wrong.is_empty() {
        let messages: String = wrong
            .iter()
            .map(|why| format!("<Message>{}</Message>", super::xml::escaped(why)))
            .collect();
        let body = format!(
            "<?xml version=\"1.0\"?>\n<InvalidChangeBatch><Messages>{messages}</Messages>\
             <RequestId>request-of-the-test</RequestId></InvalidChangeBatch>"
        );
        return (400, body);
    }
    state.sets = sets;
    let id = format!("C{}", state.changes.len() + 1);
    state.changes.insert(id.clone(), state.pending);
    if state.pending == 0 {
        serve_now(state);
    }
    document(&format!(
        "<ChangeResourceRecordSetsResponse>{}</ChangeResourceRecordSetsResponse>",
        info(&id, true)
    ))
}

/// The same in whichever order it is written.
fn sorted(element: &Element) -> Element {
    let mut children: Vec<Element> = element.children.iter().map(sorted).collect();
    children.sort_by_key(Element::write);
    Element {
        children,
        ..element.clone()
    }
}

/// Why one change cannot be made.
fn apply(sets: &mut Vec<Element>, action: &str, set: Element) -> Option<String> {
    let kind = set.get("Type").unwrap().to_owned();
    let (called, id) = (name(&set).to_owned(), set.get("SetIdentifier"));
    let shown = format!("[name='{called}.', type='{kind}', set identifier='{id:?}']");
    if called != ZONE && !called.ends_with(&format!(".{ZONE}")) {
        return Some(format!(
            "RRSet with DNS name {called}. is not permitted in zone {ZONE}."
        ));
    }
    if action == "DELETE" {
        let wanted = sorted(&set);
        let found = sets.iter().position(|known| sorted(known) == wanted);
        let Some(found) = found else {
            return Some(format!(
                "Tried to delete resource record set {shown} but it was not found"
            ));
        };
        sets.remove(found);
        return None;
    }
    assert_eq!(action, "CREATE");
    let alike = || sets.iter().filter(|known| is_of(known, &called, &kind));
    let beside = |known: &&Element| name(known) == called && known.get("Type") != Some(&kind);
    let is_cname = |known: &Element| known.get("Type") == Some("CNAME");
    if alike().any(|known| known.get("SetIdentifier") == id) {
        return Some(format!(
            "Tried to create resource record set {shown} but it already exists"
        ));
    }
    if alike().any(|known| known.get("SetIdentifier").is_some() != id.is_some()) {
        return Some(format!(
            "RRSet with DNS name {called}., type {kind} cannot be created as other RRSets exist with the same name and type"
        ));
    }
    if sets
        .iter()
        .filter(beside)
        .any(|known| is_cname(known) || kind == "CNAME")
    {
        return Some(format!(
            "RRSet of type {kind} with DNS name {called}. is not permitted as it conflicts with other records with the same DNS name"
        ));
    }
    if id.is_some() && values(&set).len() > 1 {
        return Some("a weighted record set has one ResourceRecord".to_owned());
    }
    if values(&set).iter().any(|value| value.len() > 4_000) {
        return Some("CharacterStringTooLong".to_owned());
    }
    sets.push(set);
    None
}

async fn serve(socket: UdpSocket, state: Arc<Mutex<State>>) {
    let mut bytes = vec![0; 4_096];
    while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
        let asked = Message::from_vec(&bytes[..length]).unwrap();
        let said = said(&mut lock(&state), &asked).to_vec().unwrap();
        socket.send_to(&said, from).await.unwrap();
    }
}

/// One of the sets, each in its turn, however they weigh.
fn said(state: &mut State, asked: &Message) -> Message {
    let question = &asked.queries[0];
    let mut said = Message::response(asked.metadata.id, asked.metadata.op_code);
    said.metadata.message_type = MessageType::Response;
    said.metadata.authoritative = true;
    said.metadata.response_code = ResponseCode::NoError;
    said.add_query(question.clone());
    let called = question.name().to_string();
    let kind = question.query_type();
    let sets = state.served.iter().filter(|set| {
        let is_used = set.get("Weight") != Some("0");
        is_of(set, called.trim_end_matches('.'), &kind.to_string()) && is_used
    });
    let sets: Vec<&Element> = sets.collect();
    state.answered += 1;
    if let Some(set) = sets.get(state.answered % sets.len().max(1)) {
        for value in values(set) {
            let data = match kind {
                RecordType::A => RData::A(A(value.parse().unwrap())),
                RecordType::AAAA => RData::AAAA(AAAA(value.parse().unwrap())),
                _ => RData::CNAME(CNAME(Name::from_ascii(value).unwrap())),
            };
            said.add_answer(Record::from_rdata(question.name().clone(), 1, data));
        }
    }
    said
}
