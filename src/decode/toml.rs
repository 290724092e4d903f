//! TOML that others wrote, with the line of each of its values.

use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

use super::{DecodeError, Step, Why};

/// The parser has no kinds of faults, and its words are for who writes parsers.
pub const NO_TOML: &str = "this is no TOML";
/// What to do about that.
pub const NO_TOML_HINT: &str = "write `[section]`, or `key = value` once for each key, with texts in quotes: \"15m\"";

/// A text of TOML, read.
#[derive(Debug)]
pub struct Toml<'a> {
    text: &'a str,
    table: DeValue<'a>,
    values: Map<String, Value>,
}

impl<'a> Toml<'a> {
    /// Reads a text; where it is no TOML, the answer is the line, from 1 on, at which it ceases to be.
    pub fn read(text: &'a str) -> Result<Self, usize> {
        let table =
            DeTable::parse(text).map_err(|error| line(text, error.span().map_or(0, |span| span.start)))?.into_inner();
        let values = toml::from_str::<toml::Table>(text).map_err(|_| 1_usize)?;
        match serde_json::to_value(values) {
            Ok(Value::Object(values)) => Ok(Self { text, table: DeValue::Table(table), values }),
            _ => Err(1),
        }
    }

    /// Its values by their keys, as JSON has them.
    #[must_use]
    pub fn values(&self) -> &Map<String, Value> {
        &self.values
    }

    /// The line, from 1 on, of what an error in these values tells of.
    #[must_use]
    pub fn line_of(&self, error: &DecodeError) -> usize {
        let unknown = match error.why() {
            Why::Unknown(name, _) => Some(Step::Field(name.clone())),
            _ => None,
        };
        self.line_at(error.path().iter().chain(&unknown))
    }

    /// The line, from 1 on, of a key at the top.
    #[must_use]
    pub fn line_of_key(&self, key: &str) -> usize {
        self.line_at(std::iter::once(&Step::Field(key.to_owned())))
    }

    fn line_at<'b>(&self, steps: impl Iterator<Item = &'b Step>) -> usize {
        let (mut here, mut at) = (&self.table, 0);
        for step in steps {
            let found = match (step, here) {
                (Step::Field(name), DeValue::Table(fields)) => fields
                    .iter()
                    .find(|(key, _)| key.get_ref().as_ref() == name.as_str())
                    .map(|(key, value)| (key.span().start, value.get_ref())),
                (Step::Item(index), DeValue::Array(items)) => {
                    items.get(*index).map(|item| (item.span().start, item.get_ref()))
                }
                _ => None,
            };
            let Some(found) = found else { break };
            (at, here) = found;
        }
        line(self.text, at)
    }
}

fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}
