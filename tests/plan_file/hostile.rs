//! Whatever the bytes: no panic, every problem has a place within the file, no secret is shown.

use proptest::prelude::*;

use super::fixture::{Fixture, MARKER};

const GOOD: &str = include_str!("../../plans/team.yaml");

thread_local! {
    /// One directory for all cases of a test.
    static FIXTURE: Fixture = Fixture::new();
}

/// Reads a text and holds what must be true of every answer.
fn read(fixture: &Fixture, bytes: &[u8]) -> Result<(), TestCaseError> {
    match fixture.load(bytes) {
        Ok(loaded) => {
            // What ended in a public place is public; it must be recorded as such.
            let public = loaded.record.public.values().any(|value| value == MARKER);
            let shown = format!("{loaded:?}");
            prop_assert!(public || !shown.contains(MARKER), "a secret was shown");
        }
        Err(error) => {
            prop_assert!(!error.problems.is_empty());
            prop_assert!(error.problems.len() <= flipside::plan::MOST_PROBLEMS);
            let rendered = format!("{error} {error:?}");
            prop_assert!(!rendered.contains('\u{1b}'), "an escape");
            let text = String::from_utf8_lossy(bytes);
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            let normal = text.replace("\r\n", "\n").replace('\r', "\n");
            let lines: Vec<_> = normal.split('\n').collect();
            for problem in &error.problems {
                // A value may be shown only where the plan itself writes its variable into a
                // public place; nothing of a file, and nothing that is passed through.
                let written = lines.iter().skip(problem.line.saturating_sub(1)).take(12);
                let public =
                    problem.line > 0 && written.clone().any(|line| line.contains("PASSWORD"));
                let shown = format!("{problem} {problem:?}").contains(MARKER);
                prop_assert!(public || !shown, "a secret was shown: {}", problem);
                if !problem.file.ends_with("flipside.yaml") {
                    continue;
                }
                prop_assert!(
                    problem.line >= 1 && problem.line <= lines.len(),
                    "{:?}",
                    problem
                );
                let width = lines[problem.line - 1].chars().count();
                prop_assert!(
                    problem.column >= 1 && problem.column <= width + 1,
                    "{:?}",
                    problem
                );
            }
        }
    }
    Ok(())
}

/// Words that plans are made of, right and wrong.
fn word() -> impl Strategy<Value = String> {
    let known = proptest::sample::select(vec![
        "name",
        "services",
        "web",
        "image",
        "app:1",
        "build",
        "environment",
        "env_file",
        "app.env",
        "broken.env",
        "volumes",
        "./site:/srv:ro",
        "data:/data",
        "/run",
        "tmpfs",
        "secrets",
        "configs",
        "file",
        "tls.key",
        "content",
        "healthcheck",
        "test",
        "depends_on",
        "deploy",
        "replicas",
        "resources",
        "limits",
        "memory",
        "cpus",
        "networks",
        "external",
        "expose",
        "web:8080",
        "probes",
        "none",
        "http",
        "tcp",
        "exec",
        "health",
        "path",
        "/up",
        "headers",
        "role",
        "port",
        "pointer",
        "proxy",
        "listen",
        "\":8080\"",
        "bake",
        "10s",
        "standby",
        "keep",
        "run",
        "never",
        "${PASSWORD}",
        "\"${PASSWORD}\\n\"",
        "${TAG}",
        "$",
        "${X:-${PASSWORD}}",
        "${X:?no}",
        "1",
        "0",
        "true",
        "~",
        "*a",
        "<<",
        "command",
        "echo '${PASSWORD}",
        "labels",
        "ulimits",
        "extra_hosts",
        "dns",
        "status",
        "interval",
        "timeout",
        "tls",
        "user",
        "host",
        "strategy",
        "pools",
        "engine",
        "\"\\e[31m\\0\"",
        "bücher",
        "日本",
    ]);
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => "[ -~]{0,6}"]
}

