//! What variables, commands, images and mounts of a good plan become, and which of it is secret.

use std::collections::BTreeMap;

use flipside::core::plan::{FileContent, FileSource, ImageSource, MountSource, Pull, Text};

use super::fixture::{Fixture, MARKER, with_role};

pub fn words(words: &[Text]) -> Vec<&str> {
    words.iter().map(Text::reveal).collect()
}

#[test]
fn environment_as_a_map_keeps_source_text_and_passes_through() {
    let fixture = Fixture::new();
    let role = fixture.role(
        "environment:\n  PORT: 1.10\n  ON: yes\n  HEX: 0x1F\n  BIG: 1e3\n  TRUE: true\n  QUOTED: \"a b\"\n  \
         PASSWORD:\n  ABSENT:\n  EMPTY: \"\"\n  MIXED: v${TAG}\n  DOLLAR: a$$b\n  DEFAULT: ${NOPE:-x}\n  \
         SET_EMPTY: ${EMPTY}",
    );
    let found: BTreeMap<_, _> = role
        .environment
        .iter()
        .map(|(name, text)| (name.as_str(), (text.reveal(), text.is_secret())))
        .collect();
    let expected = BTreeMap::from([
        ("PORT", ("1.10", false)),
        ("ON", ("yes", false)),
        ("HEX", ("0x1F", false)),
        ("BIG", ("1e3", false)),
        ("TRUE", ("true", false)),
        ("QUOTED", ("a b", false)),
        ("PASSWORD", (MARKER, true)),
        ("EMPTY", ("", false)),
        ("MIXED", ("v1.2", true)),
        ("DOLLAR", ("a$b", false)),
        ("DEFAULT", ("x", false)),
        ("SET_EMPTY", ("", true)),
    ]);
    assert_eq!(found, expected);
}

#[test]
fn environment_as_a_list_and_env_files_merge_with_environment_winning() {
    let fixture = Fixture::new();
    let role = fixture.role(
        "env_file: [app.env, {path: nope.env, required: false}]\nenvironment: [SHARED=plan, PASSWORD, ABSENT, E=]",
    );
    let found: BTreeMap<_, _> = role
        .environment
        .iter()
        .map(|(name, text)| (name.as_str(), (text.reveal(), text.is_secret())))
        .collect();
    let expected = BTreeMap::from([
        ("A", ("1", true)),
        ("B", (MARKER, true)),
        ("C", ("x\ny", true)),
        ("E", ("", false)),
        ("PASSWORD", (MARKER, true)),
        ("SHARED", ("plan", false)),
    ]);
    assert_eq!(found, expected);
    let one = fixture.role("env_file: ./app.env");
    assert_eq!(one.environment["SHARED"].reveal(), "file");
}

#[test]
fn env_files_are_read_as_compose_reads_them() {
    let fixture = Fixture::new();
    let text = "\u{feff}# c\n\nPLAIN=a b # c\nHASH=a#b\nEMPTY_VALUE=\nSINGLE='a $X # \\n'\nDOUBLE=\"a\\tb\\\"c\\\\\" # c\n\
                MANY=\"one\ntwo\"\nREF=${PLAIN}!\nCALLER=${TAG}\nESCAPED=\"\\$HOME\"\nexport  SPACED = x \r\nTAG\nUNKNOWN\n\
                LATER=$MANY\nYAML: a:b\nQUOTE : 'it\\'s \\\\'\n";
    std::fs::write(fixture.file("all.env"), text).unwrap();
    let role = fixture.role("env_file: all.env");
    let found: BTreeMap<_, _> = role
        .environment
        .iter()
        .map(|(name, text)| (name.as_str(), text.reveal()))
        .collect();
    let expected = BTreeMap::from([
        ("PLAIN", "a b"),
        ("HASH", "a#b"),
        ("EMPTY_VALUE", ""),
        ("SINGLE", "a $X # \\n"),
        ("DOUBLE", "a\tb\"c\\"),
        ("MANY", "one\ntwo"),
        ("REF", "a b!"),
        ("CALLER", "1.2"),
        ("ESCAPED", "$HOME"),
        ("SPACED", "x"),
        ("YAML", "a:b"),
        ("QUOTE", "it's \\\\"),
        ("TAG", "1.2"),
        ("LATER", "one\ntwo"),
    ]);
    assert_eq!(found, expected);
}

