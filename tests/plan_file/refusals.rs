//! What is refused, and the exact words. Each case of `golden/plan_refusals.txt` is
//!
//! ```text
//! ## role: a title
//! lines of the role `web`; or with `top:`, of the top level; or with `plan:`, the whole file
//! =>
//! what is said
//! ```
//!
//! `FLIPSIDE_BLESS=1` writes the answers of the day into the file, for a person to read.

use std::fmt::Write as _;

use super::fixture::{Fixture, with_role, with_top};

const TABLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/golden/plan_refusals.txt"
);

#[test]
fn every_refusal_says_where_and_what_to_write_instead() {
    let table = std::fs::read_to_string(TABLE).unwrap();
    let fixture = Fixture::new();
    let mut written = String::new();
    let mut wrong = Vec::new();
    let mut cases = 0;
    for case in table
        .split("\n## ")
        .map(|case| case.trim_start_matches("## "))
    {
        let (title, rest) = case.split_once('\n').unwrap();
        let (input, expected) = rest.split_once("\n=>").unwrap_or((rest, ""));
        let input = input.trim_end_matches('\n');
        let (kind, _) = title.split_once(": ").unwrap();
        let text = match kind {
            "plan" => format!("{input}\n"),
            "role" => with_role(input),
            "top" => with_top(input),
            other => panic!("no such kind of case: {other}"),
        };
        let said = fixture.said(&text);
        if said != expected.trim_matches('\n') {
            wrong.push(format!(
                "## {title}\n--- expected\n{}\n--- said\n{said}",
                expected.trim()
            ));
        }
        write!(written, "## {title}\n{input}\n=>\n{said}\n\n").unwrap();
        cases += 1;
    }
    if std::env::var_os("FLIPSIDE_BLESS").is_some() {
        std::fs::write(TABLE, format!("{}\n", written.trim_end())).unwrap();
    } else {
        assert!(
            wrong.is_empty(),
            "{} of {cases} differ:\n\n{}",
            wrong.len(),
            wrong.join("\n\n")
        );
    }
}

#[test]
fn what_is_no_text_is_refused_kindly() {
    let fixture = Fixture::new();
    let deep = "[".repeat(20_000);
    let deep_block: String = (0..300)
        .map(|depth| format!("{}a:\n", " ".repeat(depth)))
        .collect();
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let last = level - 1;
        let items = vec![format!("*a{last}"); 9].join(", ");
        bomb += &format!("a{level}: &a{level} [{items}]\n");
    }
    let nested = format!(
        "{}[{}]",
        (0..40).map(|n| format!("&a{n} [")).collect::<String>(),
        "x, ".repeat(20_000),
    ) + &"]".repeat(40);
    let first = |said: String| said.lines().next().unwrap().to_owned();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "flipside.yaml:1:1: this plan is empty"),
        (
            b"# only a comment\n".to_vec(),
            "flipside.yaml:1:1: this plan is empty",
        ),
        (
            b"name: \xff\xfe".to_vec(),
            "flipside.yaml:1:7: this is not UTF-8 text",
        ),
        (
            b"\xff\xfen\0a\0".to_vec(),
            "flipside.yaml:1:1: this is not UTF-8 text (it looks like UTF-16)",
        ),
        (
            b"\x7fELF\x02\x01\x01\0\0\0".to_vec(),
            "flipside.yaml:1:8: this is a binary file",
        ),
        (
            vec![b'a'; 5 << 20],
            "flipside.yaml:1:1: this is larger than 1 MiB, which no plan is",
        ),
        (
            format!("name: shop\nx: {deep}").into_bytes(),
            "flipside.yaml:2:68: this is nested more than 64 levels deep",
        ),
        (
            deep_block.into_bytes(),
            "flipside.yaml:65:65: this is nested more than 64 levels deep",
        ),
        (
            bomb.into_bytes(),
            "flipside.yaml:5:30: this plan has more than 50000 values or 4 MiB of text, what anchors and aliases repeat included",
        ),
        (
            nested.into_bytes(),
            "flipside.yaml:1:224: this plan has more than 50000 values or 4 MiB of text, what anchors and aliases repeat included",
        ),
    ];
    for (bytes, expected) in cases {
        assert_eq!(first(fixture.said(&bytes)), expected);
    }
}

#[test]
fn a_plan_that_is_not_there_or_no_file_is_refused() {
    let fixture = Fixture::new();
    let missing = flipside::plan::load(&fixture.file("nope.yaml"), &fixture.inputs()).unwrap_err();
    assert!(
        missing
            .to_string()
            .contains("nope.yaml: cannot be read: No such file"),
        "{missing}"
    );
    let directory = flipside::plan::load(&fixture.file("site"), &fixture.inputs()).unwrap_err();
    assert!(
        directory
            .to_string()
            .contains("site: cannot be read: Is a directory"),
        "{directory}"
    );
}

