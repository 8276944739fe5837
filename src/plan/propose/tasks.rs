//! What a command gives away: what it runs in the end, and whether that ends.
//!
//! A shell's words are read only so far as to find the last thing it runs: a role that migrates and
//! then serves is a server.

use super::facts::Service;
use super::words::has;

/// Words of the name of a role that prepares something.
pub(super) const PREPARING: &[&str] = &[
    "bootstrap",
    "bucket",
    "buckets",
    "createbucket",
    "createbuckets",
    "create-bucket",
    "fixtures",
    "init",
    "initdb",
    "initializer",
    "install",
    "migrate",
    "migration",
    "migrations",
    "migrator",
    "prestart",
    "seed",
    "seeder",
    "seeds",
    "setup",
    "upgrade",
    "wait",
];

/// What a role's command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// A database's client, which ends.
    Client,
    /// It prepares something, and ends.
    Job,
    /// It does something at its times.
    Timed,
    /// It does something, waits and does it again, without an end.
    Rounds,
    /// It takes work from a queue.
    Worker,
    /// A server of data by its own name.
    Server,
}

const CLIENTS: &[&str] = &[
    "clickhouse-client",
    "cqlsh",
    "createdb",
    "mariadb",
    "mariadb-dump",
    "mc",
    "mongo",
    "mongodump",
    "mongoexport",
    "mongoimport",
    "mongorestore",
    "mongosh",
    "mysql",
    "mysqladmin",
    "mysqldump",
    "pg_dump",
    "pg_dumpall",
    "pg_restore",
    "pgbench",
    "psql",
    "redis-cli",
    "valkey-cli",
];

const SERVERS: &[&str] = &[
    "agent",
    "mariadbd",
    "minio",
    "mongod",
    "mongos",
    "mysqld",
    "postgres",
    "redis-sentinel",
    "redis-server",
    "server",
    "valkey-server",
];

/// Images whose containers do their work and end.
const JOB_IMAGES: &[&str] = &["dbmate", "flyway", "liquibase", "migrate", "sqitch"];

const JOB_PROGRAMS: &[&str] = &[
    "chmod",
    "chown",
    "dbmate",
    "dbmigrate",
    "flyway",
    "kafka-topics",
    "kafka-topics.sh",
    "liquibase",
    "mkdir",
    "rake",
    "seed",
    "sqitch",
];

const JOB_WORDS: &[&str] = &[
    "collectstatic",
    "compilemessages",
    "createsuperuser",
    "db:create",
    "db:migrate",
    "db:prepare",
    "db:push",
    "db:schema:load",
    "db:seed",
    "db:setup",
    "doctrine:migrations:migrate",
    "loaddata",
    "migrate",
    "migrate:deploy",
    "migrate:fresh",
    "migrate:latest",
    "migrate:up",
    "migration:run",
    "migrations:migrate",
];

/// Two words of one command, the one before the other.
const JOB_PAIRS: &[(&str, &str)] = &[
    ("alembic", "upgrade"),
    ("database", "update"),
    ("db", "init"),
    ("db", "push"),
    ("db", "seed"),
    ("db", "upgrade"),
    ("migration", "run"),
];

const TIMED_PROGRAMS: &[&str] = &[
    "clockwork",
    "cron",
    "crond",
    "ofelia",
    "rqscheduler",
    "supercronic",
    "yacron",
];

const TIMED_WORDS: &[&str] = &["beat", "schedule:run", "schedule:work"];

const WORKER_PROGRAMS: &[&str] = &[
    "arq",
    "delayed_job",
    "dramatiq",
    "good_job",
    "huey_consumer",
    "huey_consumer.py",
    "rqworker",
    "sidekiq",
];

const WORKER_WORDS: &[&str] = &[
    "horizon",
    "jobs:work",
    "messenger:consume",
    "qcluster",
    "queue:listen",
    "queue:work",
    "resque:work",
    "run_huey",
    "rundramatiq",
    "solid_queue:start",
    "worker",
    "workers",
];

/// What a role does, by its command or else by its image.
pub(super) fn of(service: &Service) -> Option<Task> {
    let image = service.image_name();
    of_command(&service.command).or_else(|| match image.as_str() {
        image if JOB_IMAGES.contains(&image) => Some(Task::Job),
        image if has(image, &["backup", "backups"]) => Some(Task::Timed),
        _ => None,
    })
}

/// What a command is for.
pub(super) fn of_command(command: &str) -> Option<Task> {
    let script = script(command);
    let mut later = script.iter().rev();
    while let Some(words) = later.next() {
        match words[0].as_str() {
            ":" | "echo" | "exit" | "fi" | "true" => {}
            "done" if is_endless(&script) => return rounds(&script),
            "done" => {}
            "sleep" if words[1..] != ["infinity"] => {
                let before = later.find_map(|words| of_words(words))?;
                return Some(match before {
                    Task::Server => Task::Server,
                    _ => Task::Rounds,
                });
            }
            _ => return of_words(words),
        }
    }
    None
}

/// What a loop without an end does, where it waits between its rounds.
fn rounds(script: &[Vec<String>]) -> Option<Task> {
    const IDLE: &[&str] = &[":", "date", "done", "echo", "sleep", "true", "wait"];
    let body = || script.iter().filter(|words| !is_condition(words));
    let known = body().find_map(|words| of_words(bare(words)));
    if matches!(known, Some(Task::Worker | Task::Timed | Task::Server)) {
        return known;
    }
    let does = body().any(|words| {
        let words = bare(words);
        words
            .first()
            .is_some_and(|word| !IDLE.contains(&word.as_str()))
    });
    let waits = script.iter().flatten().any(|word| word == "sleep");
    (does && waits).then_some(Task::Rounds)
}

