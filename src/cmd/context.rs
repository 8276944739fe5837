//! The real things behind a verb: this machine's engine, store, streams and clock.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::cli::{Common, PlanArgs, ServiceArg};
use crate::core::names::{Millis, ServiceName};
use crate::core::plan::{Plan, PointerPlan, Reach};
use crate::docker;
use crate::drive::Core;
use crate::engine::docker::Docker;
use crate::engine::{Engine, EngineError};
use crate::error::{Error, Touched};
use crate::journal::{self, Journal, JournalError, RunLog};
use crate::lease::Terms;
use crate::perform::Clock;
use crate::perform::bounded::{BoundedEngine, BoundedPointer, CONNECT, no_answer};
use crate::plan::{self, Accounted, Entry, Inputs, Loaded, Note, NoteKind, PlanError, PlanRecord};
use crate::pointer::proxy::{Newer, Probing, ProxyPlan, ProxyPointer};
use crate::pointer::slot::Slotted;
use crate::pointer::{self, Pointer, PointerError};
use crate::probe::Vantage;
use crate::report::Report;

use super::operator::{Operator, Reload, Reread, Runs, of_journal, within};
use super::reach::{self, Beyond};

/// What stands for a key where no digest is kept.
pub(super) const NO_KEY: [u8; 32] = [0; 32];

/// What a person said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Go on.
    Yes,
    /// Leave it.
    No,
}

/// What becomes of the digests that stand for a plan's secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digests {
    /// They are recorded, made with the key that is kept for them.
    Kept,
    /// Nobody will read them: no key is needed, and none is made.
    Dropped,
}

/// Which of the notes on a plan are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// All of them.
    All,
    /// Only what may not be meant: what Compose's keys mean here was said by `check`.
    Cautions,
}

/// A service's pointer, and the place from which its addresses are checked.
type Ways = (Arc<dyn Pointer>, Arc<dyn Vantage>);

/// What all verbs share.
pub struct Context {
    /// Flags that every verb takes.
    pub common: Common,
    /// Where everything goes that is shown.
    pub report: Arc<dyn Report>,
    /// When the process began.
    pub began: Instant,
    /// The service that is meant, once that is known.
    pub service: OnceLock<ServiceName>,
}

