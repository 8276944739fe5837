//! The wait for probes, the round and the bake, on a clock that only moves when everything waits.

mod ends;
mod settle;
mod stage;

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use flipside::core::names::Millis;
use flipside::core::plan::{GrpcProbe, HeaderField, ProbeKind, Text};
use flipside::core::progress::Progress;
use flipside::core::world::{ContainerState, Health};
use flipside::engine::Executed;
use flipside::probe::{Here, Proving, Question, Unfit, Vantage, VantageError, Verdict, unfit};

use stage::{
    Said, Stage, away, container, exec, failure, http_up, last, passes, probe, refused, role,
    script, secret_up, up,
};

#[tokio::test(start_paused = true)]
async fn a_container_that_answers_at_once_costs_no_time_and_no_call_on_the_engine() {
    let stage = Stage::new(1, vec![up()], script(passes));
    assert_eq!(stage.prove().await, Ok(1));
    assert_eq!(stage.start.elapsed(), Duration::ZERO);
    assert_eq!(stage.calls(), [""; 0]);
    let told = stage.told.lock().unwrap();
    assert_eq!(told.last(), Some(&Progress::Proving { done: 1, total: 1 }));
}

#[tokio::test(start_paused = true)]
async fn all_replicas_are_asked_at_once_by_futures_that_may_change_threads() {
    fn may_change_threads<T: Send>(future: T) -> T {
        future
    }
    let stage = Stage::new(20, vec![up()], script(passes));
    assert_eq!(may_change_threads(stage.prove()).await, Ok(20));
    let proving = stage.proving();
    may_change_threads(proving.watch(stage.start))
        .await
        .unwrap();
    let round = may_change_threads(proving.round(Duration::from_secs(1)));
    assert_eq!(round.await.unwrap().len(), 20);
    assert_eq!(stage.asked_at(), [0; 60]);
}

#[tokio::test(start_paused = true)]
async fn waits_double_from_5_ms_to_the_interval() {
    let answer = script(|_, before, _| Ok((before >= 10).then_some(()).ok_or("no".into())));
    let stage = Stage::new(1, vec![up()], answer);
    assert_eq!(stage.prove().await, Ok(11));
    let at = stage.asked_at();
    let waits: Vec<_> = at.windows(2).map(|two| two[1] - two[0]).collect();
    assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    assert_eq!(stage.calls(), ["ended web1"]);
}

#[tokio::test(start_paused = true)]
async fn the_first_check_comes_after_the_initial_delay() {
    let mut late = up();
    late.initial_delay_ms = 700;
    let stage = Stage::new(1, vec![late], script(passes));
    assert_eq!(stage.prove().await, Ok(1));
    assert_eq!(stage.asked_at(), [700]);
}

#[tokio::test(start_paused = true)]
async fn three_passes_in_a_row_begin_again_after_a_failure() {
    let mut thrice = up();
    thrice.passes = 3;
    let answer = script(|_, before, _| {
        Ok([true, true, false, true, true, true][before as usize]
            .then_some(())
            .ok_or("busy".into()))
    });
    let stage = Stage::new(1, vec![thrice], answer);
    assert_eq!(stage.prove().await, Ok(6));
    // After a pass the next check comes an interval later, not at once.
    assert_eq!(stage.now(), 5_000);
}

#[tokio::test(start_paused = true)]
async fn a_vantage_that_does_not_know_a_check_ends_the_wait_at_once() {
    let unable = script(|_, _, _| {
        Err(VantageError::Unable {
            place: "proxy p".into(),
            why: "is older than this flipside".into(),
        })
    });
    let stage = Stage::new(1, vec![up()], unable);
    let failure = stage.prove_failing().await;
    insta::assert_snapshot!(failure.what, @"web cannot pass `http /up`: proxy p is older than this flipside");
    assert_eq!(stage.asked_at(), [0]);
    let round = stage.proving().round(Duration::from_secs(1)).await.unwrap();
    let reason = "proxy p is older than this flipside".to_owned();
    assert_eq!(round[0].result, Err(reason));
}

