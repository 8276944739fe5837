//! How a run is told to have ended: what serves now, what is kept, what to do next.

use super::{Narrator, Serving, Told};
use crate::core::event::Verb;
use crate::core::names::Millis;
use crate::core::verdict::Outcome;
use crate::core::words::millis;

impl Narrator {
    pub(super) fn closed(&self, at: Millis, outcome: Outcome, told: &mut Told) {
        let took = millis(at.saturating_sub(self.began.unwrap_or(at)));
        let service = &self.service;
        let serves = match self.serving {
            Serving::Release(live) => format!("{} serves", self.name(live)),
            Serving::Nothing => format!("nothing serves `{service}`"),
            Serving::Unknown => "what served before serves".into(),
        };
        match outcome {
            // What it did has been told.
            Outcome::Done if self.settles() => {}
            Outcome::Done if matches!(self.verb, Some(Verb::Apply { .. })) => {
                told.good(format!(
                    "the shared roles are as the plan has them, {took} after the start"
                ));
            }
            Outcome::Done => self.done(&took, told),
            // Another run has moved the pointer away meanwhile, which is told there.
            Outcome::RolledBack if self.serving == self.target().into() => told.bad(format!(
                "{} was switched back after {took}",
                self.candidate()
            )),
            Outcome::RolledBack => told.bad(format!(
                "{} was switched back after {took}: {serves}",
                self.candidate()
            )),
            Outcome::Refused if matches!(self.verb, Some(Verb::HandOver { .. })) => {
                told.warn(format!(
                    "the hand-over of workers was given up after {took}"
                ));
            }
            Outcome::Refused if self.settles() => told.bad(format!(
                "the shared roles were not seen to, after {took}; {serves}"
            )),
            Outcome::Refused if matches!(self.verb, Some(Verb::Apply { .. })) => {
                told.bad(format!(
                    "not all of the plan was applied, after {took}; {serves}"
                ));
            }
            Outcome::Refused => told.bad(format!(
                "{} was given up after {took}: {serves}",
                self.candidate()
            )),
            Outcome::Stuck => {
                told.bad(format!(
                    "stuck after {took}: a person must decide; {serves}"
                ));
                // What a rollback was refused for is told after it, with its own way out.
                let refused =
                    matches!(self.verb, Some(Verb::Rollback { .. })) && self.left.is_none();
                if !refused {
                    told.detail(format!("hint: flipside status {service}"));
                }
            }
            // A run that waits for a person's word is never closed by that.
            Outcome::Previewed | Outcome::Unsure | Outcome::Interrupted => {
                told.warn(format!("interrupted after {took}; {serves}"));
                told.detail(format!("hint: flipside resume {service}"));
            }
        }
    }

    fn done(&self, took: &str, told: &mut Told) {
        let service = &self.service;
        let live = match self.serving {
            Serving::Release(live) => format!("{} is live", self.name(live)),
            Serving::Nothing | Serving::Unknown => "done".into(),
        };
        told.good(format!("{live}, {took} after the start"));
        let Some(left) = self.left else { return };
        let name = self.name(left);
        told.detail(match &self.verb {
            Some(Verb::Rollback { .. }) => {
                format!("{name} stays up, withdrawn: flipside logs {service} --release {left}")
            }
            _ if self.asleep.contains(&left) => {
                format!("{name} sleeps as standby: flipside rollback {service}")
            }
            _ => format!("{name} stays up as standby: flipside rollback {service}"),
        });
    }
}
