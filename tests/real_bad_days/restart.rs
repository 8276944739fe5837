//! The engine restarted while all there can be is there at once: what is live, a standby that runs,
//! two that are frozen, and workers.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;

use super::workers::{log, with_worker};
use crate::bad_days::Day;
use crate::real_crash::daemon::Host;
use crate::real_crash::kit::sh;
use crate::real_verbs::kit::{Ran, Stage, docker};
use crate::support::docker::hello_tag;

/// Two services behind one proxy. The first one's standby runs, the other's two are frozen; each has
/// a worker.
struct Both {
    host: Host,
    stage: Stage,
    frozen: String,
}

impl Both {
    fn live() -> Self {
        let host = Host::start();
        host.load(&hello_tag());
        let mut stage = Stage::new();
        stage.engine = Some(host.url());
        let frozen = stage.another();
        let listen = format!("\"127.0.0.1:{}\"", stage.port);
        let plan = stage.plan().replace(&stage.image, &hello_tag());
        let own = |name: &str, standby: &str| {
            let plan = plan.replace(&listen, &format!("{listen}, host: {name}.example"));
            let plan = plan.replace(&stage.service, name);
            let plan = plan.replace("{ keep: 1 }", standby);
            with_worker(&stage, &plan, "2s", "0")
        };
        let running = own(&stage.service, "{ keep: 1 }");
        stage.write("flipside.yaml", running);
        stage.write("frozen.yaml", own(&frozen, "{ keep: 2, mode: frozen }"));
        for version in ["1", "2"] {
            stage.deploy(&[&format!("VERSION={version}")]);
        }
        for version in ["1", "2", "3"] {
            let set = format!("VERSION={version}");
            stage.expect(0, &["deploy", "frozen.yaml", "--set", &set]);
        }
        // Not before: it holds the port here, where the proxy does there.
        host.door(stage.port);
        Self {
            host,
            stage,
            frozen,
        }
    }

