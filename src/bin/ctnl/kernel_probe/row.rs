//! How a fact is probed, and what each of its values means.

use anyhow::Result;

use super::fact::{Fact, Value};
use super::probes::Probes;

/// Probes a fact. What it returns as an error ends the whole run.
pub type Probe = fn(&mut Probes) -> Result<Value>;

/// A fact: how it is probed, and what each of its values means for users of ctnl.
#[derive(Debug)]
pub struct Row {
    /// Its name in the JSON.
    pub name: &'static str,
    /// Its name in the text.
    pub title: &'static str,
    pub probe: Probe,
    /// The words that its value can be, and what each means. `""` stands for any other value.
    pub meanings: &'static [(&'static str, &'static str)],
}

impl Row {
    /// The fact, probed.
    pub fn probe(&self, probes: &mut Probes) -> Result<Fact> {
        let value = (self.probe)(probes)?;
        let meaning = self.meaning(&value);
        Ok(Fact { name: self.name, title: self.title, value, meaning })
    }

    fn meaning(&self, value: &Value) -> String {
        if let Value::Unknown(why) = value {
            return why.clone();
        }
        let word = value.word().unwrap_or_default();
        let row = self.meanings.iter().find(|(known, _)| *known == word);
        let row = row.or_else(|| self.meanings.iter().find(|(known, _)| known.is_empty()));
        row.map_or_else(String::new, |(_, meaning)| (*meaning).to_owned())
    }
}
