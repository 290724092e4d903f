//! What a request says, from its query and its body, as one value. Unknown fields are refused, so that a typo is never
//! silently ignored.

use futures_util::AsyncReadExt;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::body::failed;
use super::state::State;
use crate::decode;
use crate::problem::{Code, Problem};

fn bad(detail: impl Into<crate::text::Plain>) -> Problem {
    Problem::new(Code::BadRequest, detail)
}

/// What the fields of a request may be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules<'a> {
    /// The path's name; where the body repeats it under one of these keys it must be the same.
    pub path: Option<(&'a str, &'a str)>,
    /// Fields that are taken from the body only: a query is written into logs and histories.
    pub body_only: &'a [&'a str],
}

/// The fields of a request's query and body (JSON or form).
pub async fn fields<T: DeserializeOwned>(request: &mut tide::Request<State>, rules: Rules<'_>) -> Result<T, Problem> {
    let mut all = Map::new();
    for (key, value) in form(request.url().query().unwrap_or_default().as_bytes()) {
        if rules.body_only.contains(&key.as_str()) {
            return Err(bad(format!("`{key}` is taken from the body only")));
        }
        put(&mut all, key, Value::String(value))?;
    }
    for (key, value) in body(request).await? {
        put(&mut all, key, value)?;
    }
    if let Some((key, wanted)) = rules.path
        && let Some(given) = all.remove(key)
        && given.as_str() != Some(wanted)
    {
        return Err(bad(format!("`{key}` in the body is not the path's")));
    }
    decode::read(Value::Object(all)).map_err(|error| bad(error.to_string()))
}

/// The fields of a request's query alone, for calls whose body is read as it is.
pub fn query<T: DeserializeOwned>(request: &tide::Request<State>) -> Result<T, Problem> {
    let mut all = Map::new();
    for (key, value) in form(request.url().query().unwrap_or_default().as_bytes()) {
        put(&mut all, key, Value::String(value))?;
    }
    decode::read(Value::Object(all)).map_err(|error| bad(error.to_string()))
}

/// A JSON object, for calls that take nothing else.
pub async fn object(request: &mut tide::Request<State>) -> Result<Map<String, Value>, Problem> {
    body(request).await
}

fn put(all: &mut Map<String, Value>, key: String, value: Value) -> Result<(), Problem> {
    match all.insert(key.clone(), value) {
        None => Ok(()),
        Some(_) => Err(bad(format!("`{}` is given twice", key.escape_default()))),
    }
}

fn form(bytes: &[u8]) -> impl Iterator<Item = (String, String)> {
    form_urlencoded::parse(bytes).map(|(key, value)| (key.into_owned(), value.into_owned()))
}

async fn body(request: &mut tide::Request<State>) -> Result<Map<String, Value>, Problem> {
    let content_type = request.header("content-type").map(|value| value.as_str().to_ascii_lowercase());
    let bytes = bytes(request).await?;
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    let essence = content_type.as_deref().and_then(|value| value.split(';').next()).map(str::trim);
    match essence {
        Some("application/json") => match serde_json::from_slice(&bytes) {
            Ok(Value::Object(map)) => Ok(map),
            Ok(_) => Err(bad("the body must be a JSON object")),
            // The parser's own words may repeat a part of the body, which may be a secret.
            Err(error) => Err(bad(format!("the body is no JSON: line {}, column {}", error.line(), error.column()))),
        },
        Some("application/x-www-form-urlencoded") => {
            let mut map = Map::new();
            for (key, value) in form(&bytes) {
                put(&mut map, key, Value::String(value))?;
            }
            Ok(map)
        }
        _ => Err(Problem::new(Code::UnsupportedMediaType, "the body must be application/json or a form")
            .with_hint("set the Content-Type header")),
    }
}

async fn bytes(request: &mut tide::Request<State>) -> Result<Vec<u8>, Problem> {
    // The bridge ends what is larger.
    let most = request.state().body_limit(request.url().path());
    let mut bytes = Vec::new();
    let read = request.take_body().into_reader().read_to_end(&mut bytes).await;
    read.map_err(|error| failed(&error, most))?;
    Ok(bytes)
}
