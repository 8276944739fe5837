//! The settings of a shared role, each with its place, and the digests of them that its container's
//! label holds: enough to see later what differs, and nothing that could be read back.
//!
//! What a role does not say has no place, so that a version which knows more settings finds no
//! difference where nobody has made one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io;
use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::EngineError;
use crate::core::plan::{
    Build, FileContent, FileSource, Healthcheck, Host, ImageSource, MountSource, Plan, Restart,
    Role, Text,
};
use crate::core::shared::Difference;
use crate::core::words::hex;
use crate::docker::refused;

/// The settings of a shared role, by place.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Settings {
    places: BTreeMap<String, Vec<u8>>,
    /// Those that the first labels do not have.
    later: BTreeMap<String, Vec<u8>>,
    image: String,
}

/// What the label holds.
#[derive(Serialize, Deserialize)]
struct Sealed {
    salt: String,
    image: String,
    digests: BTreeMap<String, String>,
    /// Apart, so that a label without them says nothing of them, instead of that all of them are new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    later: Option<BTreeMap<String, String>>,
}

impl Settings {
    /// Reads the settings of a role of `plan`, the files that are copied for it included.
    ///
    /// # Errors
    /// Where such a file cannot be read.
    pub fn of(plan: &Plan, role: &Role) -> Result<Self, EngineError> {
        let mut settings = Self::default();
        settings.image(&role.image)?;
        settings.process(role);
        settings.reach(role);
        settings.host(&role.host);
        for file in &role.files {
            let unread = |error| refused(format!("`{}`: {error}", file.target));
            let place = format!("files.{}", file.target);
            settings.set(&place, content(&file.content).map_err(unread)?);
            if let FileContent::Directory(path) = &file.content {
                let mut bytes = Vec::new();
                modes(path, &mut bytes).map_err(unread)?;
                settings.later.insert(place, bytes);
            }
        }
        for key in &role.networks {
            if let Some(name) = plan.external_networks.get(key) {
                settings
                    .later
                    .insert(format!("networks.{key}"), name.clone().into());
            }
        }
        if !role.expose.is_empty() {
            let ports = format!("{:?}", role.expose);
            settings.later.insert("expose".into(), ports.into());
        }
        Ok(settings)
    }

    /// The label's text: a digest of each setting, all with one random salt.
    #[must_use]
    pub fn sealed(&self, salt: &[u8]) -> String {
        let digests = |places: &BTreeMap<String, Vec<u8>>| {
            let places = places.iter();
            let digests = places.map(|(place, bytes)| (place.clone(), digest(salt, place, bytes)));
            digests.collect()
        };
        let sealed = Sealed {
            salt: hex(salt),
            image: self.image.clone(),
            digests: digests(&self.places),
            later: Some(digests(&self.later)),
        };
        // Maps of text can always be written.
        serde_json::to_string(&sealed).unwrap_or_default()
    }

    /// Where the settings differ from those that a label was made of; nothing can be said of one that
    /// cannot be read but that.
    #[must_use]
    pub fn differences(&self, label: &str) -> Vec<Difference> {
        let Ok(sealed) = serde_json::from_str::<Sealed>(label) else {
            return vec![Difference {
                place: "flipside.settings".into(),
                change: None,
            }];
        };
        let salt = unhex(&sealed.salt);
        let mut places = differing(&self.places, &sealed.digests, &salt);
        if let Some(later) = &sealed.later {
            places.extend(differing(&self.later, later, &salt));
        }
        let difference = |place: &String| Difference {
            place: place.clone(),
            change: (place == "image").then(|| (sealed.image.clone(), self.image.clone())),
        };
        places.into_iter().map(difference).collect()
    }

    /// Where the image is another than `made_of`; no more is known of what others have made.
    #[must_use]
    pub fn image_differs(&self, made_of: &str) -> Vec<Difference> {
        let differs = (self.image != made_of).then(|| Difference {
            place: "image".into(),
            change: Some((made_of.to_owned(), self.image.clone())),
        });
        differs.into_iter().collect()
    }

    fn set(&mut self, place: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.places.insert(place.into(), bytes.into());
    }

    fn said(&mut self, place: &str, value: Option<&impl Debug>) {
        if let Some(value) = value {
            self.set(place, format!("{value:?}"));
        }
    }