/// A tree of such words in flow style.
fn tree() -> impl Strategy<Value = String> {
    word().prop_recursive(6, 48, 6, |inner| {
        let pair = (word(), inner.clone()).prop_map(|(key, value)| format!("{key}: {value}"));
        prop_oneof![
            1 => proptest::collection::vec(inner, 0..5).prop_map(|items| format!("[{}]", items.join(", "))),
            3 => proptest::collection::vec(pair, 0..6).prop_map(|items| format!("{{{}}}", items.join(", "))),
        ]
    })
}

/// One edit: where (in thousandths of the text), how much goes, and what comes.
fn edit() -> impl Strategy<Value = (usize, usize, String)> {
    let come = prop_oneof![
        word(),
        tree(),
        proptest::sample::select(vec![
            "\n", "\r", "\t", "  ", ":", "-", "&a ", "*a", "${", "'", "\"", "{", "\u{85}",
            "\u{2028}"
        ])
        .prop_map(str::to_owned),
    ];
    (
        0usize..1000,
        prop_oneof![4 => 0usize..12, 1 => 0usize..200],
        come,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        FIXTURE.with(|fixture| read(fixture, &bytes))?;
    }

    #[test]
    fn arbitrary_text(text in "\\PC{0,200}|[\\[\\]{}:,&*!|>'\"%@` \n\r\t#?$a-]{0,200}") {
        FIXTURE.with(|fixture| read(fixture, text.as_bytes()))?;
    }

    #[test]
    fn arbitrary_trees(sections in proptest::collection::vec((word(), tree()), 0..8), role in tree()) {
        let mut text = format!("services: {{web: {role}}}\n");
        for (key, value) in sections {
            text += &format!("{key}: {value}\n");
        }
        FIXTURE.with(|fixture| read(fixture, text.as_bytes()))?;
    }

    #[test]
    fn good_plans_with_mistakes(edits in proptest::collection::vec(edit(), 1..5)) {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (at, gone, come) in edits {
            let start = at * text.len() / 1000;
            let end = (start + gone).min(text.len());
            text.splice(start..end, come.chars());
        }
        let text: String = text.into_iter().collect();
        FIXTURE.with(|fixture| read(fixture, text.as_bytes()))?;
    }
}

#[test]
fn huge_and_deep_inputs_end() {
    let fixture = Fixture::new();
    let inputs = [
        "[".repeat(20_000),
        "{a: ".repeat(20_000),
        "- ".repeat(20_000),
        (0..20_000)
            .map(|depth| format!("{}a:\n", " ".repeat(depth % 1000)))
            .collect(),
        "a: ".repeat(20_000),
        "? ".repeat(20_000),
        "a: ".to_owned() + &"${A:-".repeat(20_000),
        "a: &a [".repeat(100),
        "x".repeat(5 << 20),
        format!(
            "a: &a {}\nb: [{}]",
            "x".repeat(900_000),
            "*a, ".repeat(1000)
        ),
        format!(
            "services: {{web: {{command: [{}]}}}}",
            "x, ".repeat(200_000)
        ),
        format!(
            "services:\n{}",
            (0..20_000)
                .map(|n| format!("  r{n}: {{image: a, depends_on: [r{}]}}\n", n + 1))
                .collect::<String>()
        ),
        (0..40_000).map(|n| format!("k{n}: 1\n")).collect(),
        "a: 1\n".repeat(40_000),
        "#\n".repeat(500_000),
        format!("name: \"{}\"", "\\u0041".repeat(100_000)),
        format!("image: {}", "$".repeat(200_001)),
        format!(
            "services: {{web: {{image: \"{}\"}}}}",
            "${TAG}".repeat(100_000)
        ),
        format!(
            "services: {{web: {{command: \"{}\"}}}}",
            "${".repeat(100_000)
        ),
    ];
    for input in inputs {
        let started = std::time::Instant::now();
        read(&fixture, input.as_bytes()).unwrap();
        println!(
            "{:?} for {} bytes of {:?}…",
            started.elapsed(),
            input.len(),
            &input[..input.len().min(20)]
        );
    }
}
