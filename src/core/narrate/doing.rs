//! What is under way, for a screen.

use super::Narrator;
use crate::core::action::Action;
use crate::core::plan::StandbyMode;

impl Narrator {
    /// What is under way now, for a screen: `probing shop@2`. `None` between two acts.
    #[must_use]
    pub fn doing(&self) -> Option<String> {
        let (_, action) = self.act.as_ref()?;
        Some(match action {
            Action::Observe => "looking at engine and pointer".into(),
            Action::Prepare => "preparing images".into(),
            Action::StandUp => format!("standing up {}", self.candidate()),
            Action::Prove => format!("probing {}", self.candidate()),
            Action::Mark { release, .. } => format!("marking {}", self.name(*release)),
            Action::Preview { release, .. } => {
                format!("showing {} for preview", self.name(*release))
            }
            Action::Hide { release, .. } => format!("hiding {}", self.name(*release)),
            Action::Switch { to, .. } => format!("moving the pointer to {}", self.name(*to)),
            Action::Verify { release } => {
                format!("asking {} through the pointer", self.name(*release))
            }
            Action::Drain { .. } => match self.left {
                Some(left) => format!("draining {}", self.name(left)),
                None => "draining".into(),
            },
            Action::Rest { releases } => {
                format!("stopping the workers of {}", self.names(releases))
            }
            Action::Work { release } => format!("starting the workers of {}", self.name(*release)),
            Action::Watch { .. } => format!("baking {}", self.candidate()),
            Action::SeeClients { releases } => {
                format!("looking for clients of {}", self.names(releases))
            }
            Action::Retire { releases } => format!("retiring {}", self.names(releases)),
            Action::Hook { name, .. } => format!("running the hook `{name}`"),
            Action::Sleep { releases, mode } => match mode {
                StandbyMode::Stopped => format!("stopping {}", self.names(releases)),
                StandbyMode::Frozen | StandbyMode::Running => {
                    format!("freezing {}", self.names(releases))
                }
            },
            Action::Wake { release } => format!("waking {}", self.name(*release)),
            Action::Disconnect => format!("taking `{}` off the pointer", self.service),
            Action::Apply { role } if self.settles() => {
                format!("seeing to the shared role `{role}`")
            }
            Action::Apply { role } => format!("applying the plan to the shared role `{role}`"),
            Action::RemoveShared => "removing the shared roles".into(),
            Action::TearDown { release } => format!("removing {}", self.name(*release)),
        })
    }
}
