//! What the include file says for a routing, and what is read from it.
//!
//! Pure. To write into a `String` cannot fail, so what `writeln!` answers is dropped.

use std::fmt::Write as _;
use std::net::SocketAddr;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::record::Record;
use super::NginxPlan;
use crate::core::names::{Fence, Generation, Release, Slot};
use crate::core::routing::{FOREIGN, Route, Routing};
use crate::core::words::hex;

/// The first line, for people.
const HEAD: &str = "# Written by flipside: a change by hand stops the next deploy. \
                    See: flipside help nginx\n";

/// How the lines with the record begin.
const RECORD: &str = "# flipside ";

/// How the line begins that tells a change by hand.
const SUM: &str = "# sum ";

/// What `$flipside_…` is where the service is sent nowhere.
const NOWHERE: &str = "none";

/// How much of a record stands in one line: nginx takes no line of 4096 bytes, comments included.
const PIECE: usize = 900;

/// How what stood there before is kept in a file that sends nobody anywhere.
const BEFORE: &str = "# before flipside: ";

/// What one worker runs, by its own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runs {
    /// The service is sent nowhere.
    Nothing,
    /// What stood there before flipside came, or what somebody else has put there.
    Other,
    /// A routing of flipside's, in which this release gets the request that was asked.
    Ours(Generation, Fence, Release),
}

impl Runs {
    /// By what the variable of that name is.
    pub(super) fn of(variable: &str, value: &str) -> Self {
        let ours = || {
            let rest = value.strip_prefix(variable)?.strip_prefix('_')?;
            let numbers: Vec<u64> = rest
                .split('_')
                .map_while(|part| part.parse().ok())
                .collect();
            let [generation, fence, release] = *numbers.as_slice() else {
                return None;
            };
            Some(Self::Ours(generation, fence, Release(release)))
        };
        match value {
            "" | NOWHERE => Self::Nothing,
            _ => ours().unwrap_or(Self::Other),
        }
    }

    /// Whether it is what `routing` wants.
    pub(super) fn is(self, routing: &Routing) -> bool {
        match self {
            Self::Nothing => routing.live().is_none(),
            Self::Other => routing.live() == Some(FOREIGN),
            Self::Ours(generation, fence, release) => {
                (routing.generation, routing.fence) == (generation, fence)
                    && routing.route(release).is_some()
            }
        }
    }

    /// The release that got the request.
    pub(super) fn release(self) -> Option<Release> {
        match self {
            Self::Nothing => None,
            Self::Other => Some(FOREIGN),
            Self::Ours(.., release) => Some(release),
        }
    }
}

/// The name of the upstream of a release.
fn name(variable: &str, routing: &Routing, release: Release) -> String {
    let Routing {
        generation, fence, ..
    } = routing;
    format!("{variable}_{generation}_{fence}_{release}")
}

/// The file that makes `routing` true, with `record` in comments.
pub(super) fn whole(plan: &NginxPlan, record: &Record, routing: &Routing) -> String {
    let body = body(plan, routing);
    let line: Vec<char> = record.line().chars().collect();
    let mut text = HEAD.to_owned();
    for piece in line.chunks(PIECE) {
        let piece: String = piece.iter().collect();
        _ = writeln!(text, "{RECORD}{piece}");
    }
    _ = writeln!(text, "{SUM}{}", sum(&body));
    text + &body
}

fn sum(body: &str) -> String {
    let digest = Sha256::digest(body);
    hex(&digest[..8])
}

