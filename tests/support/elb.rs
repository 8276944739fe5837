//! ELBv2 as AWS's documents have it, where emulators are more lenient: targets are `initial` until a
//! check of theirs has passed, `unhealthy` when nothing answers at their port, `unused` where no rule
//! names their group, and `draining` when they are taken out. Its listener forwards what it is asked
//! by the weights of the rule, to targets that answer.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::aws::{Answer, Asked, FakeAws, refusal};
use super::elb_rules::{Beside, Fields, values};

const OF: &str = "arn:aws:elasticloadbalancing:eu-central-1:123456789012";

/// The listener, the rule, the load balancer.
pub const LISTENER: &str = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener/app/edge/50dc6c495c0c9188/0467ef3c8400ae65";
pub const RULE: &str = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener-rule/app/edge/50dc6c495c0c9188/0467ef3c8400ae65/1291d13826f405c3";
pub const BALANCER: &str =
    "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/edge/50dc6c495c0c9188";

/// Where the service's own rule stands.
pub const PRIORITY: u32 = 100;

/// How often a target that is taken out is shown as draining.
const DRAINS: usize = 2;

/// A target of a group.
#[derive(Debug, Clone)]
struct Target {
    /// How often it is `initial` yet.
    initial: usize,
    /// How often it is `draining` yet, where it has been taken out.
    draining: Option<usize>,
}

/// A target group.
#[derive(Debug, Clone)]
pub struct Group {
    pub kind: &'static str,
    pub protocol: &'static str,
    pub balancer: Option<&'static str>,
    targets: BTreeMap<(String, u16), Target>,
}

#[derive(Default)]
struct State {
    groups: BTreeMap<String, Group>,
    actions: BTreeMap<String, Vec<Fields>>,
    /// The service's own rule, and others, by their ARNs.
    rules: BTreeMap<String, Beside>,
    /// How many there have been.
    made: usize,
    tags: BTreeMap<String, BTreeMap<String, String>>,
    /// How often new targets are `initial`.
    initial: usize,
    /// Why nothing is healthy, whatever answers.
    ill: Option<&'static str>,
    /// Whether it says yes and does nothing.
    deaf: bool,
    turn: u32,
}

/// ELBv2, ended when it is dropped.
pub struct Elb {
    pub api: FakeAws,
    pub at: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap()
}

/// The ARN of a group.
pub fn group(name: &str) -> String {
    format!("{OF}:targetgroup/{name}/73e2d6bc24d8a067")
}

impl Elb {
    /// With a rule that answers 404 by itself, and some groups.
    pub async fn start() -> Self {
        Self::at(([127, 0, 0, 1], 0).into()).await
    }

    /// As [`Elb::start`], with its listener there.
    pub async fn at(at: SocketAddr) -> Self {
        let mut state = State::default();
        for name in ["blue", "green", "old", "older", "other", "others"] {
            let new = Group {
                kind: "ip",
                protocol: "HTTP",
                balancer: Some(BALANCER),
                targets: BTreeMap::new(),
            };
            state.groups.insert(group(name), new);
        }
        for arn in [LISTENER, RULE] {
            let fields = [
                ("Type", "fixed-response"),
                ("Order", "1"),
                ("FixedResponseConfig.StatusCode", "404"),
                ("FixedResponseConfig.ContentType", "text/plain"),
                ("FixedResponseConfig.MessageBody", "nobody"),
            ];
            let fields = fields.map(|(key, value)| (key.into(), value.into()));
            state.actions.insert(arn.into(), vec![fields.into()]);
        }
        let own = Beside {
            priority: PRIORITY,
            conditions: Vec::new(),
        };
        state.rules.insert(RULE.into(), own);
        let state = Arc::new(Mutex::new(state));
        let listener = TcpListener::bind(at).await.unwrap();
        let (of_api, of_listener) = (Arc::clone(&state), Arc::clone(&state));
        Self {
            api: FakeAws::start(move |asked| answer(&mut lock(&of_api), asked)).await,
            at: listener.local_addr().unwrap(),
            state,
            task: tokio::spawn(listen(listener, of_listener)),
        }
    }

    /// New targets are `initial` for so many looks.
    pub fn initial(&self, looks: usize) {
        lock(&self.state).initial = looks;
    }