#[tokio::test(start_paused = true)]
async fn a_grpc_probe_is_named_by_its_service_and_hints_at_what_mends_it() {
    let grpc = |service: &str| {
        let service = service.to_owned();
        probe(ProbeKind::Grpc(GrpcProbe {
            port: 9090,
            service,
        }))
    };
    let told = async |service: &str, reason: &'static str| {
        let answer = script(move |_, _, _| Ok(Err(reason.into())));
        let stage = Stage::new(1, vec![grpc(service)], answer);
        let failure = stage.prove_failing().await;
        (failure.what, failure.hint.unwrap_or_default())
    };
    let (what, hint) = told("shop.v1.Cart", "it knows no service `x` (NOT_FOUND)").await;
    insta::assert_snapshot!(what, @"web did not pass `grpc shop.v1.Cart` within 60 s: it knows no service `x` (NOT_FOUND)");
    insta::assert_snapshot!(hint, @"check the probe's `service:` against what the server registers with its health service");
    let (what, hint) = told("", "10.0.0.1:9090 answers in HTTP/1, and gRPC is HTTP/2").await;
    insta::assert_snapshot!(what, @"web did not pass `grpc 9090` within 60 s: 10.0.0.1:9090 answers in HTTP/1, and gRPC is HTTP/2");
    insta::assert_snapshot!(hint, @"check the probe's `port:`: what answers on 9090 is no gRPC server without TLS");
    let (_, hint) = told("", "it has no gRPC health service (UNIMPLEMENTED)").await;
    insta::assert_snapshot!(hint, @"register `grpc.health.v1.Health` in the server of role `web`, or probe it with `tcp:`");
    assert_eq!(told("", "it says that it is NOT_SERVING").await.1, "");

    let stage = Stage::new(2, vec![grpc("")], script(passes));
    assert_eq!(stage.prove().await, Ok(2));
    let round = stage.proving().round(Duration::from_secs(1)).await.unwrap();
    assert_eq!(
        (round[0].probe.as_str(), &round[0].result),
        ("grpc 9090", &Ok(None))
    );
    assert_eq!(stage.asked_at().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn one_bad_replica_of_five_is_named_with_its_reason_and_its_log() {
    let answer = script(|address, _, _| match last(address) {
        2 => Ok(Err("connection refused at 10.0.0.2:8080".into())),
        _ => Ok(Ok(())),
    });
    let stage = Stage::new(5, vec![up()], answer);
    let failure = stage.prove_failing().await;
    insta::assert_snapshot!(failure.what, @"web replica 2 of 5 did not pass `http /up` within 60 s: connection refused at 10.0.0.2:8080");
    insta::assert_snapshot!(failure.hint.unwrap(), @"role `web` may listen on another port, or on 127.0.0.1 only: check `expose:` and the probe's `port:`");
    assert_eq!(stage.now(), 60_000);
    assert_eq!(failure.replicas.len(), 1);
    let report = &failure.replicas[0];
    assert_eq!(report.container, "shop-3-web-2");
    assert_eq!(
        report.reasons,
        ["`http /up`: connection refused at 10.0.0.2:8080"]
    );
    assert_eq!(report.logs, ["web2 says hello"]);
    let told = stage.told.lock().unwrap();
    assert!(told.contains(&Progress::Proving { done: 4, total: 5 }));
}

#[tokio::test(start_paused = true)]
async fn every_failing_replica_is_reported_with_all_its_reasons() {
    let tcp = probe(ProbeKind::Tcp { port: 5432 });
    let mut stage = Stage::new(3, vec![up(), tcp], script(refused));
    stage.silent_logs = true;
    let failure = stage.prove_failing().await;
    assert!(
        failure.what.ends_with("; 2 more replicas failed"),
        "{}",
        failure.what
    );
    assert_eq!(failure.replicas.len(), 3);
    for report in &failure.replicas {
        let reasons = report.reasons.join("\n");
        assert!(
            reasons.contains("`http /up`: connection refused"),
            "{reasons}"
        );
        assert!(
            reasons.contains("`tcp 5432`: connection refused"),
            "{reasons}"
        );
        assert!(
            reasons.contains("its log could not be read: this engine"),
            "{reasons}"
        );
        assert!(report.logs.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_without_an_answer_ends_at_the_deadline() {
    struct Mute;
    #[async_trait]
    impl Vantage for Mute {
        fn place(&self) -> String {
            "proxy p".into()
        }
        async fn check(&self, _: SocketAddr, _: &Question, _: Millis) -> Said {
            std::future::pending().await
        }
    }
    let mut short = up();
    short.deadline_ms = 1_500;
    let stage = Stage::new(1, vec![short], script(passes));
    let proving = Proving {
        vantage: &Mute,
        ..stage.proving()
    };
    let failure = failure(proving.prove().await);
    insta::assert_snapshot!(failure.what, @"web did not pass `http /up` within 1.5 s: no answer yet, asked from proxy p");
    assert_eq!(stage.now(), 1_500);
}

#[tokio::test(start_paused = true)]
async fn a_role_without_probes_must_run_at_the_end() {
    let mut stage = Stage::new(1, vec![up()], script(passes));
    stage.environment.containers.push(container("worker", 1));
    stage.environment.expected = 2;
    assert_eq!(stage.prove().await, Ok(1));
    stage.ends.insert("worker1".into(), (0, 0, false));
    let failure = stage.prove_failing().await;
    insta::assert_snapshot!(failure.what, @"worker exited with 0");
}

#[tokio::test(start_paused = true)]
async fn a_missing_container_is_not_proven() {
    let mut stage = Stage::new(2, vec![up()], script(passes));
    stage.environment.expected = 3;
    let failure = stage.prove_failing().await;
    insta::assert_snapshot!(failure.what, @"shop@3 is not whole: 1 of 3 containers missing");
    let mut stage = Stage::new(2, vec![up()], script(passes));
    stage.probes[0].role = role("api");
    let failure = stage.prove_failing().await;
    insta::assert_snapshot!(failure.what, @"shop@3 has no container of role `api`, which a probe names");
}

#[tokio::test(start_paused = true)]
async fn a_command_must_exit_with_0_and_its_last_words_are_told_without_secrets() {
    let mut stage = Stage::new(1, vec![exec()], script(refused));
    stage.exec = Box::new(|before| {
        Ok(Executed {
            code: i64::from(before < 2),
            output: String::new(),
        })
    });
    assert_eq!(stage.prove().await, Ok(3));
    stage.exec = Box::new(|_| {
        Ok(Executed {
            code: 2,
            output: "starting\n\nno login for hunter2\n".into(),
        })
    });
    let failure = stage.prove_failing().await;
    insta::assert_snapshot!(failure.what, @"web did not pass `exec` within 60 s: exit 2: starting; no login for [secret]");
}

#[tokio::test(start_paused = true)]
async fn a_healthcheck_is_waited_for() {
    let mut stage = Stage::new(1, vec![probe(ProbeKind::Health)], script(refused));
    stage.health = vec![(0, Health::Starting), (3_000, Health::Healthy)];
    stage.prove().await.unwrap();
    assert!((3_000..4_000).contains(&stage.now()), "{}", stage.now());

    stage.health = vec![(0, Health::Unhealthy)];
    let failure = stage.prove_failing().await;
    insta::assert_snapshot!(failure.what, @"web did not pass `health` within 60 s: its HEALTHCHECK says unhealthy");
}

#[tokio::test(start_paused = true)]
async fn an_image_without_healthcheck_is_told_at_once() {
    let stage = Stage::new(1, vec![probe(ProbeKind::Health)], script(refused));
    let failure = stage.prove_failing().await;
    insta::assert_snapshot!(failure.what, @"web cannot pass `health`: its image has no HEALTHCHECK, and the plan gives none");
    assert!(failure.hint.unwrap().contains("`healthcheck:`"));
    assert_eq!(stage.now(), 0);
}

#[tokio::test(start_paused = true)]
async fn redirects_and_refused_hosts_come_with_what_mends_them() {
    for (reason, what, hint) in [
        (
            "301 to https://shop.example/up",
            "answered 301 to https://shop.example/up",
            "`host:`",
        ),
        (
            "403 Forbidden: Blocked host",
            "answered 403 Forbidden: Blocked host",
            "`host:`",
        ),
        ("404 Not Found", "answered 404 Not Found", "`path:`"),
    ] {
        let answer = script(move |_, _, _| Ok(Err(reason.into())));
        let failure = Stage::new(1, vec![up()], answer).prove_failing().await;
        assert!(failure.what.ends_with(what), "{}", failure.what);
        assert!(failure.hint.unwrap().contains(hint));
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_waited_out_and_told_as_such_only_at_the_deadline() {
    let back = script(|ip, before, at| match at {
        0..2_000 => away(ip, before, at),
        _ => Ok(Ok(())),
    });
    let mut stage = Stage::new(1, vec![up()], back);
    stage.engine_away = 1_000;
    stage.prove().await.unwrap();

    let stage = Stage::new(1, vec![up()], script(away));
    let error = stage.prove().await.unwrap_err();
    assert!(matches!(error, Unfit::Vantage(_)), "{error:?}");
    assert_eq!(stage.now(), 60_000);

    let mut stage = Stage::new(1, vec![exec()], script(away));
    stage.engine_away = Millis::MAX;
    let error = stage.prove().await.unwrap_err();
    assert!(matches!(error, Unfit::Engine(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn what_labels_leave_out_is_not_asked_but_must_run() {
    let no_command = probe(ProbeKind::Exec {
        command: Vec::new(),
    });
    let mut stage = Stage::new(1, vec![secret_up(), no_command], script(refused));
    assert_eq!(stage.prove().await, Ok(0));
    assert!(!stage.calls().iter().any(|call| call.starts_with("exec")));
    assert_eq!(stage.asked_at(), [0; 0]);
    stage.ends.insert("web1".into(), (0, 1, false));
    let failure = stage.prove_failing().await;
    assert!(
        failure.what.starts_with("web exited with 1"),
        "{}",
        failure.what
    );
}

#[tokio::test(start_paused = true)]
async fn a_round_asks_addresses_once_and_executes_nothing() {
    let tcp = probe(ProbeKind::Tcp { port: 5432 });
    let health = probe(ProbeKind::Health);
    let mut stage = Stage::new(
        2,
        vec![up(), tcp, secret_up(), exec(), health],
        script(passes),
    );
    stage.environment.containers[0].health = Health::Healthy;
    stage.environment.containers[1].health = Health::Starting;
    let verdicts = stage.proving().round(Duration::from_secs(1)).await.unwrap();
    assert_eq!(unfit(&stage.environment, &verdicts), None);
    let of = |name: &str| -> Vec<String> {
        let own = verdicts.iter().filter(|verdict| verdict.container == name);
        own.map(|verdict| {
            let note = verdict.result.clone().unwrap().unwrap_or_default();
            format!("{}: {note}", verdict.probe)
        })
        .collect()
    };
    insta::assert_snapshot!(of("shop-3-web-2").join("\n"), @"
    http /up: 
    tcp 5432: 
    http /up: not asked: header `Authorization` is secret and no plan is at hand
    exec: not executed: it passed when the release was proven
    health: its HEALTHCHECK has no verdict yet
    ");
    assert_eq!(of("shop-3-web-1").last().unwrap(), "health: ");
    assert_eq!(stage.asked.lock().unwrap().len(), 4);
    assert_eq!(stage.calls(), [""; 0]);
    assert_eq!(stage.now(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_round_fails_what_does_not_run_answer_or_exist() {
    let answer = script(|address, before, at| match last(address) {
        3 => refused(address, before, at),
        _ => Ok(Ok(())),
    });
    let mut stage = Stage::new(3, vec![up(), probe(ProbeKind::Health)], answer);
    stage.environment.containers[0].state = ContainerState::Exited {
        code: 137,
        oom: true,
    };
    stage.environment.containers[1].health = Health::Unhealthy;
    let verdicts = stage.proving().round(Duration::from_secs(1)).await.unwrap();
    let mut failure = unfit(&stage.environment, &verdicts).unwrap();
    insta::assert_snapshot!(failure.what, @"web replica 1 of 3 exited with 137 (out of memory); 2 more replicas failed");
    assert!(failure.hint.as_ref().unwrap().contains("`mem_limit:`"));
    stage.proving().attach_logs(&mut failure.replicas).await;
    let told: Vec<_> = failure
        .replicas
        .iter()
        .map(|it| {
            format!(
                "{}: {} | {}",
                it.container,
                it.reasons.join(", "),
                it.logs.join(",")
            )
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"), @"
    shop-3-web-1: it exited with 137 (out of memory) | web1 says hello
    shop-3-web-2: `health`: its HEALTHCHECK says unhealthy | web2 says hello
    shop-3-web-3: `http /up`: connection refused at 10.0.0.9:8080 | web3 says hello
    ");

    stage.environment.expected = 4;
    let verdicts = stage.proving().round(Duration::from_secs(1)).await.unwrap();
    let failure = unfit(&stage.environment, &verdicts).unwrap();
    assert!(
        failure
            .what
            .starts_with("shop@3: 1 of 4 containers missing"),
        "{}",
        failure.what
    );
}

#[tokio::test(start_paused = true)]
async fn a_round_whose_vantage_is_away_says_nothing_of_the_release() {
    let stage = Stage::new(1, vec![up()], script(away));
    let error = stage
        .proving()
        .round(Duration::from_secs(1))
        .await
        .unwrap_err();
    assert!(matches!(error, Unfit::Vantage(_)), "{error:?}");
    let verdict = Verdict {
        container: "x".into(),
        probe: "exec".into(),
        result: Ok(None),
    };
    assert_eq!(unfit(&stage.environment, &[verdict]), None);
}

#[tokio::test(start_paused = true)]
async fn a_bake_asks_at_the_interval_and_tells_each_second_what_is_left() {
    let stage = Stage::new(1, vec![up()], script(passes));
    let until = stage.start + Duration::from_secs(4);
    assert_eq!(stage.proving().watch(until).await, Ok(()));
    assert_eq!(stage.now(), 4_000);
    assert_eq!(stage.asked_at(), [0, 1_000, 2_000, 3_000]);
    let told = stage.told.lock().unwrap();
    let left: Vec<_> = told
        .iter()
        .filter_map(|step| match step {
            Progress::Bake { left_ms } => Some(*left_ms),
            _ => None,
        })
        .collect();
    assert_eq!(left[..4], [4_000, 3_000, 2_000, 1_000]);
}

#[tokio::test(start_paused = true)]
async fn a_bake_ends_at_as_many_failures_in_a_row_as_the_probe_allows() {
    let flapping = script(|_, before, _| Ok((before % 3 == 2).then_some(()).ok_or("503".into())));
    let stage = Stage::new(1, vec![up()], flapping);
    let until = stage.start + Duration::from_secs(20);
    assert_eq!(stage.proving().watch(until).await, Ok(()));

    let answer = script(|address, before, at| match (last(address), at) {
        (2, 5_000..) => refused(address, before, at),
        _ => Ok(Ok(())),
    });
    let stage = Stage::new(2, vec![up()], answer);
    let until = stage.start + Duration::from_secs(60);
    let failure = failure(stage.proving().watch(until).await);
    insta::assert_snapshot!(failure.what, @"web replica 2 of 2 failed `http /up` 3 times in a row during the bake: connection refused at 10.0.0.9:8080");
    assert_eq!(stage.now(), 7_000);
    assert_eq!(failure.replicas[0].logs, ["web2 says hello"]);
}

#[tokio::test(start_paused = true)]
async fn a_bake_that_is_over_still_asks_once_and_sees_a_streak_to_its_end() {
    let stage = Stage::new(2, vec![up()], script(passes));
    assert_eq!(stage.proving().watch(stage.start).await, Ok(()));
    assert_eq!(stage.asked_at(), [0, 0]);

    let stage = Stage::new(1, vec![up()], script(refused));
    failure(stage.proving().watch(stage.start).await);
    assert_eq!(stage.asked_at(), [0, 1_000, 2_000]);
}

#[tokio::test(start_paused = true)]
async fn an_exit_ends_the_bake_and_an_outage_does_not() {
    let mut stage = Stage::new(1, vec![up()], script(passes));
    stage.ends.insert("web1".into(), (2_500, 139, false));
    let until = stage.start + Duration::from_secs(60);
    let failure = failure(stage.proving().watch(until).await);
    insta::assert_snapshot!(failure.what, @"web exited with 139 (segmentation fault) during the bake");
    assert_eq!(stage.now(), 2_500);

    let blip = script(|ip, before, at| match at {
        3_000..30_000 => away(ip, before, at),
        _ => Ok(Ok(())),
    });
    let stage = Stage::new(1, vec![up()], blip);
    let until = stage.start + Duration::from_secs(60);
    assert_eq!(stage.proving().watch(until).await, Ok(()));

    let stage = Stage::new(1, vec![up()], script(away));
    let error = stage.proving().watch(stage.start).await.unwrap_err();
    assert!(matches!(error, Unfit::Vantage(_)), "{error:?}");
}

#[tokio::test]
async fn this_machine_checks_an_address_by_itself() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..read]);
            let answer = match request.contains("host: shop.example") {
                true => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nready",
                false => {
                    "HTTP/1.1 301 Moved\r\nlocation: https://shop.example/up\r\ncontent-length: 0\r\n\r\n"
                }
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let mut http = http_up();
    let asked = Here
        .check(address, &Question::Http(http.clone()), 5_000)
        .await;
    assert_eq!(asked, Ok(Err("301 to https://shop.example/up".into())));
    http.headers.push(HeaderField {
        name: "Host".into(),
        value: Some(Text::public("shop.example")),
    });
    http.contains = Some("ready".into());
    let asked = Here.check(address, &Question::Http(http), 5_000).await;
    assert_eq!(asked, Ok(Ok(())));
    assert_eq!(Here.check(address, &Question::Tcp, 5_000).await, Ok(Ok(())));

    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    let asked = Here.check(address, &Question::Tcp, 5_000).await;
    assert_eq!(asked, Ok(Err(format!("connection refused at {address}"))));
}