fn body(plan: &NginxPlan, routing: &Routing) -> String {
    let variable = &plan.variable;
    let name = |release| name(variable, routing, release);
    let mut text = String::new();
    let shown = routing
        .preview
        .filter(|release| routing.route(*release).is_some());
    for route in &routing.routes {
        if route.release == FOREIGN || (route.weight == 0 && shown != Some(route.release)) {
            continue;
        }
        _ = writeln!(text, "upstream {} {{", name(route.release));
        for endpoint in &route.endpoints {
            _ = writeln!(text, "    server {endpoint};");
        }
        _ = writeln!(text, "    keepalive {};\n}}", plan.keepalive);
    }
    let shares = shares(&routing.routes);
    let mut rest = match shares.as_slice() {
        [] => NOWHERE.to_owned(),
        [(release, _)] => name(*release),
        [first, others @ ..] => {
            _ = writeln!(text, "split_clients $request_id ${variable}_share {{");
            for (release, parts) in others {
                let (whole, hundredths) = (parts / 100, parts % 100);
                _ = writeln!(text, "    {whole}.{hundredths:02}% {};", name(*release));
            }
            _ = writeln!(text, "    * {};\n}}", name(first.0));
            format!("${variable}_share")
        }
    };
    let mut maps: Vec<(String, Vec<&str>)> = Vec::new();
    if shown.is_some() {
        if let Some((header, value)) = plan.preview.named() {
            let header = header.to_ascii_lowercase().replace('-', "_");
            maps.push((format!("$http_{header}"), vec![value]));
        }
        if !plan.preview.hosts.is_empty() {
            let hosts = plan.preview.hosts.iter().map(String::as_str);
            maps.push(("$host".to_owned(), hosts.collect()));
        }
    }
    if maps.is_empty() {
        maps.push(("$host".to_owned(), Vec::new()));
    }
    for (at, (of, values)) in maps.iter().enumerate().rev() {
        let of_it = match at {
            0 => format!("${variable}"),
            _ => format!("${variable}_{at}"),
        };
        _ = writeln!(text, "map {of} {of_it} {{\n    default {rest};");
        for (value, release) in values.iter().zip(std::iter::repeat(shown)) {
            let to = release.map(name).unwrap_or_default();
            _ = writeln!(text, "    {value} {to};");
        }
        text += "}\n";
        rest = of_it;
    }
    text
}

/// The parts of 10 000 that each release gets, the largest first. A release with any weight gets at
/// least one: nginx knows no share of nothing.
fn shares(routes: &[Route]) -> Vec<(Release, u32)> {
    let all: u64 = routes.iter().map(|route| u64::from(route.weight)).sum();
    let serving = routes.iter().filter(|route| route.weight > 0);
    let parts = |weight: u32| {
        let parts = (u64::from(weight) * 10_000 + all / 2) / all.max(1);
        u32::try_from(parts).unwrap_or(10_000).clamp(1, 10_000)
    };
    let mut shares: Vec<_> = serving
        .map(|route| (route.release, parts(route.weight)))
        .collect();
    shares.sort_by_key(|(_, parts)| std::cmp::Reverse(*parts));
    shares
}

/// The file that sends nobody anywhere; what stood there before flipside came is kept in comments.
pub(super) fn nowhere(plan: &NginxPlan, before: Option<&str>) -> String {
    let mut text = format!(
        "# Nothing of flipside's serves here.\nmap $host ${} {{\n    default {NOWHERE};\n}}\n",
        plan.variable
    );
    for line in before.into_iter().flat_map(str::lines) {
        _ = writeln!(text, "{BEFORE}{line}");
    }
    text
}

/// What stood there, as a routing remembers it.
pub(super) fn foreign(text: &str) -> Value {
    json!({ "include": text })
}

/// What stood there, as a routing remembers it.
pub(super) fn include(foreign: Option<&Value>) -> Option<&str> {
    foreign?.get("include")?.as_str()
}

/// The record in a file's comments, and whether what follows is as it was written; none where there
/// are no such comments.
pub(super) fn record(text: &str) -> Option<(Result<Record, serde_json::Error>, bool)> {
    let pieces: String = text
        .lines()
        .filter_map(|line| line.strip_prefix(RECORD))
        .collect();
    if pieces.is_empty() {
        return None;
    }
    let begins = format!("\n{SUM}");
    let is_whole = text.find(&begins).is_some_and(|at| {
        let rest = &text[at + begins.len()..];
        rest.split_once('\n')
            .is_some_and(|(said, body)| said == sum(body))
    });
    Some((Record::read(&pieces), is_whole))
}