fn is_condition(words: &[String]) -> bool {
    matches!(words[0].as_str(), "while" | "until")
}

fn is_endless(script: &[Vec<String>]) -> bool {
    script
        .iter()
        .filter(|words| is_condition(words))
        .any(|words| {
            let condition: Vec<&str> = words[1..]
                .iter()
                .map(String::as_str)
                .filter(|word| !matches!(*word, "[" | "]" | "[[" | "]]"))
                .collect();
            match (words[0].as_str(), condition.as_slice()) {
                ("while", ["true" | ":" | "1"] | ["sleep", ..]) => true,
                (_, condition) => words[0] == "until" && condition == ["false"],
            }
        })
}

/// What one command is for that a shell runs, or that is run without one.
fn of_words(words: &[String]) -> Option<Task> {
    let words = bare(words);
    let program = words.first()?;
    let program = program.rsplit('/').next().unwrap_or(program);
    let says = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    let pair = |(first, second): &(&str, &str)| {
        let at = |known: &str| words.iter().position(|word| word == known);
        at(first)
            .zip(at(second))
            .is_some_and(|(one, two)| one < two)
    };
    let is_celery = program == "celery" || says(&["celery"]);
    if TIMED_PROGRAMS.contains(&program)
        || has(program, &["backup", "backups"])
        || says(TIMED_WORDS)
        || is_celery && says(&["-B", "--beat"])
    {
        Some(Task::Timed)
    } else if WORKER_PROGRAMS.contains(&program) || says(WORKER_WORDS) {
        Some(Task::Worker)
    } else if CLIENTS.contains(&program) {
        Some(Task::Client)
    } else if SERVERS.contains(&program) {
        Some(Task::Server)
    } else if JOB_PROGRAMS.contains(&program) || says(JOB_WORDS) || JOB_PAIRS.iter().any(pair) {
        Some(Task::Job)
    } else {
        None
    }
}

/// A command without what only starts it: a shell's words, variables and wrappers.
fn bare(words: &[String]) -> &[String] {
    let mut rest = words;
    while let [first, after @ ..] = rest {
        let name = first.rsplit('/').next().unwrap_or(first);
        let second = after.first().map_or("", String::as_str);
        let skipped = match (name, second) {
            ("gosu" | "su-exec" | "timeout" | "setpriv", _) => 2,
            ("uv" | "poetry" | "pipenv" | "npm" | "pnpm" | "yarn" | "rye", "run")
            | ("bundle" | "pnpm" | "yarn" | "npm", "exec")
            | ("python" | "python3", "-m") => 2,
            (
                "!"
                | "--"
                | "do"
                | "docker-php-entrypoint"
                | "dumb-init"
                | "else"
                | "env"
                | "exec"
                | "if"
                | "nice"
                | "nohup"
                | "npx"
                | "sudo"
                | "then"
                | "time"
                | "tini"
                | "{",
                _,
            ) => 1,
            ("sh" | "bash" | "ash" | "dash", script) if script.ends_with(".sh") => 1,
            _ if is_assignment(first) => 1,
            _ if name.ends_with(".sh") && !after.is_empty() => 1,
            _ => break,
        };
        rest = rest.get(skipped..).unwrap_or(&[]);
    }
    rest
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
            && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
    })
}

/// The commands of a shell's script, each with its words; or the one that is run without a shell.
fn script(command: &str) -> Vec<Vec<String>> {
    let (text, is_script) = match of_shell(command.trim()) {
        Some(script) => (script, true),
        None => (command.trim(), false),
    };
    let mut found = vec![Vec::new()];
    let (mut word, mut quote) = (String::new(), None);
    let end = |word: &mut String, found: &mut Vec<Vec<String>>| {
        if !word.is_empty()
            && let Some(last) = found.last_mut()
        {
            last.push(std::mem::take(word));
        }
    };
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.push(c),
            (None, '\'' | '"') => quote = Some(c),
            (None, ';' | '&' | '|' | '\n') if is_script => {
                end(&mut word, &mut found);
                found.push(Vec::new());
            }
            (None, '(' | ')' | '\\') if is_script => end(&mut word, &mut found),
            (None, c) if c.is_whitespace() => end(&mut word, &mut found),
            (None, c) => word.push(c),
        }
    }
    end(&mut word, &mut found);
    found.retain(|words| !words.is_empty() && words[0] != "}");
    found
}

/// The script of `sh -c SCRIPT`.
fn of_shell(command: &str) -> Option<&str> {
    let (shell, rest) = command.split_once(char::is_whitespace)?;
    let shell = shell.rsplit('/').next().unwrap_or(shell);
    if !matches!(shell, "sh" | "bash" | "ash" | "dash" | "zsh") {
        return None;
    }
    let mut rest = rest.trim_start();
    loop {
        let (option, after) = rest.split_once(char::is_whitespace)?;
        let letters = option.strip_prefix(['-', '+'])?;
        rest = after.trim_start();
        if letters.ends_with('c') {
            break;
        }
        if letters.ends_with('o') {
            rest = rest.split_once(char::is_whitespace)?.1.trim_start();
        }
    }
    let unquoted = |quote| rest.strip_prefix(quote)?.strip_suffix(quote);
    Some(unquoted('"').or_else(|| unquoted('\'')).unwrap_or(rest))
}