    /// Nothing is healthy any more, for this reason; or what answers is.
    pub fn ill(&self, why: Option<&'static str>) {
        lock(&self.state).ill = why;
    }

    /// It says yes and does nothing; or what it is told.
    pub fn deaf(&self, deaf: bool) {
        lock(&self.state).deaf = deaf;
    }

    /// Changes a group by hand.
    pub fn group(&self, name: &str, change: impl FnOnce(&mut Group)) {
        change(lock(&self.state).groups.get_mut(&group(name)).unwrap());
    }

    /// Puts a target into a group by hand.
    pub fn register(&self, name: &str, at: SocketAddr) {
        let target = Target {
            initial: 0,
            draining: None,
        };
        self.group(name, |group| {
            let key = (at.ip().to_string(), at.port());
            group.targets.insert(key, target);
        });
    }

    /// What hangs on a group.
    pub fn targets(&self, name: &str) -> Vec<u16> {
        let state = lock(&self.state);
        let targets = state.groups[&group(name)].targets.iter();
        let there = targets.filter(|(_, target)| target.draining.is_none());
        there.map(|((_, port), _)| *port).collect()
    }

    /// The weights of the rule, by the names of the groups.
    pub fn weights(&self) -> Vec<(String, u32)> {
        let state = lock(&self.state);
        let shares = shares(&state.actions[RULE]).into_iter();
        let name = |arn: String| arn.split('/').nth(1).unwrap().to_owned();
        shares.map(|(arn, weight)| (name(arn), weight)).collect()
    }

    /// Gives the rule these weights by hand.
    pub fn set_weights(&self, weights: &[(&str, u32)]) {
        self.set_actions(vec![leads(weights)]);
    }

    /// Gives the rule these actions by hand.
    pub fn set_actions(&self, actions: Vec<Fields>) {
        lock(&self.state).actions.insert(RULE.into(), actions);
    }

    /// All that is said of the rule, and of the listener.
    pub fn actions(&self) -> [Vec<Fields>; 2] {
        let state = lock(&self.state);
        [RULE, LISTENER].map(|arn| state.actions[arn].clone())
    }

    /// Changes the rules of the listener by hand.
    pub fn rules(&self, change: impl FnOnce(&mut BTreeMap<String, Beside>)) {
        change(&mut lock(&self.state).rules);
    }

    /// Makes a rule by hand, which leads to a group; its ARN.
    pub fn add_rule(&self, priority: u32, conditions: Vec<Fields>, name: &str) -> String {
        let mut state = lock(&self.state);
        let arn = new_rule(&mut state, priority, conditions);
        state.actions.insert(arn.clone(), vec![leads(&[(name, 1)])]);
        arn
    }

    /// The rules beside the service's own: their ARNs, where they stand, and where they lead.
    pub fn beside(&self) -> Vec<(String, u32, Vec<String>)> {
        let state = lock(&self.state);
        let others = state.rules.iter().filter(|(arn, _)| *arn != RULE);
        let name = |(arn, _): (String, u32)| arn.split('/').nth(1).unwrap().to_owned();
        let row = |(arn, rule): (&String, &Beside)| {
            let groups = shares(&state.actions[arn]).into_iter().map(name);
            (arn.clone(), rule.priority, groups.collect())
        };
        others.map(row).collect()
    }

    /// The conditions of a rule.
    pub fn conditions(&self, arn: &str) -> Vec<Fields> {
        lock(&self.state).rules[arn].conditions.clone()
    }

    /// Has a rule lead to this group, by hand.
    pub fn lead(&self, arn: &str, name: &str) {
        let actions = vec![leads(&[(name, 1)])];
        lock(&self.state).actions.insert(arn.into(), actions);
    }

    /// The tags of any of them.
    pub fn tags_of(&self, arn: &str) -> BTreeMap<String, String> {
        lock(&self.state).tags.get(arn).cloned().unwrap_or_default()
    }

    /// The rule's tags.
    pub fn tags(&self) -> BTreeMap<String, String> {
        lock(&self.state)
            .tags
            .get(RULE)
            .cloned()
            .unwrap_or_default()
    }

    /// Puts these tags in the place of the rule's.
    pub fn set_tags(&self, tags: BTreeMap<String, String>) {
        lock(&self.state).tags.insert(RULE.into(), tags);
    }
}