/// What is found where no record fits: routes of nobody's release, to the addresses in the file or
/// else in what a worker says.
pub(super) fn routes(text: &str, value: &str) -> Vec<Route> {
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let mut endpoints: Vec<SocketAddr> = Vec::new();
    for word in lines.chain([value]).flat_map(words) {
        if let Ok(at) = word.parse()
            && !endpoints.contains(&at)
        {
            endpoints.push(at);
        }
    }
    vec![Route {
        release: FOREIGN,
        slot: Slot::Blue,
        weight: 100,
        endpoints,
    }]
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| c.is_whitespace() || ";{}\"'/".contains(c))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::super::super::preview::Asking;
    use super::*;

    fn plan() -> NginxPlan {
        NginxPlan {
            include: "/etc/nginx/flipside/shop.conf".into(),
            url: "http://127.0.0.1".into(),
            hosts: Vec::new(),
            variable: "flipside_shop".into(),
            says: "/.flipside".into(),
            test: Vec::new(),
            reload: Vec::new(),
            keepalive: 32,
            preview: Asking {
                header: Some("X-Preview: yes".into()),
                hosts: vec!["next.shop.example".into()],
            },
        }
    }

    fn route(release: u64, weight: u32) -> Route {
        Route {
            release: Release(release),
            slot: Slot::Blue,
            weight,
            endpoints: vec![([10, 0, 0, release as u8], 80).into()],
        }
    }

    fn routing(routes: Vec<Route>, preview: Option<u64>) -> Routing {
        Routing {
            generation: 7,
            fence: 3,
            preview: preview.map(Release),
            foreign: Some(foreign("upstream \"x\" {\n}\n")),
            reason: "ü".repeat(3000),
            ..Routing::foreign(routes, Value::Null)
        }
    }

    #[test]
    fn a_file_gives_its_record_back_and_tells_a_change() {
        let routing = routing(vec![route(1, 100)], None);
        let record = Record::of(&routing);
        let text = whole(&plan(), &record, &routing);
        assert!(text.lines().all(|line| line.len() < 4096));
        let (read, is_whole) = super::record(&text).unwrap();
        assert_eq!((read.unwrap(), is_whole), (record, true));
        let changed = text.replace("10.0.0.1:80", "10.0.0.9:80");
        let (_, is_whole) = super::record(&changed).unwrap();
        assert!(!is_whole);
        assert_eq!(
            routes(&changed, "")[0].endpoints,
            ["10.0.0.9:80".parse().unwrap()]
        );
        assert!(super::record("map $host $flipside_shop { default none; }").is_none());
    }

    #[test]
    fn shares_are_hundredths_and_never_nothing() {
        let of = |weights: &[u32]| -> Vec<u32> {
            let routes = (1..).zip(weights).map(|(of, weight)| route(of, *weight));
            let shares = shares(&routes.collect::<Vec<_>>());
            shares.into_iter().map(|(_, parts)| parts).collect()
        };
        assert_eq!(of(&[95, 5]), [9500, 500]);
        assert_eq!(of(&[1, 2]), [6667, 3333]);
        assert_eq!(of(&[1, 1_000_000, 0]), [10_000, 1]);
        assert!(of(&[0]).is_empty());
        let text = body(&plan(), &routing(vec![route(1, 9995), route(2, 5)], None));
        assert!(text.contains("    0.05% flipside_shop_7_3_2;\n    * flipside_shop_7_3_1;\n"));
        assert!(!text.contains("next.shop.example"), "{text}");
    }

    #[test]
    fn those_who_ask_are_led_to_the_preview() {
        let text = body(&plan(), &routing(vec![route(1, 100), route(2, 0)], Some(2)));
        let maps = "map $host $flipside_shop_1 {\n    default flipside_shop_7_3_1;\n    \
                    next.shop.example flipside_shop_7_3_2;\n}\n\
                    map $http_x_preview $flipside_shop {\n    default $flipside_shop_1;\n    \
                    yes flipside_shop_7_3_2;\n}\n";
        assert!(text.ends_with(maps), "{text}");
    }

    #[test]
    fn a_worker_says_what_it_runs() {
        let of = |value| Runs::of("flipside_shop", value);
        let routing = routing(vec![route(1, 100)], None);
        assert_eq!(of("none"), Runs::Nothing);
        assert_eq!(of(""), Runs::Nothing);
        assert_eq!(of("127.0.0.1:3000"), Runs::Other);
        assert_eq!(of("flipside_shop_7_3"), Runs::Other);
        let ours = of("flipside_shop_7_3_1");
        assert_eq!(ours, Runs::Ours(7, 3, Release(1)));
        assert!(ours.is(&routing));
        for other in ["flipside_shop_8_3_1", "flipside_shop_7_4_1", "none", "else"] {
            assert!(!of(other).is(&routing), "{other}");
        }
    }
}
