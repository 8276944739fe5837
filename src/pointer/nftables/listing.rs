//! A table as `nft -j list table` says it.
//!
//! Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::rules::{HOOKS, Lead, Listener, PREVIEW, SERVICE, Share, are_all};

/// What is in a table of flipside's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Table {
    /// Every rule: its chain and its handle.
    pub handles: Vec<(String, u64)>,
    /// The chains that are named after generations.
    pub marks: Vec<String>,
    /// The record, in pieces.
    pub pieces: Vec<String>,
    /// Sets of endpoints whose connections are reset.
    pub sets: Vec<String>,
    /// What is in these.
    pub cut: BTreeSet<SocketAddr>,
    /// Those of the service.
    pub shares: Vec<Share>,
    /// Those of the preview; none where it has no chain.
    pub preview: Option<Vec<Share>>,
    /// What is led where.
    pub leads: BTreeSet<Lead>,
    /// Whether the way to the shares has rules that flipside does not write.
    pub strange: bool,
}

impl Table {
    /// Reads it.
    pub(super) fn read(json: &str) -> Result<Self, String> {
        let said: Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let items = said["nftables"].as_array();
        let items = items.ok_or_else(|| "it lists no `nftables`".to_owned())?;
        let mut table = Self::default();
        for item in items {
            match item["chain"]["name"].as_str() {
                Some(name) if name.starts_with("generation_") => table.marks.push(name.to_owned()),
                Some(PREVIEW) => table.preview = Some(Vec::new()),
                _ => {}
            }
            if let Some(name) = item["set"]["name"].as_str()
                && name.starts_with("cut_")
            {
                table.sets.push(name.to_owned());
                let elements = item["set"]["elem"].as_array();
                table
                    .cut
                    .extend(elements.into_iter().flatten().filter_map(endpoint));
            }
            if let Some(rule) = item.get("rule") {
                table.rule(rule);
            }
        }
        table.shares.sort();
        table.preview.iter_mut().for_each(|shares| shares.sort());
        Ok(table)
    }

    fn rule(&mut self, rule: &Value) {
        let (Some(chain), Some(handle)) = (rule["chain"].as_str(), rule["handle"].as_u64()) else {
            return;
        };
        self.handles.push((chain.to_owned(), handle));
        let statements: Vec<&Value> = rule["expr"].as_array().into_iter().flatten().collect();
        match chain {
            SERVICE | PREVIEW => {
                let known = match chain {
                    SERVICE => &mut self.shares,
                    _ => self.preview.get_or_insert_default(),
                };
                match shares(&statements, known) {
                    Some(shares) => known.extend(shares),
                    None => self.strange = true,
                }
            }
            _ if HOOKS.contains(&chain) => match lead(chain, &statements) {
                Some(lead) => {
                    self.leads.insert(lead);
                }
                None => self.strange = true,
            },
            _ if chain.starts_with("generation_") => {
                let piece = rule["comment"].as_str();
                self.pieces.extend(piece.map(str::to_owned));
            }
            _ => {}
        }
    }
}

/// `{"concat": ["192.0.2.7", 8080]}`
fn endpoint(value: &Value) -> Option<SocketAddr> {
    let address: IpAddr = value["concat"][0].as_str()?.parse().ok()?;
    let port = u16::try_from(value["concat"][1].as_u64()?).ok()?;
    Some(SocketAddr::new(address, port))
}

/// What a rule gives, beside what those before it do; none: no rule of flipside's.
fn shares(statements: &[&Value], known: &[Share]) -> Option<Vec<Share>> {
    let [_, _, dnat] = statements else {
        return None;
    };
    let to = &dnat["dnat"];
    let map = &to["addr"]["map"]["data"]["set"];
    if map.is_null() {
        return alone(to, known);
    }
    let share = |pair: &Value| {
        let at = |index: usize| match &pair[0]["range"] {
            Value::Null => pair[0].as_u64(),
            range => range[index].as_u64(),
        };
        Some(Share {
            first: at(0)?,
            last: at(1)?,
            endpoint: endpoint(&pair[1])?,
        })
    };
    map.as_array()?.iter().map(share).collect()
}

/// `{"addr": "192.0.2.7", "port": 8080}`: all, or nothing more behind a map that gives all, to one of
/// that map's.
fn alone(to: &Value, known: &[Share]) -> Option<Vec<Share>> {
    let address: IpAddr = to["addr"].as_str()?.parse().ok()?;
    let port = u16::try_from(to["port"].as_u64()?).ok()?;
    let endpoint = SocketAddr::new(address, port);
    let of_family = || { known.iter() }.filter(|it| it.endpoint.is_ipv4() == endpoint.is_ipv4());
    if of_family().next().is_none() {
        return Some(vec![Share::whole(endpoint)]);
    }
    let is_behind = are_all(of_family()) && of_family().any(|it| it.endpoint == endpoint);
    is_behind.then(Vec::new)
}

fn lead(hook: &str, statements: &[&Value]) -> Option<Lead> {
    let [address, port, goto] = statements else {
        return None;
    };
    let (address, port) = (&address["match"], &port["match"]);
    let address = match &address["right"] {
        right if right == "local" => None,
        right => Some(right.as_str()?.parse().ok()?),
    };
    let port = u16::try_from(port["right"].as_u64()?).ok()?;
    let hook = HOOKS.into_iter().find(|known| *known == hook)?;
    let chain = [SERVICE, PREVIEW].into_iter();
    let chain = { chain }.find(|known| goto["goto"]["target"] == **known)?;
    Some((hook, Listener { address, port }, chain))
}
