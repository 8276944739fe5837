//! The sample plans under `plans/` are good plans, and say nothing that needs a note.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use flipside::plan::{self, Inputs, NoteKind};

use super::fixture::{Fixture, KEY};
use super::schema;

#[test]
fn every_sample_plan_is_accepted_and_warned_of_nothing() {
    let nothing = BTreeMap::new();
    let inputs = Inputs {
        overrides: &nothing,
        vars: &nothing,
        name: None,
        digest_key: &KEY,
    };
    let mut read = 0;
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("plans")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "yaml") {
            let loaded = plan::load(&path, &inputs).unwrap_or_else(|error| panic!("{error}"));
            let caution = loaded
                .notes
                .iter()
                .find(|note| note.kind == NoteKind::Caution);
            assert_eq!(caution, None, "{}", path.display());
            schema::accepts(&std::fs::read_to_string(&path).unwrap(), None);
            read += 1;
        }
    }
    assert!(read >= 2);
}

#[test]
fn the_plan_is_found_where_none_is_named() {
    let fixture = Fixture::new();
    let at = |path: &str| fixture.file(path);
    let found = || plan::find(None, fixture.directory.path()).map_err(|error| error.to_string());
    let given = PathBuf::from("some.yaml");
    assert_eq!(
        plan::find(Some(&given), fixture.directory.path()).unwrap(),
        given
    );

    let none = "flipside.yaml: there is no plan here\n   = hint: write one, or name it: `-f PLAN`";
    assert_eq!(found(), Err(none.to_owned()));

    std::fs::create_dir(at("plans")).unwrap();
    std::fs::write(at("plans/notes.txt"), "").unwrap();
    assert_eq!(found(), Err(none.to_owned()));
    std::fs::write(at("plans/shop.yml"), "").unwrap();
    assert_eq!(found(), Ok(at("plans/shop.yml")));
    std::fs::write(at("plans/api.yaml"), "").unwrap();
    let several = "plans: holds more than one plan: `api.yaml` and `shop.yml`\n   = hint: name the one you mean: `-f plans/api.yaml`";
    assert_eq!(found(), Err(several.to_owned()));

    std::fs::write(at("flipside.yml"), "").unwrap();
    assert_eq!(found(), Ok(at("flipside.yml")));
    std::fs::write(at("flipside.yaml"), "").unwrap();
    let both = "flipside.yaml: stands beside `flipside.yml`\n   = hint: remove one of them, or name the plan: `-f flipside.yaml`";
    assert_eq!(found(), Err(both.to_owned()));
}