#[test]
fn twenty_problems_are_shown_and_the_rest_counted() {
    let fixture = Fixture::new();
    let lines: String = (0..30)
        .map(|number| format!("bogus{number}: 1\n"))
        .collect();
    let error = fixture.load(with_top(&lines)).unwrap_err();
    assert_eq!((error.problems.len(), error.more), (20, 10));
    assert!(
        error.to_string().ends_with("\n\nand 10 more problems"),
        "{error}"
    );
    let json = serde_json::to_value(&error).unwrap();
    assert_eq!(
        json["problems"][0]["message"],
        "`bogus0` is not a key of a plan"
    );
    assert_eq!(json["problems"][0]["line"], 6);
}

/// A rule for the preview is one of the load balancer's own, with its limits.
#[cfg(feature = "aws")]
#[test]
fn an_alb_says_what_its_rule_for_the_preview_may_ask_for() {
    let rule = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener-rule/app/a/1/2/3";
    let said = |more: &str| {
        let settings = format!(
            "rule: '{rule}', blue: a, green: b, url: 'http://a.example', reach: container, {more}"
        );
        Fixture::new().said(with_top(&format!("pointer: {{alb: {{{settings}}}}}")))
    };
    let many = "preview_hosts: [a.x, b.x, c.x, d.x, e.x, f.x]";
    let long = format!("preview_header: 'X-{}: yes'", "P".repeat(40));
    for (more, words, help) in [
        (
            "preview_header: 'X-Preview'",
            "not a header with a plain value",
            "`X-Preview: yes`",
        ),
        (
            "preview_header: 'Host: next'",
            "cannot ask for the header Host",
            "`preview_host: NAME`",
        ),
        (&long, "40 characters at most", "write a shorter one"),
        (
            many,
            "5 values of 128 characters at most",
            "name fewer hosts",
        ),
        (
            "hosts: shop.example, preview_host: Shop.example",
            "`shop.example` is the service's own name",
            "a name of its own",
        ),
        (
            "preview_priority: 7",
            "nothing says how it is asked for",
            "add `preview_header:",
        ),
        ("preview_priority: 0, preview_host: a.x", "0", "1"),
    ] {
        let said = said(more);
        for words in [words, help] {
            assert!(said.contains(words), "{more}: {said}");
        }
    }
    for good in [
        "preview_header: 'X-Preview: yes'",
        "preview_host: next.example, preview_priority: 7",
    ] {
        assert_eq!(said(good), "accepted");
    }
}

/// It reaches published ports where a plan says nothing else, and those need an address.
#[cfg(feature = "aws")]
#[test]
fn an_alb_says_at_which_address_it_finds_releases() {
    let rule = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener-rule/app/a/1/2/3";
    let said = |more: &str| {
        let settings = format!("rule: '{rule}', blue: a, green: b, url: 'http://a.example'{more}");
        Fixture::new().said(with_top(&format!("pointer: {{alb: {{{settings}}}}}")))
    };
    for words in ["", ", target: i-0abc"] {
        let said = said(words);
        assert!(said.contains("nothing says on which address"), "{said}");
        assert!(
            said.contains("add `reach: {published: 192.0.2.7}`"),
            "{said}"
        );
        assert!(said.contains("`reach: container`"), "{said}");
    }
    let bound = said(", target: i-0abc, reach: container");
    assert!(
        bound.contains("`target` is the host of published ports"),
        "{bound}"
    );
    for good in [
        ", reach: {published: 10.0.3.7}",
        ", target: i-0abc, reach: {published: 10.0.3.7}",
        ", reach: container",
    ] {
        assert_eq!(said(good), "accepted");
    }
}

/// Of a hosted zone only its id is in the plan: that the name is in it is found out when it is asked.
#[cfg(feature = "aws")]
#[test]
fn a_name_in_route_53_has_one_preview_at_a_name_of_its_own() {
    let said = |more: &str| {
        let settings = format!("zone: Z0123456789ABC, name: shop.example.org, {more}");
        Fixture::new().said(with_top(&format!("pointer: {{route53: {{{settings}}}}}")))
    };
    let slots = "reach: {slot: {blue: '192.0.2.7:80', green: '192.0.2.8:80'}}";
    let with_slots = format!("preview_host: a.example.org, {slots}");
    let alias = "alias_zone: Z0123456789ABD, blue: b.example.org, green: g.example.org";
    let of_slot = format!("{alias}, preview_host: b.example.org");
    for (more, what, help) in [
        (
            "preview_hosts: [a.example.org, b.example.org]",
            "shown for preview at one name",
            "keep one of them",
        ),
        (
            "preview_host: Shop.example.org",
            "this one is that of `name`",
            "write another, such as `preview.shop.example.org`",
        ),
        (
            &of_slot,
            "this one is that of `blue`",
            "write another, such as `preview.shop.example.org`",
        ),
        (
            &with_slots,
            "with slots no preview is shown at a name",
            "`reach: container`",
        ),
        (
            "preview_header: 'X-Preview: yes'",
            "`preview_header` is not supported",
            "write `preview_host: NAME`",
        ),
    ] {
        let said = said(more);
        assert!(said.contains(what) && said.contains(help), "{more}: {said}");
    }
    assert_eq!(said("preview_host: preview.shop.example.org"), "accepted");
    assert_eq!(said(slots), "accepted");
}