    fn some<T: Debug>(&mut self, place: &str, values: &[T]) {
        if !values.is_empty() {
            self.set(place, format!("{values:?}"));
        }
    }

    fn flag(&mut self, place: &str, on: bool) {
        if on {
            self.set(place, "on");
        }
    }

    fn texts(&mut self, place: &str, texts: Option<&Vec<Text>>) {
        let words = texts.map(|texts| texts.iter().map(Text::reveal).collect::<Vec<_>>());
        self.said(place, words.as_ref());
    }

    /// Of a build, its Dockerfile and what it is told: not the rest of its context, in which nearly
    /// every release changes something.
    fn image(&mut self, source: &ImageSource) -> Result<(), EngineError> {
        match source {
            ImageSource::Pull(reference) => self.image.clone_from(reference),
            ImageSource::Build(Build {
                context,
                dockerfile,
                args,
                target,
                tag: _,
            }) => {
                self.image = "its own build".into();
                let path = context.join(dockerfile);
                let text = std::fs::read(&path)
                    .map_err(|error| refused(format!("`{}`: {error}", path.display())))?;
                self.set("build.dockerfile", text);
                for (name, value) in args {
                    self.set(format!("build.args.{name}"), value.reveal());
                }
                self.said("build.target", target.as_ref());
            }
        }
        self.set("image", self.image.clone());
        Ok(())
    }

    fn process(&mut self, role: &Role) {
        self.texts("command", role.command.as_ref());
        self.texts("entrypoint", role.entrypoint.as_ref());
        for (name, value) in &role.environment {
            self.set(format!("environment.{name}"), value.reveal());
        }
        for (name, value) in &role.labels {
            self.set(format!("labels.{name}"), value.as_bytes());
        }
        for (name, value) in &role.sysctls {
            self.set(format!("sysctls.{name}"), value.as_bytes());
        }
        for (name, value) in &role.ulimits {
            self.set(format!("ulimits.{name}"), format!("{value:?}"));
        }
        for (path, options) in &role.tmpfs {
            self.set(format!("tmpfs.{path}"), options.as_bytes());
        }
        if let Some(check) = &role.healthcheck {
            self.set("healthcheck", health(check));
        }
        let limits = &role.limits;
        self.said("cpus", limits.nano_cpus.as_ref());
        self.said("mem_limit", limits.memory.as_ref());
        self.said("mem_reservation", limits.memory_reservation.as_ref());
        self.said("memswap_limit", limits.memory_swap.as_ref());
        self.said("pids_limit", limits.pids.as_ref());
        self.said("shm_size", limits.shm.as_ref());
        self.said("stop_signal", role.stop_signal.as_ref());
        self.set("stop_grace_period", role.stop_grace_ms.to_string());
        self.said("user", role.user.as_ref());
        self.some("group_add", &role.group_add);
        self.said("working_dir", role.working_dir.as_ref());
        self.flag("read_only", role.read_only);
        self.some("cap_add", &role.cap_add);
        self.some("cap_drop", &role.cap_drop);
        self.some("security_opt", &role.security_opt);
        self.said("init", role.init.as_ref());
        self.flag("tty", role.tty);
        self.flag("stdin_open", role.stdin_open);
        if let Some(logging) = &role.logging {
            self.set("logging", logging.driver.as_bytes());
            for (name, value) in &logging.options {
                self.set(format!("logging.options.{name}"), value.reveal());
            }
        }
        self.said("platform", role.platform.as_ref());
    }

    fn reach(&mut self, role: &Role) {
        for mount in &role.mounts {
            let source = match &mount.source {
                MountSource::PerRelease(name) => format!("own {name:?}"),
                MountSource::Shared(name) => format!("volume {name}"),
                MountSource::Host(path) => format!("host {path}"),
            };
            let mode = match (mount.read_only, mount.propagation) {
                (true, None) => "ro".to_owned(),
                (false, None) => "rw".to_owned(),
                (read_only, Some(spread)) => format!("{read_only} {spread}"),
            };
            self.set(
                format!("volumes.{}", mount.target),
                format!("{source} {mode}"),
            );
        }
        self.some("networks", &role.networks);
        self.some("aliases", &role.aliases);
        self.said("network_mode", role.network_of.as_ref());
        self.said("hostname", role.hostname.as_ref());
        self.some("extra_hosts", &role.extra_hosts);
        self.some("dns", &role.dns);
        self.some("dns_search", &role.dns_search);
    }