impl Drop for Elb {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An action that leads to these groups.
fn leads(weights: &[(&str, u32)]) -> Fields {
    let mut fields: Fields = [("Type", "forward"), ("Order", "1")]
        .map(|(k, v)| (k.into(), v.into()))
        .into();
    for (at, (name, weight)) in weights.iter().enumerate() {
        let of = format!("ForwardConfig.TargetGroups.member.{}", at + 1);
        fields.insert(format!("{of}.TargetGroupArn"), group(name));
        fields.insert(format!("{of}.Weight"), weight.to_string());
    }
    fields
}

fn new_rule(state: &mut State, priority: u32, conditions: Vec<Fields>) -> String {
    state.made += 1;
    let before = RULE.rsplit_once('/').unwrap().0;
    let arn = format!("{before}/{:016x}", state.made);
    let rule = Beside {
        priority,
        conditions,
    };
    state.rules.insert(arn.clone(), rule);
    arn
}

/// The groups of a forwarding action, and their weights.
fn shares(actions: &[Fields]) -> Vec<(String, u32)> {
    let Some(last) = actions.last() else {
        return Vec::new();
    };
    (1..=5)
        .filter_map(|at| {
            let of = format!("ForwardConfig.TargetGroups.member.{at}");
            let weight = last.get(&format!("{of}.Weight"));
            let group = last.get(&format!("{of}.TargetGroupArn"))?;
            Some((group.clone(), weight.map_or(1, |it| it.parse().unwrap())))
        })
        .collect()
}

fn answers(at: &(String, u16)) -> bool {
    let at = SocketAddr::new(at.0.parse().unwrap(), at.1);
    TcpStream::connect_timeout(&at, Duration::from_millis(200)).is_ok()
}

// What is asked of it, in AWS's query protocol.

fn form(body: &str) -> Fields {
    let plain = |text: &str| {
        let text = text.replace('+', " ");
        let decoded = percent_encoding::percent_decode_str(&text);
        decoded.decode_utf8().unwrap().into_owned()
    };
    let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(key, value)| (plain(key), plain(value)))
        .collect()
}

/// The items of a list, each with what is said of it.
fn members(form: &Fields, list: &str) -> Vec<Fields> {
    let of = |at: usize| -> Fields {
        let prefix = format!("{list}.member.{at}");
        let said = form.iter().filter_map(|(key, value)| {
            let rest = key.strip_prefix(&prefix)?;
            let rest = match rest {
                "" => "",
                rest => rest.strip_prefix('.')?,
            };
            Some((rest.to_owned(), value.clone()))
        });
        said.collect()
    };
    (1..).map(of).take_while(|item| !item.is_empty()).collect()
}

fn answer(state: &mut State, asked: &Asked) -> Answer {
    let form = form(&asked.body);
    let what = form["Action"].as_str();
    match result(state, what, &form) {
        Ok(result) => {
            let body = format!(
                "<{what}Response xmlns=\"http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/\">\
                 <{what}Result>{result}</{what}Result>\
                 <ResponseMetadata><RequestId>request-of-the-test</RequestId></ResponseMetadata>\
                 </{what}Response>"
            );
            (200, body)
        }
        Err((code, message)) => refusal(400, code, &message),
    }
}