#[test]
fn commands_are_lists_or_split_like_a_shell() {
    let fixture = Fixture::new();
    let role = fixture
        .role("command: sh -c 'echo \"a b\"' c\\ d \"e\\\"f\" ''\nentrypoint: [/app, 1, true]");
    assert_eq!(
        words(&role.command.unwrap()),
        ["sh", "-c", "echo \"a b\"", "c d", "e\"f", ""]
    );
    assert_eq!(words(&role.entrypoint.unwrap()), ["/app", "1", "true"]);
    let cleared = fixture.role("command: \"\"\nentrypoint: []");
    assert_eq!(
        (cleared.command, cleared.entrypoint),
        (Some(vec![]), Some(vec![]))
    );
    let absent = fixture.role("command:\ninit: true");
    assert_eq!((absent.command, absent.entrypoint), (None, None));
    let secret = fixture
        .role("command: run --password ${PASSWORD}")
        .command
        .unwrap();
    assert!(secret.iter().all(Text::is_secret));
    assert_eq!(secret[2].reveal(), MARKER);
    let header = fixture
        .role("command: [\"Bearer ${PASSWORD}\"]")
        .command
        .unwrap();
    let parts = header[0].parts().unwrap();
    assert_eq!(parts.iter().collect::<Vec<_>>(), [MARKER]);
    let list = fixture
        .role("command: [run, \"${PASSWORD}\"]")
        .command
        .unwrap();
    assert_eq!(
        list.iter().map(Text::is_secret).collect::<Vec<_>>(),
        [false, true]
    );
}

#[test]
fn images_and_builds() {
    let fixture = Fixture::new();
    assert_eq!(
        fixture.role("image: a/b:${TAG}").image,
        ImageSource::Pull("a/b:1.2".into())
    );
    for good in [
        "app",
        "localhost/app:1",
        "reg.example:5000/Team/app",
        "a/b-c_d.e:1-x",
    ] {
        let said = fixture.said(with_role(&format!("image: {good}")));
        assert_eq!(
            said.starts_with("accepted"),
            !good.contains("Team"),
            "{good}: {said}"
        );
    }
    let ImageSource::Build(short) = fixture.role("build: ./app").image else {
        panic!()
    };
    assert_eq!(
        (short.context, short.dockerfile.as_str()),
        (fixture.file("app"), "Dockerfile")
    );
    let lines = "image: shop:1\nbuild:\n  context: app\n  dockerfile: ./Dockerfile\n  args: [A=1, PASSWORD, ABSENT]\n  \
                 target: final\npull_policy: build";
    let ImageSource::Build(long) = fixture.role(lines).image else {
        panic!()
    };
    assert_eq!(long.tag.as_deref(), Some("shop:1"));
    assert_eq!(long.target.as_deref(), Some("final"));
    assert_eq!(long.args["A"], Text::public("1"));
    assert_eq!(long.args["PASSWORD"], Text::secret(MARKER));
    assert_eq!(long.args.len(), 2);
    for (word, pull) in [
        ("always", Pull::Always),
        ("missing", Pull::Missing),
        ("if_not_present", Pull::Missing),
        ("never", Pull::Never),
    ] {
        assert_eq!(fixture.role(&format!("pull_policy: {word}")).pull, pull);
    }
}

