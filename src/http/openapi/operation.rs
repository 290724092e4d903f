//! One operation: what it takes and answers, and its description.

use http_types::Method;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::http::route::{Lock, Route};

pub(super) type Make = fn(&mut Generators) -> Value;

/// What a client sends and what it gets are described apart: a default may be left out of the one, and never is of the
/// other.
pub(super) struct Generators {
    sent: SchemaGenerator,
    pub(super) got: SchemaGenerator,
}

impl Generators {
    pub(super) fn new() -> Self {
        let settings = || SchemaSettings::draft2020_12().with(|settings| settings.meta_schema = None);
        let sent = settings().for_deserialize().with(|settings| settings.inline_subschemas = true);
        let got = settings().for_serialize().with(|settings| settings.definitions_path = "/components/schemas".into());
        Self { sent: sent.into_generator(), got: got.into_generator() }
    }
}

pub(super) fn plain(schema: Schema) -> Value {
    schema.to_value()
}

pub(super) fn sent<T: JsonSchema>(generators: &mut Generators) -> Value {
    plain(T::json_schema(&mut generators.sent))
}

pub(super) fn got<T: JsonSchema>(generators: &mut Generators) -> Value {
    plain(generators.got.subschema_for::<T>())
}

/// A merge patch of `T`: null takes a field back to its default, and a member out of a map. The branch, and the address of a
/// repository elsewhere, are changed beside the settings.
pub(super) fn patch<T: JsonSchema>(generators: &mut Generators) -> Value {
    let mut schema = sent::<T>(generators);
    let fields = schema["properties"].as_object_mut();
    for (_, field) in fields.into_iter().flatten() {
        if let Some(member) = field.get_mut("additionalProperties").filter(|member| member.is_object()) {
            *member = json!({ "anyOf": [member.take(), { "type": "null" }] });
        }
        // What is taken away counts as no member.
        if let Some(field) = field.as_object_mut() {
            field.remove("maxProperties");
        }
        *field = json!({ "anyOf": [field.take(), { "type": "null" }] });
    }
    schema["properties"]["branch"] = json!({ "type": "string" });
    schema["properties"]["external"] = json!({ "type": "string", "writeOnly": true });
    schema
}

/// Each event of a stream, which is how such content is described before OpenAPI 3.2.
pub(super) fn event(_: &mut Generators) -> Value {
    json!({
        "type": "object",
        "required": ["data"],
        "properties": {
            "event": { "enum": ["message", "closed"] },
            "id": { "type": "string" },
            "data": { "type": "string" },
        },
    })
}

/// What is answered under a status.
pub(super) struct Answers {
    status: u16,
    /// Media types, each with what it holds.
    content: Vec<(&'static str, Make)>,
    /// The names of the field around a list, where there is one.
    within: Option<&'static str>,
}

/// A route's description.
pub(super) struct Operation {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) query: Option<Make>,
    /// Its shape, and whether it must be there.
    pub(super) body: Option<(Make, bool)>,
    pub(super) answers: Vec<Answers>,
}

impl Operation {
    pub(super) fn new(method: Method, path: &'static str, summary: &'static str) -> Self {
        Self { method, path, summary, query: None, body: None, answers: Vec::new() }
    }

