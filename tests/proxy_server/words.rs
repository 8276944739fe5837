//! The formats: what older and newer flipsides must be able to read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use flipside::proxy::control::{Reply, Request};
use flipside::proxy::table::{Deadline, Entry, EnvironmentRoute, Marks, Preview};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

#[test]
fn a_table_entry_of_version_1_is_read_and_written() {
    let text = fs::read_to_string(golden("proxy-table-v1.json")).unwrap();
    let environment = EnvironmentRoute {
        release: 42,
        slot: "green".into(),
        weight: 100,
        endpoints: vec![
            "10.213.0.2:8080".parse().unwrap(),
            "[fd00::2]:8080".parse().unwrap(),
        ],
    };
    let before = EnvironmentRoute {
        release: 41,
        slot: "blue".into(),
        weight: 100,
        endpoints: vec!["10.213.0.66:8080".parse().unwrap()],
    };
    let entry = Entry {
        v: 1,
        service: "shop".into(),
        listen: ":8080".into(),
        hosts: vec!["shop.example".into()],
        generation: 7,
        fence: 19,
        author: "ada@build-3".into(),
        reason: "deploy".into(),
        at_ms: 1_790_000_000_000,
        environments: vec![environment],
        marks: BTreeMap::from([
            (
                41,
                Marks {
                    proven: true,
                    served: Some(6),
                    withdrawn: false,
                },
            ),
            (
                42,
                Marks {
                    proven: true,
                    served: Some(7),
                    withdrawn: false,
                },
            ),
        ]),
        deadline: Some(Deadline {
            at_ms: 1_790_000_600_000,
            back_to: vec![before],
        }),
        preview: Some(Preview {
            header: Some("x-preview".into()),
            ..Preview::default()
        }),
        slots: BTreeMap::new(),
    };
    assert_eq!(serde_json::to_string_pretty(&entry).unwrap() + "\n", text);
    assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry);

    let least = r#"{"v":1,"service":"shop","listen":":1","generation":1,"fence":1,"later":[1]}"#;
    let least: Entry = serde_json::from_str(least).unwrap();
    assert!(least.environments.is_empty() && least.marks.is_empty());
}

#[test]
fn a_table_entry_with_slots_is_read_and_written() {
    let text = fs::read_to_string(golden("proxy-table-v1-slots.json")).unwrap();
    let at = |release, slot: &str, endpoint: &str| EnvironmentRoute {
        release,
        slot: slot.into(),
        weight: 100,
        endpoints: vec![endpoint.parse().unwrap()],
    };
    let slot = |slot: &str, at: &str| (slot.to_owned(), at.to_owned());
    let marks = Marks {
        proven: true,
        served: Some(8),
        withdrawn: false,
    };
    let entry = Entry {
        v: 1,
        service: "shop".into(),
        listen: String::new(),
        hosts: vec![],
        generation: 8,
        fence: 20,
        author: "ada@build-3".into(),
        reason: "deploy".into(),
        at_ms: 1_790_000_000_000,
        environments: vec![
            at(42, "green", "10.213.0.2:8443"),
            at(41, "blue", "10.213.0.66:8443"),
        ],
        marks: BTreeMap::from([(42, marks)]),
        deadline: None,
        preview: None,
        slots: BTreeMap::from([
            slot("blue", "192.0.2.10:443"),
            slot("green", "[2001:db8::11]:443"),
        ]),
    };
    assert_eq!(serde_json::to_string_pretty(&entry).unwrap() + "\n", text);
    assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry);
    assert_eq!(entry.check(), Ok(()));
}

/// Every line of the file is one the program would write, and means what it says.
#[test]
fn the_control_protocol_of_version_1_is_read_and_written() {
    let text = fs::read_to_string(golden("proxy-control-v1.jsonl")).unwrap();
    let mut lines = 0;
    for line in text.lines() {
        let written = if line.starts_with("{\"v\"") {
            let request: Request = serde_json::from_str(line).unwrap();
            serde_json::to_string(&request).unwrap()
        } else {
            let reply: Reply = serde_json::from_str(line).unwrap();
            serde_json::to_string(&reply).unwrap()
        };
        assert_eq!(written, line);
        lines += 1;
    }
    assert_eq!(lines, 42);
}