    /// Each service, and the version that is live.
    fn services(&self) -> [(&str, &'static str); 2] {
        [(&self.stage.service, "2"), (&self.frozen, "3")]
    }

    fn answer(&self, service: &str) -> Option<String> {
        let answer = self.stage.try_get(&format!("{service}.example"), "/");
        answer.ok().filter(|it| it.0 == 200).map(|it| it.1)
    }

    fn status(&self, service: &str) -> Value {
        let words = ["status", service, "--output", "json"];
        self.stage.expect(0, &words).json().remove(0)
    }

    /// Every endpoint that the proxy or the engine has of them, and whose it is in the engine's
    /// words: version and container.
    fn endpoints(&self) -> BTreeMap<String, Option<(String, String)>> {
        let table = self
            .stage
            .expect(0, &["proxy", "status", "--output", "json"]);
        let table = table.json().remove(0);
        let entries = table["services"].as_array().unwrap().iter();
        let shown: Vec<_> = entries
            .flat_map(|entry| entry["environments"].as_array().unwrap())
            .flat_map(|environment| environment["endpoints"].as_array().unwrap())
            .map(|at| at.as_str().unwrap().to_owned())
            .collect();
        assert!(shown.len() >= 2, "{table:#}");
        let script = "docker --host \"$1\" ps -q --filter label=flipside.role=web | \
                      xargs docker --host \"$1\" inspect";
        let found = sh(&["sh", "-c", script, "sh", &self.host.url()]);
        let found: Vec<Value> = serde_json::from_str(&found).unwrap();
        let all: BTreeMap<_, _> = found.iter().map(whose).collect();
        assert!(
            shown.iter().all(|at| all.contains_key(at)),
            "{shown:?} {all:?}"
        );
        assert_eq!(all.len(), 5, "{all:?}");
        all
    }

    /// The containers of workers that run, by name.
    fn at_work(&self) -> Vec<String> {
        let filter = "label=flipside.role=worker";
        let url = self.host.url();
        let words = [
            "--host",
            &url,
            "ps",
            "--filter",
            filter,
            "--format",
            "{{.Names}}",
        ];
        let listed = docker(&words);
        let mut all: Vec<_> = listed.lines().map(str::to_owned).collect();
        all.sort();
        all
    }

    fn prune(&self) -> Ran {
        self.stage.expect(0, &["prune", &self.frozen])
    }
}

/// A container's endpoint, its version and its name for itself.
fn whose(container: &Value) -> (String, Option<(String, String)>) {
    let networks = container["NetworkSettings"]["Networks"].as_object();
    let network = networks.unwrap().values().next().unwrap();
    let variables = container["Config"]["Env"].as_array().unwrap().iter();
    let mut variables = variables.map(|one| one.as_str().unwrap());
    let version = variables.find_map(|one| one.strip_prefix("VERSION="));
    let name = container["Config"]["Hostname"].as_str();
    let address = network["IPAddress"].as_str().unwrap();
    let who = (version.unwrap().to_owned(), name.unwrap().to_owned());
    (format!("{address}:8080"), Some(who))
}

#[test]
fn everything_is_what_it_was_whatever_starts_first() {
    let mut both = Both::live();
    let whose = both.endpoints();
    let endpoints: Vec<_> = whose.keys().cloned().collect();
    let mut workers = both
        .services()
        .map(|(name, live)| format!("{name}-{live}-worker-1"));
    workers.sort();
    assert_eq!(both.at_work(), workers);
    for end in [Host::stop_daemon, Host::cut_power, Host::stop_daemon] {
        let before = both
            .services()
            .map(|(name, _)| log(&both.stage, name).len());
        end(&mut both.host);
        both.host.start_daemon();
        let since = Instant::now();
        for ((service, live), before) in both.services().into_iter().zip(before) {
            let answers = |said: &Option<String>| said.as_deref() == Some(live);
            both.host.soon(since, || both.answer(service), answers);
            let own = format!("{live} begins");
            let begins = |log: &Vec<String>| log[before..].contains(&own);
            let log = both.host.soon(since, || log(&both.stage, service), begins);
            let twice = log.iter().any(|line| line.contains("finds another"));
            let others = log[before..]
                .iter()
                .any(|line| line.contains("begins") && *line != own);
            assert!(!twice && !others, "{log:#?}");
        }
        // What was frozen runs, too: each address is the container's that it was.
        both.host.soon(
            since,
            || both.host.identities(&endpoints),
            |now| *now == whose,
        );
        assert_eq!(both.at_work(), workers);
        let woken = both.status(&both.frozen)["disagreements"].clone();
        let told = |release| {
            let name = format!("{}@{release}", both.frozen);
            format!(
                "standby {name} runs, and the plan says frozen: flipside prune {}",
                both.frozen
            )
        };
        let mut woken: Vec<_> = woken.as_array().unwrap().clone();
        woken.sort_by_key(Value::to_string);
        assert_eq!(woken, [told(1), told(2)]);
        let status = both.status(&both.stage.service);
        assert_eq!(status["disagreements"], Value::Array(vec![]), "{status:#}");
        assert_eq!(status["standby"][0]["fit"], true, "{status:#}");

        let stage = &both.stage;
        let status = stage.run(&["status", &both.frozen]);
        let day = Day::of("engine-restarts-frozen", stage).naming(&both.frozen, "shop");
        let day = day.saw("flipside status shop", &status);
        let pruned = both.prune();
        let day = day.saw("flipside prune shop", &pruned);
        day.told("as before");
        let status = both.status(&both.frozen);
        assert_eq!(status["disagreements"], Value::Array(vec![]), "{status:#}");
        for standby in status["standby"].as_array().unwrap() {
            assert_eq!(standby["asleep"], "frozen", "{status:#}");
        }
    }
    for (service, _) in both.services() {
        both.stage.expect(0, &["rollback", service, "--yes"]);
    }
    assert_eq!(both.answer(&both.stage.service).as_deref(), Some("1"));
    assert_eq!(both.answer(&both.frozen).as_deref(), Some("2"));
    for (service, _) in both.services() {
        both.stage.expect(0, &["down", service, "--yes"]);
    }
}
