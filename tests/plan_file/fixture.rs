//! A directory with a plan and the files it names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use flipside::core::plan::Role;
use flipside::plan::{self, Fate, Inputs, Loaded, PlanError};

use super::schema;

/// Stands for every secret: no rendering may ever contain it.
pub const MARKER: &str = "MARKER-5c1e";
pub const KEY: [u8; 32] = [7; 32];

pub struct Fixture {
    pub directory: tempfile::TempDir,
    pub vars: BTreeMap<String, String>,
    pub overrides: BTreeMap<String, String>,
    pub name: Option<String>,
}

impl Fixture {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("site/index.html", "<h1>hello</h1>");
        put("site/css/main.css", "h1 {}");
        put("nginx.conf", "events {}");
        put(
            "base.yaml",
            "services:\n  web: {image: \"app:1\", ports: [\"8000:8080\"]}\n  worker: {image: \"app:1\"}\n  \
             debug: {image: \"app:1\", profiles: [debug]}\n  db: {image: \"pg:1\"}\n",
        );
        put("tls.key", MARKER);
        put("app/Dockerfile", "FROM scratch\n");
        put(
            "app/Buildkit",
            "FROM scratch\nRUN --mount=type=cache,target=/c make\n",
        );
        put("empty/README", "no Dockerfile here");
        put(
            "app.env",
            &format!("# comment\nexport A=1\nB='{MARKER}'\nC=\"x\\ny\" # c\nSHARED=file\n"),
        );
        put("broken.env", &format!("A=1\n{MARKER} = = =\n="));
        put("open.env", &format!("A=\"{MARKER}\nB=2\n"));
        put("dollar.env", &format!("A={MARKER}$nothing\n"));
        let pipe = std::process::Command::new("mkfifo")
            .arg(directory.path().join("pipe.env"))
            .status();
        assert!(pipe.unwrap().success());
        let vars = [
            ("TAG", "1.2"),
            ("EMPTY", ""),
            ("PASSWORD", MARKER),
            ("REPLICAS", "3"),
            ("WORD", "abc"),
            ("HOME", "/srv/sam"),
            ("UPPER", "Not A Name"),
        ];
        let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            directory,
            vars: vars.into(),
            overrides: BTreeMap::new(),
            name: None,
        }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("flipside.yaml")
    }

    pub fn inputs(&self) -> Inputs<'_> {
        Inputs {
            overrides: &self.overrides,
            vars: &self.vars,
            name: self.name.as_deref(),
            digest_key: &KEY,
        }
    }

    pub fn load(&self, text: impl AsRef<[u8]>) -> Result<Loaded, PlanError> {
        std::fs::write(self.path(), &text).unwrap();
        let plan::Accounted { loaded, entries } = plan::account(&self.path(), &self.inputs());
        if loaded.is_ok() {
            let unread = entries.iter().find(|entry| entry.fate == Fate::Unread);
            assert_eq!(unread, None, "nobody has looked at it");
            let text = std::str::from_utf8(text.as_ref()).unwrap();
            schema::accepts(text, self.name.as_deref());
        }
        loaded
    }

    /// The rendering of what is wrong, with the directory cut off; notes where nothing is.
    pub fn said(&self, text: impl AsRef<[u8]>) -> String {
        let said = match self.load(text) {
            Err(error) => {
                let json = serde_json::to_string(&error).unwrap();
                assert!(!json.contains(MARKER) && !format!("{error:?}").contains(MARKER));
                error.to_string()
            }
            Ok(loaded) => {
                assert!(!format!("{loaded:?}").contains(MARKER));
                assert!(
                    !serde_json::to_string(&loaded.record)
                        .unwrap()
                        .contains(MARKER)
                );
                let mut said = vec!["accepted".to_owned()];
                said.extend(loaded.notes.iter().map(|note| format!("note: {note}")));
                said.join("\n")
            }
        };
        assert!(!said.contains(MARKER), "a secret was shown:\n{said}");
        self.without_directory(&said)
    }

    /// A text about this directory, as if it were the current one.
    pub fn without_directory(&self, text: &str) -> String {
        let directory = self.directory.path().display().to_string();
        text.replace(&format!("{directory}/"), "")
            .replace(&directory, ".")
    }

    /// The role `web` with `lines` added to it.
    pub fn role(&self, lines: &str) -> Role {
        let loaded = self
            .load(with_role(lines))
            .unwrap_or_else(|error| panic!("{error}"));
        loaded
            .plan
            .roles
            .into_iter()
            .find(|(name, _)| name.as_str() == "web")
            .unwrap()
            .1
    }

    pub fn file(&self, path: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(path)
    }
}

pub fn indented(lines: &str, by: usize) -> String {
    let pad = " ".repeat(by);
    lines
        .lines()
        .map(|line| {
            if line.is_empty() {
                "\n".into()
            } else {
                format!("{pad}{line}\n")
            }
        })
        .collect()
}

/// A good plan whose role `web` has `lines` too; what follows a line `---` stands at the top level.
pub fn with_role(lines: &str) -> String {
    let (role, top) = lines.split_once("\n---\n").unwrap_or((lines, ""));
    let image = if role.contains("image:") || role.contains("build:") {
        ""
    } else {
        "    image: app:1\n"
    };
    format!(
        "name: shop\nservices:\n  web:\n{image}{}{TAIL}{top}\n",
        indented(role, 4)
    )
}

const TAIL: &str = "expose: web:8080\nprobes: none\npointer: {proxy: {listen: \":8080\"}}\n";

/// A good plan with `lines` at the top level, which replace its own sections of the same names.
pub fn with_top(lines: &str) -> String {
    let own = format!("name: shop\nservices: {{web: {{image: \"app:1\"}}}}\n{TAIL}");
    let given: Vec<_> = lines
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, _)| key)
        .collect();
    let kept = own
        .lines()
        .filter(|line| !given.iter().any(|key| line.starts_with(&format!("{key}:"))));
    let kept: String = kept.map(|line| format!("{line}\n")).collect();
    format!("{kept}{lines}\n")
}