impl Context {
    /// Reads and checks the plan that `args` mean.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub async fn load_plan(
        &self,
        args: &PlanArgs,
        digests: Digests,
        told: Told,
    ) -> Result<Loaded, Error> {
        // The key is made only for a plan that is good: a bad one leaves nothing behind.
        let mut loaded = read_plan(args, &NO_KEY)?;
        let beyond = self.beyond(&loaded.plan);
        if let Some(Beyond::Out { what, help }) = &beyond {
            return Err(refused(loaded.wrong_pointer(what, help)));
        }
        if digests == Digests::Kept {
            let key = digest_key(self.common.state.clone()).await?;
            if !(loaded.record.secrets.is_empty() && loaded.record.files.is_empty()) {
                loaded = read_plan(args, &key)?;
            }
        }
        if let Some(Beyond::Perhaps { what }) = beyond {
            loaded.caution_pointer(&what);
        }
        self.tell_notes(&loaded.notes, told);
        self.service.get_or_init(|| loaded.plan.service.clone());
        Ok(loaded)
    }

    /// What stands between a plan's pointer and its engine. An address that is none is told by whoever
    /// needs the engine.
    fn beyond(&self, plan: &Plan) -> Option<Beyond> {
        let address = plan.engine.as_deref().or(self.common.engine.as_deref());
        let engine = docker::address::choose(address, &docker::Surroundings::read()).ok()?;
        reach::beyond(&plan.pointer, &engine)
    }

    fn tell_notes(&self, notes: &[Note], told: Told) {
        let wanted = |note: &&Note| told == Told::All || note.kind == NoteKind::Caution;
        for note in notes.iter().filter(wanted) {
            self.report.warn(&note.to_string());
        }
    }

    /// What became of every value of the plan that `args` mean and of its Compose files, also where
    /// something is wrong with them; none where one is no YAML.
    ///
    /// # Errors
    /// Where it is not known which plan is meant.
    pub fn account_plan(&self, args: &PlanArgs) -> Result<Vec<Entry>, Error> {
        Ok(accounted(args, &NO_KEY)?.entries)
    }

    /// One who acts on the service of `plan`; `set` is what `--set` gave it.
    ///
    /// # Errors
    /// Where the engine cannot be asked, or cannot do what the plan asks for.
    pub async fn operator_of_plan(
        &self,
        plan: &Plan,
        set: &[(String, String)],
    ) -> Result<Operator, Error> {
        let engine = plan.engine.as_deref().or(self.common.engine.as_deref());
        let client = self.client(engine).await?;
        let able = Docker::new(client.clone()).check(plan);
        able.map_err(Error::EngineLacks)?;
        let (service, pointer) = (plan.service.clone(), Some(&plan.pointer));
        self.operator(client, service, pointer, Newer::Refuse, set)
            .await
    }

    /// One who acts on a service that is there.
    ///
    /// # Errors
    /// Where there is none such, or the engine cannot be asked.
    pub async fn operator_of_service(&self, arg: &ServiceArg) -> Result<Operator, Error> {
        let client = self.client(self.common.engine.as_deref()).await?;
        let service = self.choose(&client, arg).await?;
        let pointer = self.pointer_of(&client, &service, arg).await?;
        self.operator(client, service, pointer.as_ref(), Newer::Subset, &[])
            .await
    }

    /// One who goes on with a service's run; `set` is what `--set` gave its plan. Where the pointer
    /// shall listen is in the opening record of the last deploy on this engine: a first release may
    /// have no other trace yet.
    ///
    /// # Errors
    /// As [`Context::operator_of_service`].
    pub async fn operator_of_run(
        &self,
        arg: &ServiceArg,
        set: &[(String, String)],
    ) -> Result<Operator, Error> {
        let client = self.client(self.common.engine.as_deref()).await?;
        let service = self.choose(&client, arg).await?;
        let away = |error| of_journal(error, Touched::Nothing);
        let journal = self.journal().await.map_err(away)?;
        let runs = Runs::of(&journal, &service, client.address()).await;
        let runs = runs.map_err(away)?;
        let pointer = recorded_pointer(&runs);
        self.operator(client, service, pointer.as_ref(), Newer::Refuse, set)
            .await
    }

    /// The engine's client.
    ///
    /// # Errors
    /// Where it cannot be asked.
    pub async fn client(&self, address: Option<&str>) -> Result<docker::Client, Error> {
        let chosen = docker::address::choose(address, &docker::Surroundings::read());
        let opened = match chosen {
            Ok(endpoint) => {
                let engine = endpoint.address.clone();
                tokio::time::timeout(CONNECT, docker::Client::open(endpoint))
                    .await
                    .unwrap_or_else(|_| {
                        let why = no_answer(CONNECT);
                        Err(EngineError::OutOfReach { engine, why })
                    })
            }
            Err((engine, why)) => Err(EngineError::OutOfReach { engine, why }),
        };
        opened.map_err(|error| Error::of_engine(error, Touched::Nothing))
    }

    async fn operator(
        &self,
        client: docker::Client,
        service: ServiceName,
        pointer: Option<&PointerPlan>,
        newer: Newer,
        set: &[(String, String)],
    ) -> Result<Operator, Error> {
        self.service.get_or_init(|| service.clone());
        let outside = pointer.filter(|plan| plan.kind != pointer::proxy::SECTION.kind);
        let outside = outside.cloned();
        let (pointer, vantage) = self.ways(&client, &service, pointer, newer)?;
        let own_image = super::proxy::site(&self.common, client.clone()).image;
        let docker = Docker::new(client).with_own_image(own_image);
        Ok(Operator {
            service,
            engine: Arc::new(BoundedEngine(Arc::new(docker))),
            outside,
            pointer: Arc::new(BoundedPointer(pointer)),
            vantage,
            journal: self.journal().await,
            report: Arc::clone(&self.report),
            clock: wall_clock(),
            author: author(),
            terms: Terms::default(),
            lock_wait: Duration::ZERO,
            core: Core::default(),
            reload: self.reload(set),
            hooks: Arc::new(crate::hook::Here),
            began: self.began,
        })
    }

    /// The pointer, and the place from which addresses are checked: the embedded proxy where it is the
    /// pointer; else this machine, where the engine's containers are reached from it; else a proxy
    /// there, which is started for that alone.
    fn ways(
        &self,
        client: &docker::Client,
        service: &ServiceName,
        plan: Option<&PointerPlan>,
        newer: Newer,
    ) -> Result<Ways, Error> {
        let proxy = |plan| {
            let (common, client) = (&self.common, client.clone());
            super::proxy::options(common, client, service.clone(), plan, newer)
        };
        let embedded = plan.filter(|plan| plan.kind == pointer::proxy::SECTION.kind);
        if let (Some(plan), None) = (plan, embedded) {
            let of_pointer = |error| Error::of_pointer(service.as_str(), error, Touched::Nothing);
            let opened = pointer::open(service, plan).map_err(of_pointer)?;
            if let Some(Beyond::Out { what, help }) = reach::beyond(plan, client.endpoint()) {
                let hint = Some(help);
                return Err(of_pointer(PointerError::Failed { what, hint }));
            }
            let vantage: Arc<dyn Vantage> = match client.is_local() {
                true => Arc::new(crate::probe::Here),
                false => Arc::new(Probing::new(proxy(None))),
            };
            let Ok(Reach::Slot(slots)) = plan.reach() else {
                return Ok((opened, vantage));
            };
            let forwarder = ProxyPointer::new(proxy(Some(ProxyPlan::at(slots))));
            let slotted = Slotted::new(opened, Arc::new(forwarder), slots);
            return Ok((Arc::new(slotted), vantage));
        }
        let plan = embedded.map(PointerPlan::read).transpose();
        let plan = plan.map_err(|error| Error::Bug {
            what: format!("the settings of the proxy cannot be read: {error}"),
        })?;
        let pointer = Arc::new(ProxyPointer::new(proxy(plan)));
        Ok((Arc::clone(&pointer) as Arc<_>, pointer))
    }

    /// What sends the traffic of a service, where that is not the embedded proxy: as the last deploy
    /// on this engine has recorded it, or, where the journal knows of none, as the labels on the
    /// engine say and somebody trusts them.
    async fn pointer_of(
        &self,
        client: &docker::Client,
        service: &ServiceName,
        arg: &ServiceArg,
    ) -> Result<Option<PointerPlan>, Error> {
        if let Ok(journal) = self.journal().await
            && let Ok(runs) = Runs::of(&journal, service, client.address()).await
            && let Some(plan) = recorded_pointer(&runs)
        {
            return Ok(Some(plan).filter(|plan| plan.kind != pointer::proxy::SECTION.kind));
        }
        let engine = BoundedEngine(Arc::new(Docker::new(client.clone())));
        let stands = engine.inspect(service).await;
        let stands = stands.map_err(|error| Error::of_engine(error, Touched::Nothing))?;
        let said = stands
            .into_iter()
            .rev()
            .map(|environment| environment.labels.pointer);
        let said = said.into_iter().find(|plan| !plan.kind.is_empty());
        match said.filter(|plan| plan.kind != pointer::proxy::SECTION.kind) {
            Some(plan) if !arg.trust_labels => Err(Error::Untrusted {
                service: service.to_string(),
                pointer: plan.to_string(),
            }),
            said => Ok(said),
        }
    }

    /// The journal that the flags name.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub async fn journal(&self) -> Result<Journal, JournalError> {
        let state = self.common.state.clone();
        let place = in_time(state, |state| Ok(journal_place(state))).await?;
        within(&place, Journal::open(&place)).await
    }

    fn reload(&self, set: &[(String, String)]) -> Reload {
        let overrides: Arc<BTreeMap<String, String>> = Arc::new(set.iter().cloned().collect());
        let state = self.common.state.clone();
        Arc::new(move |record| {
            let (overrides, state) = (Arc::clone(&overrides), state.clone());
            Box::pin(async move {
                let record: PlanRecord =
                    serde_json::from_value(record).map_err(|error| Error::Bug {
                        what: format!("a recorded plan cannot be read: {error}"),
                    })?;
                let key = digest_key(state).await?;
                let (vars, name) = (variables(), record.name.as_deref());
                let inputs = Inputs {
                    overrides: &overrides,
                    vars: &vars,
                    name,
                    digest_key: &key,
                };
                Ok(match plan::reload(&record, &inputs) {
                    Ok(loaded) => loaded.plan.into(),
                    Err(error) => {
                        let (hooks, unread) = plan::reload_hooks(&record, &inputs);
                        Reread {
                            plan: Err(refused(error)),
                            hooks,
                            unread: unread.map(refused),
                        }
                    }
                })
            })
        })
    }

    /// The service that is meant: the one named, else the only one on the engine.
    async fn choose(
        &self,
        client: &docker::Client,
        arg: &ServiceArg,
    ) -> Result<ServiceName, Error> {
        if let Some(name) = &arg.service {
            return ServiceName::new(name.as_str()).map_err(|bad| Error::BadFlags {
                what: bad.to_string(),
                instead: None,
            });
        }
        let known = BoundedEngine(Arc::new(Docker::new(client.clone())))
            .services()
            .await
            .map_err(|error| Error::of_engine(error, Touched::Nothing))?;
        match known.as_slice() {
            [] => Err(Error::NoService),
            [only] => Ok(only.clone()),
            _ => Err(Error::SeveralServices {
                known: known.iter().map(ToString::to_string).collect(),
            }),
        }
    }

    /// Whether a question may be asked: a terminal is there to answer it, and `--yes` was not said.
    #[must_use]
    pub fn may_ask(&self) -> bool {
        !self.common.yes && std::io::stdin().is_terminal()
    }

    /// Asks.
    ///
    /// # Errors
    /// Where the answer cannot be read.
    pub fn confirm(&self, report: &Arc<dyn Report>, question: &str) -> Result<Answer, Error> {
        self.confirm_or(report, question, Answer::No)
    }

    /// As [`Self::confirm`]; an empty line means `otherwise`.
    ///
    /// # Errors
    /// Where the answer cannot be read.
    pub fn confirm_or(
        &self,
        report: &Arc<dyn Report>,
        question: &str,
        otherwise: Answer,
    ) -> Result<Answer, Error> {
        let answer = self.ask(report, question)?;
        Ok(match answer.to_ascii_lowercase().as_str() {
            "y" | "yes" => Answer::Yes,
            "" => otherwise,
            _ => Answer::No,
        })
    }

    /// Asks for a word.
    ///
    /// # Errors
    /// Where the answer cannot be read.
    pub fn ask(&self, report: &Arc<dyn Report>, question: &str) -> Result<String, Error> {
        report.ask(question);
        let mut line = String::new();
        std::io::stdin()
            .read_line(&mut line)
            .map_err(|error| Error::Io {
                doing: "reading the answer".into(),
                why: error.to_string(),
                touched: Touched::Nothing,
            })?;
        Ok(line.trim().to_owned())
    }
}