    fn host(&mut self, host: &Host) {
        self.flag("privileged", host.privileged);
        for device in &host.devices {
            let (on_host, permissions) = (&device.host, &device.permissions);
            let place = format!("devices.{}", device.container);
            self.set(place, format!("{on_host} {permissions}"));
        }
        if host.network {
            self.set("network_mode", "host");
        }
        self.flag("pid", host.pid);
        self.flag("ipc", host.ipc);
        let ports = host.ports.iter().map(|port| {
            let address = port.address.map(|address| format!("{address}:"));
            let published = port.published.map(|port| format!("{port}:"));
            let kind = if port.udp { "udp" } else { "tcp" };
            let before = address.unwrap_or_default() + &published.unwrap_or_default();
            format!("{before}{}/{kind}", port.target)
        });
        self.some("ports", &ports.collect::<Vec<_>>());
        let restart = match host.restart {
            Restart::UnlessStopped => return,
            Restart::No => "no".to_owned(),
            Restart::Always => "always".to_owned(),
            Restart::OnFailure(None) => "on-failure".to_owned(),
            Restart::OnFailure(Some(most)) => format!("on-failure:{most}"),
        };
        self.set("restart", restart);
    }
}

/// The places whose values now are others than those of which these digests were made.
fn differing<'a>(
    now: &'a BTreeMap<String, Vec<u8>>,
    then: &'a BTreeMap<String, String>,
    salt: &[u8],
) -> BTreeSet<&'a String> {
    let places = now.keys().chain(then.keys());
    let differs = |place: &&String| {
        let now = now.get(*place).map(|bytes| digest(salt, place, bytes));
        now.as_ref() != then.get(*place)
    };
    places.filter(differs).collect()
}

fn health(check: &Healthcheck) -> String {
    let test: Vec<_> = check.test.iter().map(Text::reveal).collect();
    let mut said = format!("{test:?}");
    let times = [
        ("interval", check.interval_ms),
        ("timeout", check.timeout_ms),
        ("start_period", check.start_period_ms),
        ("start_interval", check.start_interval_ms),
        ("retries", check.retries.map(u64::from)),
    ];
    for (name, value) in times {
        if let Some(value) = value {
            said += &format!(" {name}={value}");
        }
    }
    said
}

/// What stands in a file, with its owner and mode; of a directory that of everything in it.
fn content(content: &FileContent) -> io::Result<Vec<u8>> {
    match content {
        FileContent::File {
            source,
            uid,
            gid,
            mode,
        } => {
            let mut bytes = format!("{uid} {gid} {mode:o}\0").into_bytes();
            match source {
                FileSource::Value(text) => bytes.extend(text.reveal().as_bytes()),
                FileSource::Path(path) => bytes.extend(std::fs::read(path)?),
            }
            Ok(bytes)
        }
        FileContent::Directory(path) => {
            let mut bytes = Vec::new();
            directory(path, &mut bytes)?;
            Ok(bytes)
        }
    }
}

fn directory(path: &Path, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut entries: Vec<_> = path.read_dir()?.collect::<io::Result<_>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type()?);
        bytes.extend(entry.file_name().as_encoded_bytes());
        bytes.push(0);
        if kind.is_dir() {
            directory(&path, bytes)?;
        } else if kind.is_symlink() {
            bytes.extend(path.read_link()?.as_os_str().as_encoded_bytes());
        } else {
            let read = std::fs::read(&path)?;
            bytes.extend(read.len().to_string().as_bytes());
            bytes.push(0);
            bytes.extend(read);
        }
        bytes.push(0);
    }
    Ok(())
}

