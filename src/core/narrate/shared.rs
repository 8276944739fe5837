//! What became of shared roles.

use super::{Narrator, Told};
use crate::core::event::Verb;
use crate::core::names::RoleName;
use crate::core::shared::{GivenBack, Held};
use crate::core::words::{clean, list};

impl Narrator {
    /// Whether the run has no settings to apply.
    pub(super) fn settles(&self) -> bool {
        matches!(self.verb, Some(Verb::Apply { settles: true, .. }))
    }
}

impl Told {
    /// What became of what was cut short.
    pub(super) fn settled(&mut self, settled: &[String]) {
        for what in settled {
            self.step(clean(what));
        }
    }

    pub(super) fn applied(
        &mut self,
        role: &RoleName,
        kept: &[String],
        as_it_was: bool,
        after: &str,
    ) {
        match as_it_was {
            true => self.step(format!("the shared role `{role}` is as the plan has it")),
            false => self.good(format!(
                "the shared role `{role}` runs with the plan's settings{after}"
            )),
        }
        for name in kept {
            let name = clean(name);
            self.detail(format!(
                "`{name}` of the Compose project is stopped, never started again by the engine \
                 (`restart: no`), and kept; once nothing is missing: docker rm {name}"
            ));
        }
    }

    pub(super) fn shared_removed(&mut self, kept: &[String], held: &[Held], back: &[GivenBack]) {
        self.step("removed the shared roles and their network".into());
        for one in back {
            let (name, policy) = (clean(&one.container), clean(&one.policy));
            self.step(format!(
                "`{name}` of the Compose project has its place back: stopped, with `restart: \
                 {policy}`; start it: docker start {name}"
            ));
        }
        let is_held = |name: &&String| held.iter().any(|one| one.volume == **name);
        let (held_ones, free): (Vec<_>, Vec<_>) = kept.iter().partition(is_held);
        if !free.is_empty() {
            let names: Vec<_> = free.iter().map(|name| clean(name)).collect();
            self.step(format!(
                "their data is still there, in {}; this removes it for good: docker volume rm {}",
                quoted(&names),
                names.join(" ")
            ));
        }
        for volume in held_ones {
            let by = held.iter().filter(|one| one.volume == *volume);
            let by: Vec<_> = by.map(|one| clean(&one.container)).collect();
            let volume = clean(volume);
            self.step(format!(
                "their data is still there, in `{volume}`, which {} still {}: only without {} can it be \
                 removed",
                quoted(&by),
                if by.len() == 1 { "has" } else { "have" },
                if by.len() == 1 { "it" } else { "them" },
            ));
        }
    }
}

fn quoted(names: &[String]) -> String {
    list(
        &names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>(),
    )
}