type Refusal = (&'static str, String);

fn result(state: &mut State, what: &str, form: &Fields) -> Result<String, Refusal> {
    match what {
        "DescribeListeners" => {
            let arn = &form["ListenerArns.member.1"];
            let actions = state.actions.get(arn);
            let actions = actions.ok_or(("ListenerNotFound", "not found".to_owned()))?;
            Ok(format!(
                "<Listeners><member><ListenerArn>{arn}</ListenerArn><DefaultActions>{}</DefaultActions></member></Listeners>",
                written(actions)
            ))
        }
        "DescribeRules" => {
            let all = state.rules.iter();
            let found: Vec<_> = match form.get("ListenerArn") {
                // In two pages, where there are enough for that.
                Some(_) => match form.get("Marker") {
                    None => all.take(2).collect(),
                    Some(_) => all.skip(2).collect(),
                },
                None => all
                    .filter(|(arn, _)| **arn == form["RuleArns.member.1"])
                    .collect(),
            };
            let is_more = form.contains_key("ListenerArn") && !form.contains_key("Marker");
            let next = match is_more && state.rules.len() > 2 {
                true => "<NextMarker>more</NextMarker>",
                false => "",
            };
            if found.is_empty() && !form.contains_key("ListenerArn") {
                return Err(("RuleNotFound", "not found".to_owned()));
            }
            let rules = found.into_iter().map(|(arn, rule)| {
                let conditions = rule.conditions.iter().map(|condition| {
                    let plain: String = match condition["Field"].as_str() {
                        // AWS tells it twice.
                        "host-header" => values(condition)
                            .iter()
                            .map(|value| format!("<member>{value}</member>"))
                            .collect(),
                        _ => String::new(),
                    };
                    format!(
                        "<member>{}<Values>{plain}</Values></member>",
                        tree(condition)
                    )
                });
                format!(
                    "<member><RuleArn>{arn}</RuleArn><Priority>{}</Priority>\
                     <Conditions>{}</Conditions><Actions>{}</Actions></member>",
                    rule.priority,
                    conditions.collect::<String>(),
                    written(&state.actions[arn])
                )
            });
            let default = format!(
                "<member><RuleArn>{RULE}d</RuleArn><Priority>default</Priority>\
                 <IsDefault>true</IsDefault><Actions>{}</Actions></member>",
                written(&state.actions[LISTENER])
            );
            let default = match form.contains_key("ListenerArn") && next.is_empty() {
                true => default,
                false => String::new(),
            };
            let rules: String = rules.collect();
            Ok(format!("<Rules>{rules}{default}</Rules>{next}"))
        }
        "CreateRule" => {
            let conditions = members(form, "Conditions");
            let priority: u32 = form["Priority"].parse().unwrap();
            let actions = members(form, "Actions");
            if state.rules.values().any(|rule| rule.priority == priority) {
                return Err(("PriorityInUse", format!("{priority}")));
            }
            if conditions.iter().flat_map(values).count() > 5 {
                return Err(("ValidationError", "more than 5 values".into()));
            }
            let hosts = |it: &&Fields| it["Field"] == "host-header";
            let is_twice = |it: &Fields| it.keys().any(|key| key.starts_with("Values."));
            if conditions.iter().filter(hosts).count() > 1 || conditions.iter().any(is_twice) {
                return Err(("ValidationError", "hosts twice".into()));
            }
            if state.deaf {
                return Ok(String::new());
            }
            for (group, _) in shares(&actions) {
                state.groups.get_mut(&group).unwrap().balancer = Some(BALANCER);
            }
            let arn = new_rule(state, priority, conditions);
            let tags = members(form, "Tags").into_iter();
            let tags = tags.map(|tag| (tag["Key"].clone(), tag["Value"].clone()));
            state.tags.insert(arn.clone(), tags.collect());
            state.actions.insert(arn, actions);
            Ok(String::new())
        }
        "DeleteRule" => {
            let arn = &form["RuleArn"];
            if !state.deaf {
                let gone = state.rules.remove(arn);
                gone.ok_or(("RuleNotFound", "not found".to_owned()))?;
                state.actions.remove(arn);
                state.tags.remove(arn);
            }
            Ok(String::new())
        }
        "ModifyRule" | "ModifyListener" => {
            let (arn, list) = match what {
                "ModifyRule" => (&form["RuleArn"], "Actions"),
                _ => (&form["ListenerArn"], "DefaultActions"),
            };
            let actions = members(form, list);
            let shares = shares(&actions);
            if shares.len() > 5 {
                return Err(("TooManyTargetGroups", "more than 5".into()));
            }
            if let Some((group, weight)) = shares.iter().find(|(_, weight)| *weight > 999) {
                return Err(("ValidationError", format!("{weight} of {group}")));
            }
            if let Some((group, _)) = shares.iter().find(|it| !state.groups.contains_key(&it.0)) {
                return Err(("TargetGroupNotFound", group.clone()));
            }
            for (group, _) in &shares {
                state.groups.get_mut(group).unwrap().balancer = Some(BALANCER);
            }
            if !state.deaf {
                state.actions.insert(arn.clone(), actions);
            }
            Ok(String::new())
        }
        "DescribeTargetGroups" => {
            let wanted = form.get("Names.member.1").map(|name| group(name));
            let wanted = wanted.or_else(|| form.get("TargetGroupArns.member.1").cloned());
            let arn = wanted.unwrap();
            let found = state.groups.get(&arn);
            let found = found.ok_or(("TargetGroupNotFound", "not found".to_owned()))?;
            let balancer = found.balancer.map(|arn| format!("<member>{arn}</member>"));
            Ok(format!(
                "<TargetGroups><member><TargetGroupArn>{arn}</TargetGroupArn><TargetType>{}</TargetType>\
                 <Protocol>{}</Protocol><LoadBalancerArns>{}</LoadBalancerArns></member></TargetGroups>",
                found.kind,
                found.protocol,
                balancer.unwrap_or_default()
            ))
        }
        "DescribeTags" => {
            let arns = (1..).map_while(|at| form.get(&format!("ResourceArns.member.{at}")));
            let arns: Vec<&String> = arns.collect();
            if arns.len() > 20 {
                return Err(("ValidationError", "more than 20 resources".into()));
            }
            let of = |arn: &&String| {
                let tags = state.tags.get(*arn).cloned().unwrap_or_default();
                let tags: String = tags
                    .iter()
                    .map(|(k, v)| format!("<member><Key>{k}</Key><Value>{v}</Value></member>"))
                    .collect();
                format!("<member><ResourceArn>{arn}</ResourceArn><Tags>{tags}</Tags></member>")
            };
            let all: String = arns.iter().map(of).collect();
            Ok(format!("<TagDescriptions>{all}</TagDescriptions>"))
        }
        "AddTags" => {
            let tags = state
                .tags
                .entry(form["ResourceArns.member.1"].clone())
                .or_default();
            for tag in members(form, "Tags") {
                let allowed = |it: char| it.is_alphanumeric() || " _.:/=+-@".contains(it);
                let (key, value) = (tag["Key"].clone(), tag["Value"].clone());
                if key.len() > 128 || value.len() > 256 || !value.chars().all(allowed) {
                    return Err(("ValidationError", format!("tag {key}")));
                }
                tags.insert(key, value);
            }
            match tags.len() > 50 {
                true => Err(("TooManyTags", "more than 50".into())),
                false => Ok(String::new()),
            }
        }
        "RemoveTags" => {
            let tags = state
                .tags
                .entry(form["ResourceArns.member.1"].clone())
                .or_default();
            for key in members(form, "TagKeys") {
                tags.remove(&key[""]);
            }
            Ok(String::new())
        }
        "DescribeTargetHealth" => Ok(health(state, &form["TargetGroupArn"])),
        "RegisterTargets" | "DeregisterTargets" => {
            let initial = state.initial;
            let group = state.groups.get_mut(&form["TargetGroupArn"]).unwrap();
            for target in members(form, "Targets") {
                let key = (target["Id"].clone(), target["Port"].parse().unwrap());
                if what == "RegisterTargets" {
                    let new = Target {
                        initial,
                        draining: None,
                    };
                    group.targets.insert(key, new);
                } else if let Some(gone) = group.targets.get_mut(&key) {
                    gone.draining = Some(DRAINS);
                }
            }
            Ok(String::new())
        }
        other => Err(("InvalidAction", other.to_owned())),
    }
}

/// Actions in AWS's own form: one group alone is told twice.
fn written(actions: &[Fields]) -> String {
    actions
        .iter()
        .map(|fields| {
            let mut all = tree(fields);
            let shares = shares(std::slice::from_ref(fields));
            if let [(group, _)] = shares.as_slice() {
                all += &format!("<TargetGroupArn>{group}</TargetGroupArn>");
            }
            format!("<member>{all}</member>")
        })
        .collect()
}

/// Fields with dots as elements in elements.
fn tree(fields: &Fields) -> String {
    let mut names: Vec<&str> = fields
        .keys()
        .map(|key| key.split('.').next().unwrap())
        .collect();
    names.dedup();
    let of = |name: &str| {
        if let Some(text) = fields.get(name) {
            return format!("<{name}>{text}</{name}>");
        }
        let prefix = format!("{name}.");
        let under = fields.iter().filter_map(|(key, value)| {
            Some((key.strip_prefix(&prefix)?.to_owned(), value.clone()))
        });
        let under: Fields = under.collect();
        let items = members(
            &under
                .iter()
                .map(|(k, v)| (format!("x.{k}"), v.clone()))
                .collect(),
            "x",
        );
        match items.is_empty() {
            true => format!("<{name}>{}</{name}>", tree(&under)),
            false => {
                let items = items.iter().map(|item| match item.get("") {
                    Some(text) => format!("<member>{text}</member>"),
                    None => format!("<member>{}</member>", tree(item)),
                });
                format!("<{name}>{}</{name}>", items.collect::<String>())
            }
        }
    };
    names.into_iter().map(of).collect()
}

fn health(state: &mut State, arn: &str) -> String {
    let is_used = state
        .actions
        .values()
        .any(|it| shares(it).iter().any(|(group, _)| group == arn));
    let ill = state.ill;
    let group = state.groups.get_mut(arn).unwrap();
    let mut rows = String::new();
    for (key, target) in &mut group.targets {
        let (health, reason, words) = match (&mut target.draining, is_used, ill) {
            (Some(left), _, _) => {
                *left = left.saturating_sub(1);
                (
                    "draining",
                    "Target.DeregistrationInProgress",
                    "Target deregistration is in progress",
                )
            }
            (None, false, _) => (
                "unused",
                "Target.NotInUse",
                "Target group is not configured to receive traffic",
            ),
            (None, true, _) if target.initial > 0 => {
                target.initial -= 1;
                (
                    "initial",
                    "Elb.RegistrationInProgress",
                    "Target registration is in progress",
                )
            }
            (None, true, Some(why)) => ("unhealthy", "Target.ResponseCodeMismatch", why),
            (None, true, None) => match answers(key) {
                true => ("healthy", "", ""),
                false => (
                    "unhealthy",
                    "Target.FailedHealthChecks",
                    "Health checks failed",
                ),
            },
        };
        let why = match reason {
            "" => String::new(),
            _ => format!("<Reason>{reason}</Reason><Description>{words}</Description>"),
        };
        rows += &format!(
            "<member><Target><Id>{}</Id><Port>{}</Port></Target>\
             <TargetHealth><State>{health}</State>{why}</TargetHealth></member>",
            key.0, key.1
        );
    }
    group.targets.retain(|_, target| target.draining != Some(0));
    format!("<TargetHealthDescriptions>{rows}</TargetHealthDescriptions>")
}

// What its listener does.

async fn listen(listener: TcpListener, state: Arc<Mutex<State>>) {
    while let Ok((client, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        let service = service_fn(move |request| forward(Arc::clone(&state), request));
        let served = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(client), service);
        // A client that goes away is its own affair.
        tokio::spawn(async move { served.await.ok() });
    }
}

/// Where the next request goes.
fn next(state: &mut State, headers: &hyper::HeaderMap) -> Option<SocketAddr> {
    let asked = state
        .rules
        .iter()
        .filter(|(_, rule)| rule.is_asked(headers));
    let first = asked.min_by_key(|(_, rule)| rule.priority);
    let rule = first.map_or(LISTENER, |(arn, _)| arn.as_str());
    let shares = shares(&state.actions[rule]);
    let all: u32 = shares.iter().map(|(_, weight)| weight).sum();
    state.turn += 1;
    let mut number = state.turn.checked_rem(all)?;
    let (group, _) = shares.into_iter().find(|(_, weight)| {
        let is_it = number < *weight;
        number = number.saturating_sub(*weight);
        is_it
    })?;
    let targets = state.groups[&group].targets.iter();
    let there: Vec<_> = targets
        .filter(|(_, target)| target.draining.is_none())
        .collect();
    let ((ip, port), _) = there.get(state.turn as usize % there.len().max(1))?;
    Some(SocketAddr::new(ip.parse().ok()?, *port))
}

async fn forward(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let own = |status: StatusCode| {
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = status;
        Ok(answer)
    };
    let to = next(&mut lock(&state), request.headers());
    let Some(to) = to else {
        return own(StatusCode::SERVICE_UNAVAILABLE);
    };
    let Ok(stream) = tokio::net::TcpStream::connect(to).await else {
        return own(StatusCode::BAD_GATEWAY);
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move { connection.await.ok() });
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = head.status;
    Ok(answer)
}