#[test]
fn volumes_short_and_long() {
    let fixture = Fixture::new();
    let role = fixture.role(
        "volumes:\n- ./site:/srv/site/:ro\n- ./nginx.conf:/etc/nginx.conf:ro\n- {type: volume, target: /cache, read_only: true}\n- uploads:/data\n\
         - {type: volume, source: db, target: /db, read_only: true}\n- {type: bind, source: ./site, target: /www, read_only: true}\n\
         - {type: tmpfs, target: /tmp, tmpfs: {size: 64m, mode: 01777}}\n- tmp:/scratch\n- old:/old\n\
         - /srv/media:/media\ntmpfs: [/run, \"/var/tmp:size=64m,mode=1777\"]\n---\n\
         volumes:\n  uploads: {keep: across-releases}\n  db: {external: true, name: pg}\n  tmp: {keep: per-release}\n  \
         old: {external: true}\nshared_paths: [/srv]",
    );
    let copied: Vec<_> = role.files.iter().map(|file| file.target.as_str()).collect();
    assert_eq!(copied, ["/srv/site", "/etc/nginx.conf", "/www"]);
    assert_eq!(
        role.files[0].content,
        FileContent::Directory(fixture.file("site"))
    );
    let FileContent::File { source, .. } = &role.files[1].content else {
        panic!()
    };
    assert_eq!(*source, FileSource::Path(fixture.file("nginx.conf")));
    let mounted: Vec<_> = role
        .mounts
        .iter()
        .map(|mount| (mount.target.as_str(), mount.source.clone(), mount.read_only))
        .collect();
    let expected = [
        ("/cache", MountSource::PerRelease(None), true),
        ("/data", MountSource::Shared("shop_uploads".into()), false),
        ("/db", MountSource::Shared("pg".into()), true),
        (
            "/scratch",
            MountSource::PerRelease(Some("tmp".into())),
            false,
        ),
        ("/old", MountSource::Shared("old".into()), false),
        ("/media", MountSource::Host("/srv/media".into()), false),
    ];
    assert_eq!(mounted, expected);
    let tmpfs: Vec<_> = role
        .tmpfs
        .iter()
        .map(|(path, options)| (path.as_str(), options.as_str()))
        .collect();
    assert_eq!(
        tmpfs,
        [
            ("/run", ""),
            ("/tmp", "size=67108864,mode=1777"),
            ("/var/tmp", "size=64m,mode=1777")
        ]
    );
}

#[test]
fn secrets_and_configs_short_and_long() {
    let fixture = Fixture::new();
    let role = fixture.role(
        "secrets: [tls, {source: pw, target: db/pw, uid: \"70\", gid: 71, mode: 0400}]\n\
         configs: [motd, {source: made, target: /etc/made}]\n---\n\
         secrets: {tls: {file: ./tls.key}, pw: {environment: PASSWORD}}\n\
         configs: {motd: {content: \"hello $$USER\"}, made: {content: \"pw=${PASSWORD}\"}}",
    );
    let found: Vec<_> = role
        .files
        .iter()
        .map(|file| match &file.content {
            FileContent::File {
                source,
                uid,
                gid,
                mode,
            } => (file.target.as_str(), source.clone(), *uid, *gid, *mode),
            FileContent::Directory(_) => panic!(),
        })
        .collect();
    let expected = [
        (
            "/run/secrets/tls",
            FileSource::Path(fixture.file("tls.key")),
            0,
            0,
            0o444,
        ),
        (
            "/run/secrets/db/pw",
            FileSource::Value(Text::secret(MARKER)),
            70,
            71,
            0o400,
        ),
        (
            "/motd",
            FileSource::Value(Text::public("hello $USER")),
            0,
            0,
            0o444,
        ),
        (
            "/etc/made",
            FileSource::Value(Text::secret(format!("pw={MARKER}"))),
            0,
            0,
            0o444,
        ),
    ];
    assert_eq!(found, expected);
}

#[test]
fn variables_come_from_set_then_the_caller_then_the_file_beside_the_plan() {
    let mut fixture = Fixture::new();
    std::fs::write(fixture.file(".env"), "TAG=file\nONLY=file\nWORD='file'\n").unwrap();
    fixture.overrides.insert("WORD".into(), "set".into());
    let image = |image: &str| match fixture.role(&format!("image: \"{image}\"")).image {
        ImageSource::Pull(image) => image,
        ImageSource::Build(_) => panic!(),
    };
    assert_eq!(image("a:${TAG}-${ONLY}-$WORD"), "a:1.2-file-set");
    assert_eq!(image("a:${EMPTY:-default}${EMPTY-no}"), "a:default");
    assert_eq!(image("a:${NOPE:-${NOR:-${TAG}}}"), "a:1.2");
    assert_eq!(
        image("a:x${TAG:+set}${NOPE:+no}${EMPTY:+no}${EMPTY+yes}"),
        "a:xsetyes"
    );
    assert_eq!(image("a:${TAG?no}${TAG:?no}"), "a:1.21.2");
    assert_eq!(image("a:${NOPE:-x}$TAG"), "a:x1.2");
    std::fs::write(fixture.file(".env"), format!("{MARKER}\n= {MARKER}\n")).unwrap();
    let error = fixture
        .load(with_role(
            "image: a:${ELSEWHERE}\nsecrets: [s]\n---\nsecrets: {s: {environment: OTHER}}",
        ))
        .unwrap_err();
    let beside = fixture.file(".env").display().to_string();
    let said: Vec<_> = error
        .problems
        .iter()
        .map(|problem| {
            (
                problem.file.as_str(),
                problem.line,
                problem.message.as_str(),
            )
        })
        .collect();
    let wrong = "this line does not begin with a variable's name";
    assert_eq!(
        said,
        [(beside.as_str(), 2, wrong)],
        "and nothing is called unset"
    );
}

