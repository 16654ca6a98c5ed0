//! The maximum that the next boot gives, where the number of buckets is set and the maximum is not.
//!
//! A module that is loaded with `hashsize=` sets it to eight times as much, which nobody has asked for.

use serde_json::{Value, json};

use super::setting::Setting;
use crate::host::boot::{Boot, Effect};

/// The maximum at boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaxAtBoot {
    /// It; `None` where it depends on what the files do not show.
    pub value: Option<u64>,
    /// The line that sets it, or the hash size from which it follows.
    pub why: String,
}

impl MaxAtBoot {
    /// What the files of `boot` give; `None` where the kernel chooses it by its memory.
    pub fn of(boot: &Boot) -> Option<Self> {
        let of_module = boot.max_of_hashsize().map(|(max, line)| MaxAtBoot {
            value: Some(max),
            why: format!("8 x hashsize, since nothing sets max ({line})"),
        });
        let Some(line) = boot.sysctl(&Setting::Max.key()) else { return of_module };
        match (boot.effect(&line), of_module) {
            (Effect::Applied, _) => Some(MaxAtBoot { value: line.number(), why: line.to_string() }),
            (Effect::Unknown, Some(else_module)) => Some(MaxAtBoot {
                value: None,
                why: format!("{line}, if nf_conntrack is loaded by then; else {}", else_module.text()),
            }),
            (Effect::Unknown, None) => None,
            (Effect::TooEarly | Effect::Refused, of_module) => of_module,
        }
    }

    /// It in a line.
    pub fn text(&self) -> String {
        self.value.map_or_else(|| self.why.clone(), |value| format!("{value}: {}", self.why))
    }

    /// It as JSON.
    pub fn json(&self) -> Value {
        json!({"value": self.value, "why": self.why})
    }
}