/// Who may read and enter what is in a directory. Who may write there says nothing: it is mounted
/// read-only, and it is what differs between the checkouts of two people.
fn modes(path: &Path, bytes: &mut Vec<u8>) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    const WRITABLE: u32 = 0o222;
    let metadata = path.metadata()?;
    let mode = metadata.permissions().mode() & 0o7777 & !WRITABLE;
    bytes.extend(format!("{mode:o}\0").into_bytes());
    if !metadata.is_dir() {
        return Ok(());
    }
    let mut entries: Vec<_> = path.read_dir()?.collect::<io::Result<_>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        // A link has no mode of its own.
        if !entry.file_type()?.is_symlink() {
            modes(&entry.path(), bytes)?;
        }
    }
    Ok(())
}

fn digest(salt: &[u8], place: &str, bytes: &[u8]) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(salt).expect("any key length");
    mac.update(place.as_bytes());
    mac.update(&[0]);
    mac.update(bytes);
    hex(&mac.finalize().into_bytes()[..16])
}

/// Bytes of hexadecimal digits; what is none ends them, and then no digest fits.
fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map_while(byte).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn settings(places: &[(&str, &str)]) -> Settings {
        let image = places.iter().find(|(place, _)| *place == "image");
        let places = places.iter();
        Settings {
            image: image.map_or_else(String::new, |(_, image)| (*image).to_owned()),
            places: places
                .map(|(place, value)| ((*place).to_owned(), value.as_bytes().to_vec()))
                .collect(),
            later: BTreeMap::new(),
        }
    }

    #[test]
    fn what_differs_is_said_by_place_and_no_secret_is_readable() {
        let made = settings(&[
            ("image", "postgres:16"),
            ("environment.PASSWORD", "hunter22"),
            ("command", "[\"postgres\"]"),
        ]);
        let label = made.sealed(&[7; 16]);
        assert!(!label.contains("hunter22"), "{label}");
        assert_eq!(made.differences(&label), []);
        // With another salt the digests are others, and nothing differs.
        let again = made.sealed(&[8; 16]);
        assert_ne!(label, again);
        assert_eq!(made.differences(&again), []);
        let now = settings(&[
            ("image", "postgres:17"),
            ("environment.PASSWORD", "hunter23"),
            ("user", "\"70\""),
        ]);
        let differs = now.differences(&label);
        let words: Vec<_> = differs.iter().map(Difference::words).collect();
        let expected = [
            "`command`",
            "`environment.PASSWORD`",
            "`image` (postgres:16 → postgres:17)",
            "`user`",
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn a_label_that_cannot_be_read_is_a_difference() {
        let differs = settings(&[("image", "postgres:16")]).differences("newer");
        let places: Vec<_> = differs.iter().map(|one| one.place.as_str()).collect();
        assert_eq!(places, ["flipside.settings"]);
    }

    /// The line is what the first version wrote: it says nothing of what later ones look at, and an
    /// update of flipside alone is no difference.
    #[test]
    fn a_label_of_the_first_version_differs_only_in_what_it_speaks_of() {
        let label = include_str!("../../tests/golden/label-settings-v1.jsonl").trim_end();
        let same = [
            ("image", "postgres:16"),
            ("command", "[\"postgres\"]"),
            ("networks", "[\"edge\"]"),
        ];
        let mut now = settings(&same);
        let expose = |ports: &str| [("expose".to_owned(), ports.as_bytes().to_vec())];
        now.later.extend(expose("[5432]"));
        assert_eq!(now.differences(label), []);
        let places = |now: &Settings, label: &str| {
            let all = now.differences(label).into_iter();
            all.map(|one| one.place).collect::<Vec<_>>()
        };
        assert_eq!(places(&settings(&same[..2]), label), ["networks"]);
        let label = now.sealed(&[7; 16]);
        assert_eq!(now.differences(&label), []);
        now.later.extend(expose("[5433]"));
        assert_eq!(places(&now, &label), ["expose"]);
        now.later.clear();
        assert_eq!(places(&now, &label), ["expose"]);
    }

    #[test]
    fn digests_are_of_place_and_value() {
        let label = settings(&[("a", "bc")]).sealed(&[7; 16]);
        let sealed: Sealed = serde_json::from_str(&label).unwrap();
        let moved = settings(&[("ab", "c")]).sealed(&[7; 16]);
        let moved: Sealed = serde_json::from_str(&moved).unwrap();
        assert_ne!(sealed.digests["a"], moved.digests["ab"]);
    }
}