/// What the newest deploy has recorded of its pointer.
fn recorded_pointer(runs: &[RunLog]) -> Option<PointerPlan> {
    let mut opened = runs.iter().filter_map(RunLog::opened);
    opened.find_map(|opened| opened.pointer.clone())
}

/// Where the journal is: the address given, else the default.
fn journal_place(state: Option<&str>) -> String {
    let default = || journal::default_location().to_string_lossy().into_owned();
    state.map_or_else(default, str::to_owned)
}

/// The key of the digests that stand for secrets lies beside the journal where that is a directory,
/// else where it would be. Made where there is none.
async fn digest_key(state: Option<String>) -> Result<[u8; 32], Error> {
    let key = in_time(state, |state| {
        let directory = match state.map(|url| url.trim_start_matches("file://")) {
            Some(path) if !path.contains("://") => path.into(),
            _ => journal::default_location(),
        };
        journal::digest_key(&directory)
    });
    key.await
        .map_err(|error| of_journal(error, Touched::Nothing))
}

/// What `read` finds where the journal is or would be. A directory that hangs holds up neither the
/// runtime nor the command.
async fn in_time<T: Send + 'static>(
    state: Option<String>,
    read: impl FnOnce(Option<&str>) -> Result<T, JournalError> + Send + 'static,
) -> Result<T, JournalError> {
    let shown = state.clone().unwrap_or_else(|| "its place".into());
    within(&shown, async {
        let read = tokio::task::spawn_blocking(move || read(state.as_deref())).await;
        read.unwrap_or_else(|panicked| {
            Err(JournalError::OutOfReach {
                store: shown.clone(),
                why: panicked.to_string(),
                hint: None,
            })
        })
    })
    .await
}