    /// It takes the fields of `T` in its query.
    pub(super) fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(sent::<T>);
        self
    }

    /// It takes `T` as its body, JSON or a form.
    pub(super) fn body<T: JsonSchema>(mut self) -> Self {
        self.body = Some((sent::<T>, true));
        self
    }

    /// The same, where every field may be left out.
    pub(super) fn may_take<T: JsonSchema>(mut self) -> Self {
        self.body = Some((sent::<T>, false));
        self
    }

    /// It takes `T`'s fields, of which each may be left out and null.
    pub(super) fn patch_of<T: JsonSchema>(mut self) -> Self {
        self.body = Some((patch::<T>, true));
        self
    }

    /// It takes what others define.
    pub(super) fn any_body(mut self) -> Self {
        self.body = Some((|_| json!({}), false));
        self
    }

    pub(super) fn answers(mut self, status: u16, content: Vec<(&'static str, Make)>) -> Self {
        self.answers.push(Answers { status, content, within: None });
        self
    }

    pub(super) fn json<T: JsonSchema>(self, status: u16) -> Self {
        self.answers(status, vec![("application/json", got::<T>)])
    }

    /// An object with one field that lists `T`s.
    pub(super) fn list<T: JsonSchema>(mut self, field: &'static str) -> Self {
        let content: Vec<(&str, Make)> = vec![("application/json", got::<Vec<T>>)];
        self.answers.push(Answers { status: 200, content, within: Some(field) });
        self
    }

    pub(super) fn text(self) -> Self {
        self.answers(200, vec![("text/plain", sent::<String>)])
    }

    /// Lines, as text or as events.
    pub(super) fn lines(self) -> Self {
        self.answers(200, vec![("text/plain", sent::<String>), ("text/event-stream", event)])
    }

    /// JSON of no one shape, or bytes.
    pub(super) fn any(self, status: u16, content_type: &'static str) -> Self {
        self.answers(status, vec![(content_type, |_| json!({}))])
    }

    pub(super) fn nothing(self) -> Self {
        self.answers(204, Vec::new())
    }

    pub(super) fn describe(&self, route: &Route, generators: &mut Generators) -> Value {
        let mut parameters: Vec<Value> = placeholders(self.path).map(path_parameter).collect();
        if let Some(query) = self.query {
            parameters.extend(query_parameters(&query(generators)));
        }
        let mut operation = json!({
            "operationId": operation_id(self.method, self.path),
            "summary": self.summary,
            "security": security(route.lock),
            "responses": self.responses(generators),
        });
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        if let Some((make, required)) = self.body {
            let schema = make(generators);
            let content = json!({
                "application/json": { "schema": schema },
                "application/x-www-form-urlencoded": { "schema": schema },
            });
            operation["requestBody"] = json!({ "required": required, "content": content });
        }
        operation
    }

    pub(super) fn responses(&self, generators: &mut Generators) -> Value {
        let mut responses = Map::new();
        for Answers { status, content, within } in &self.answers {
            let content: Map<String, Value> = content
                .iter()
                .map(|(content_type, make)| {
                    let schema = make(generators);
                    let schema = match within {
                        Some(field) => json!({
                            "type": "object",
                            "properties": { *field: schema },
                            "required": [field],
                        }),
                        None => schema,
                    };
                    ((*content_type).to_owned(), json!({ "schema": schema }))
                })
                .collect();
            let mut response = json!({ "description": "done" });
            if !content.is_empty() {
                response["content"] = content.into();
            }
            responses.insert(status.to_string(), response);
        }
        let problem = if self.path.starts_with("/git/") { "GitProblem" } else { "Problem" };
        for range in ["4XX", "5XX"] {
            responses.insert(range.into(), json!({ "$ref": format!("#/components/responses/{problem}") }));
        }
        responses.into()
    }
}

/// The names of a pattern's parameters.
pub(super) fn placeholders(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('/').filter_map(|part| part.strip_prefix([':', '*']))
}

/// tide's pattern as OpenAPI writes it.
pub(super) fn template(path: &str) -> String {
    let parts = path.split('/').map(|part| match part.strip_prefix([':', '*']) {
        Some(name) => format!("{{{name}}}"),
        None => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}

pub(super) fn operation_id(method: Method, path: &str) -> String {
    let words = path.split(['/', ':', '*', '.', '-']).filter(|word| !word.is_empty());
    std::iter::once(method.as_ref().to_ascii_lowercase().as_str()).chain(words).collect::<Vec<_>>().join("_")
}

pub(super) fn path_parameter(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } })
}

/// An object's fields, as a query's.
pub(super) fn query_parameters(schema: &Value) -> Vec<Value> {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let fields = schema["properties"].as_object().into_iter().flatten();
    let parameter = |(name, schema): (&String, &Value)| {
        let required = required.contains(&name.as_str());
        json!({ "name": name, "in": "query", "required": required, "schema": schema })
    };
    fields.map(parameter).collect()
}

pub(super) fn security(lock: Lock) -> Value {
    match lock {
        Lock::Open => json!([]),
        Lock::Git => json!([{ "basic": [] }]),
        Lock::Key => json!([{ "hook": [] }]),
        Lock::Enroll => json!([{ "bearer": [] }, { "cookie": [] }, { "enroll": [] }]),
        Lock::Local => json!([{ "local": [] }]),
        _ => json!([{ "bearer": [] }, { "cookie": [] }]),
    }
}

impl Operation {
    pub(super) fn is_of(&self, route: &Route) -> bool {
        (route.method, route.path) == (self.method, self.path)
    }
}