#[test]
fn large_env_files_are_read_in_one_pass_and_grow_to_4_mib_at_most() {
    let fixture = Fixture::new();
    let said = |text: String| {
        std::fs::write(fixture.file("large.env"), text).unwrap();
        fixture.said(with_role("env_file: large.env"))
    };
    // What is read again from its beginning with each line would take hours here.
    let open = format!("A=\"{}", "x\n".repeat(450_000));
    assert!(said(open).starts_with("large.env:1:1: the quote that begins here is never closed"),);
    let names: String = (0..70_000).map(|n| format!("V{n}=$A\n")).collect();
    assert_eq!(said(format!("A=1\n{names}")), "accepted");
    let grown = format!("A={}\n{}", "x".repeat(500_000), "B=$A\n".repeat(20));
    let said = said(grown);
    assert!(
        said.starts_with(
            "large.env:9:1: with its variables substituted this file is larger than 4 MiB"
        ),
        "{said}"
    );
}

#[test]
fn quoted_lines_keep_their_blanks_and_escapes_across_line_ends() {
    let fixture = Fixture::new();
    let text = "A=\"one \\\ntwo\\\"\nthree\"\nB='x'\n";
    std::fs::write(fixture.file("lines.env"), text).unwrap();
    let role = fixture.role("env_file: lines.env");
    assert_eq!(role.environment["A"].reveal(), "one \\\ntwo\"\nthree");
    assert_eq!(role.environment["B"].reveal(), "x");
}

#[test]
fn a_single_file_keeps_its_owner_and_mode() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
    let fixture = Fixture::new();
    let path = fixture.file("nginx.conf");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    // Only root can give a file away; for others it is their own, which is not root's either.
    let _ = std::os::unix::fs::chown(&path, Some(1234), Some(4321));
    let there = std::fs::metadata(&path).unwrap();
    let role = fixture.role("volumes: [\"./nginx.conf:/etc/nginx.conf:ro\"]");
    let FileContent::File { uid, gid, mode, .. } = &role.files[0].content else {
        panic!("not a single file");
    };
    assert_eq!((*uid, *gid, *mode), (there.uid(), there.gid(), 0o640));
}

#[test]
fn a_set_variable_that_is_used_nowhere_is_noted() {
    let mut fixture = Fixture::new();
    fixture.overrides.insert("TGA".into(), "2".into());
    fixture.overrides.insert("TAG".into(), "2".into());
    let said = fixture.said(with_role("image: a:${TAG}"));
    assert_eq!(
        said,
        "accepted\nnote: flipside.yaml:1:1: `--set TGA` is used nowhere in this plan"
    );
}

#[test]
fn references_that_the_engine_reads_are_taken() {
    let fixture = Fixture::new();
    let digest = format!("sha256:{}", "0a".repeat(32));
    for image in [
        "web:1.2_x-Y".to_owned(),
        "me/web__x-y--z.w:1".to_owned(),
        "reg.example:5000/a/b:1".to_owned(),
        "localhost/web:1".to_owned(),
        format!("web@{digest}"),
        format!("Reg.Example/web:1@{digest}"),
        digest,
    ] {
        let role = fixture.role(&format!("image: {image}"));
        assert_eq!(role.image, ImageSource::Pull(image));
    }
}

#[test]
fn a_pull_policy_beside_a_build_is_about_its_bases() {
    let fixture = Fixture::new();
    let role = fixture.role("build: ./app\npull_policy: always");
    assert!(matches!(role.image, ImageSource::Build(_)));
    assert_eq!(role.pull, Pull::Always);
}