/// What a refused plan means to a command.
pub(super) fn refused(error: PlanError) -> Error {
    let problems = error
        .problems
        .iter()
        .map(|problem| serde_json::to_value(problem).unwrap_or_else(|_| problem.to_string().into()))
        .collect();
    Error::PlanRefused {
        rendered: error.to_string(),
        problems,
    }
}

fn read_plan(args: &PlanArgs, key: &[u8; 32]) -> Result<Loaded, Error> {
    accounted(args, key)?.loaded.map_err(refused)
}

fn accounted(args: &PlanArgs, key: &[u8; 32]) -> Result<Accounted, Error> {
    let (overrides, vars) = (args.set.iter().cloned().collect(), variables());
    let inputs = Inputs {
        overrides: &overrides,
        vars: &vars,
        name: args.name.as_deref(),
        digest_key: key,
    };
    let path = plan::find(args.path(), std::path::Path::new("")).map_err(refused)?;
    Ok(plan::account(&path, &inputs))
}

/// The caller's variables, those that are text.
pub(super) fn variables() -> BTreeMap<String, String> {
    let text = |(key, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((key.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// The wall clock.
#[must_use]
pub fn wall_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
    })
}

/// `user@host`.
#[must_use]
pub fn author() -> String {
    let user = ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok());
    let user = user
        .or_else(user_of_this_process)
        .unwrap_or_else(|| "unknown".into());
    let host = rustix::system::uname();
    format!("{user}@{}", host.nodename().to_string_lossy())
}

/// The name in `/etc/passwd`, else the number; no name service is asked (static binary).
fn user_of_this_process() -> Option<String> {
    let uid = rustix::process::getuid().as_raw().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    named.or(Some(uid))
}
