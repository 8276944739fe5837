//! What environments hold that wait: a line each for people, numbers for pipelines.

use serde_json::{Value, json};

use super::tables::StatusView;
use super::track::octets;
use crate::core::words::{micros, release_name};
use crate::core::world::Cost;

/// What a standby holds while it waits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Idle {
    /// That, as far as the engine says.
    pub cost: Cost,
    /// How long it took to wake it last, in microseconds; `None` where nobody knows of a time.
    pub last_wake_us: Option<u64>,
}

/// A line for each standby.
pub(super) fn lines(view: &StatusView) -> Vec<String> {
    let idle = view.standby.iter().filter_map(|environment| {
        let name = release_name(&view.service, environment.release);
        Some(line(&name, environment.idle.as_ref()?))
    });
    idle.collect()
}

fn line(name: &str, idle: &Idle) -> String {
    let unknown = || "unknown".to_owned();
    let Cost { memory, cpu, disk } = idle.cost;
    let wake = idle
        .last_wake_us
        .map_or_else(String::new, |us| format!("; last wake {}", micros(us)));
    if idle.cost == Cost::default() {
        return format!("idle: what {name} holds is unknown{wake}");
    }
    format!(
        "idle: {name} holds {} of memory, {} CPU, {} of disk beside image and volumes{wake}",
        memory.map_or_else(unknown, octets),
        cpu.map_or_else(unknown, percent),
        disk.map_or_else(unknown, octets),
    )
}

/// `0 %`, `0.1 %`, `12 %`, of one core.
fn percent(share: f64) -> String {
    match share * 100.0 {
        none if none <= 0.0 => "0 %".into(),
        little if little < 0.1 => "below 0.1 %".into(),
        some if some < 10.0 => format!("{some:.1} %"),
        much => format!("{much:.0} %"),
    }
}

pub(super) fn json(idle: &Idle) -> Value {
    json!({
        "memory_bytes": idle.cost.memory,
        "cpu_cores": idle.cost.cpu,
        "disk_bytes": idle.cost.disk,
        "last_wake_us": idle.last_wake_us,
    })
}
