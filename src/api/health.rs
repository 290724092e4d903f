//! Whether the agent has what it needs.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use crate::problem::Code;

/// Whether each part of the host answers. Where one doesn't, it is a problem that has these fields, too.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Ready {
    /// Whether all of them do.
    pub ready: bool,
    /// The same in words.
    pub detail: String,
    /// Each by name.
    pub parts: Parts,
}

/// What the agent stands on.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Parts {
    /// Podman.
    pub podman: Part,
    /// The service user's systemd.
    pub systemd: Part,
    /// The journal.
    pub journal: Part,
    /// The agent's store.
    pub store: Part,
}

impl Parts {
    /// The names of those that don't answer.
    #[must_use]
    pub fn away(&self) -> Vec<&'static str> {
        let all =
            [("podman", self.podman), ("systemd", self.systemd), ("journal", self.journal), ("store", self.store)];
        all.into_iter().filter(|(_, part)| part.0.is_some()).map(|(name, _)| name).collect()
    }
}

/// Whether a part answers: `ok`, or the code of what is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part(pub Option<Code>);

impl Part {
    const OK: &str = "ok";
}

impl Serialize for Part {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.map_or(Self::OK, Code::as_str))
    }
}

impl JsonSchema for Part {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Part".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<&str> = std::iter::once(Self::OK).chain(Code::ALL.map(Code::as_str)).collect();
        json_schema!({ "type": "string", "enum": words })
    }
}
