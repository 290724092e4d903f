//! What others wrote (requests, events, the configuration), as types. What can't be read is told in plain words, which name
//! the field and what it takes, and never repeat its value: that may be a secret.

mod toml;

use std::fmt::{self, Display};

use serde::de::value::StringDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

pub use self::toml::{NO_TOML, NO_TOML_HINT, Toml};

/// How many fields are listed where one is unknown.
const LISTED: usize = 30;
/// At most this much of a field's name is repeated, where whoever sent it chose it.
const SHOWN: usize = 60;

/// What `value` means.
pub fn read<T: DeserializeOwned>(value: Value) -> Result<T, DecodeError> {
    T::deserialize(Node(value))
}

/// Why a value could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// From the outermost field to the one that is wrong.
    path: Vec<Step>,
    why: Why,
}

/// One step into a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// To a field of an object.
    Field(String),
    /// To a place in a list, the first of which is 0.
    Item(usize),
}

/// What kind of fault it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It is of another kind, or out of range: it takes this.
    Takes(String),
    /// It has no such field, but these.
    Unknown(String, &'static [&'static str]),
    /// This field is missing.
    Missing(&'static str),
    /// What the type itself says of it.
    Own(String),
}

impl DecodeError {
    /// What kind of fault it is.
    #[must_use]
    pub fn why(&self) -> &Why {
        &self.why
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &[Step] {
        &self.path
    }

    /// The outermost field that it lies in, where it lies in one, and the fault within that.
    #[must_use]
    pub fn split(mut self) -> (Option<String>, Self) {
        match self.path.first() {
            Some(Step::Field(_)) => match self.path.remove(0) {
                Step::Field(name) => (Some(name), self),
                Step::Item(_) => (None, self),
            },
            _ => (None, self),
        }
    }

    fn takes(what: impl Into<String>) -> Self {
        Self { path: Vec::new(), why: Why::Takes(what.into()) }
    }

    fn within(mut self, step: Step) -> Self {
        self.path.insert(0, step);
        self
    }
}

/// The names of fields as they are listed to people.
fn listed(fields: &[&str]) -> String {
    let shown = fields.iter().take(LISTED).map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ");
    if fields.len() > LISTED { format!("{shown} and others") } else { shown }
}

fn shown(name: &str) -> String {
    name.chars().take(SHOWN).flat_map(char::escape_default).collect()
}

impl Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut at = String::new();
        for step in &self.path {
            match step {
                Step::Field(name) if at.is_empty() => at.push_str(&shown(name)),
                Step::Field(name) => at.push_str(&format!(".{}", shown(name))),
                Step::Item(index) => at.push_str(&format!("[{index}]")),
            }
        }
        let dot = if at.is_empty() { "" } else { "." };
        match &self.why {
            Why::Unknown(name, []) => {
                write!(f, "unknown field `{at}{dot}{}`; there is none", shown(name))
            }
            Why::Unknown(name, known) => {
                write!(f, "unknown field `{at}{dot}{}`; there are {}", shown(name), listed(known))
            }
            Why::Missing(name) => write!(f, "`{at}{dot}{name}` is missing"),
            Why::Takes(what) if at.is_empty() => write!(f, "{what} is wanted"),
            Why::Takes(what) => write!(f, "`{at}` takes {what}"),
            Why::Own(why) if at.is_empty() => f.write_str(why),
            Why::Own(why) => write!(f, "`{at}`: {why}"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: Display>(why: T) -> Self {
        Self { path: Vec::new(), why: Why::Own(why.to_string()) }
    }

    fn invalid_type(_: de::Unexpected<'_>, _: &dyn de::Expected) -> Self {
        Self::takes("another kind of value")
    }

    fn invalid_value(_: de::Unexpected<'_>, _: &dyn de::Expected) -> Self {
        Self::takes("another value than this one")
    }

    fn invalid_length(_: usize, _: &dyn de::Expected) -> Self {
        Self::takes("a list of another length")
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Self::takes(one_of(known))
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Self { path: Vec::new(), why: Why::Unknown(name.to_owned(), known) }
    }

    fn missing_field(name: &'static str) -> Self {
        Self { path: Vec::new(), why: Why::Missing(name) }
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self { path: vec![Step::Field(name.to_owned())], why: Why::Own("it is given twice".to_owned()) }
    }
}

fn one_of(words: &[&str]) -> String {
    format!("one of {}", listed(words))
}

/// A value that is read.
struct Node(Value);

macro_rules! whole_numbers {
    ($($method:ident $visit:ident $number:ty,)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            let number = match &self.0 {
                Value::Number(number) => number.as_i128().and_then(|number| <$number>::try_from(number).ok()),
                _ => None,
            };
            match number {
                Some(number) => visitor.$visit(number),
                None if size_of::<$number>() == 8 && <$number>::MIN == 0 => {
                    Err(DecodeError::takes("a whole number from 0 on"))
                }
                None if size_of::<$number>() == 8 => Err(DecodeError::takes("a whole number")),
                None => {
                    let (least, most) = (<$number>::MIN, <$number>::MAX);
                    Err(DecodeError::takes(format!("a whole number from {least} to {most}")))
                }
            }
        })+
    };
}

impl<'de> Deserializer<'de> for Node {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(flag),
            Value::String(text) => visitor.visit_string(text),
            Value::Array(items) => list(items, visitor),
            Value::Object(fields) => object(fields, visitor),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), ..) => visitor.visit_u64(number),
                (None, Some(number), _) => visitor.visit_i64(number),
                (None, None, Some(number)) => visitor.visit_f64(number),
                (None, None, None) => Err(DecodeError::takes("a smaller number")),
            },
        }
    }

    whole_numbers! {
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Bool(flag) => visitor.visit_bool(flag),
            _ => Err(DecodeError::takes("true or false")),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0.as_f64() {
            Some(number) => visitor.visit_f64(number),
            None => Err(DecodeError::takes("a number")),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::String(text) => visitor.visit_string(text),
            _ => Err(DecodeError::takes("a text")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Array(items) => list(items, visitor),
            _ => Err(DecodeError::takes("a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Object(fields) => object(fields, visitor),
            _ => Err(DecodeError::takes("an object with fields")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Object(given) => object(given, visitor),
            _ if fields.is_empty() => Err(DecodeError::takes("an object without fields")),
            _ => Err(DecodeError::takes(format!("an object with the fields {}", listed(fields)))),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::String(word) => {
                let word: StringDeserializer<DecodeError> = word.into_deserializer();
                visitor.visit_enum(word)
            }
            _ => Err(DecodeError::takes(one_of(words))),
        }
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

fn list<'de, V: Visitor<'de>>(items: Vec<Value>, visitor: V) -> Result<V::Value, DecodeError> {
    let mut items = Items { items: items.into_iter(), next: 0 };
    let read = visitor.visit_seq(&mut items)?;
    if items.items.len() == 0 { Ok(read) } else { Err(DecodeError::takes("a shorter list")) }
}

struct Items {
    items: std::vec::IntoIter<Value>,
    next: usize,
}

impl<'de> SeqAccess<'de> for Items {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DecodeError> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let at = Step::Item(self.next);
        self.next += 1;
        seed.deserialize(Node(item)).map(Some).map_err(|error| error.within(at))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

fn object<'de, V: Visitor<'de>>(fields: Map<String, Value>, visitor: V) -> Result<V::Value, DecodeError> {
    visitor.visit_map(Fields { fields: fields.into_iter(), value: None })
}

struct Fields {
    fields: serde_json::map::IntoIter,
    value: Option<(String, Value)>,
}

impl<'de> MapAccess<'de> for Fields {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        let Some((name, value)) = self.fields.next() else { return Ok(None) };
        self.value = Some((name.clone(), value));
        let name: StringDeserializer<DecodeError> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        let (name, value) = self.value.take().unwrap_or_default();
        seed.deserialize(Node(value)).map_err(|error| error.within(Step::Field(name)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::json;

    use crate::names::{Scope, ServiceName};

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Everything {
        flag: bool,
        port: u16,
        total: u64,
        difference: i64,
        share: f64,
        text: String,
        maybe: Option<String>,
        list: Vec<u8>,
        map: BTreeMap<String, Inner>,
        kind: Kind,
        name: Option<ServiceName>,
        scope: Option<Scope>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(rename = "in")]
        inner: u32,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        #[default]
        One,
        Two,
    }

    #[test]
    fn what_is_right_reads_as_serde_jsons_own_reader_reads_it() {
        let value = json!({
            "flag": true, "port": 65535, "total": u64::MAX, "difference": -1, "share": 1, "text": "a", "maybe": null,
            "list": [0, 255], "map": { "a": { "in": 1 } }, "kind": "two", "name": "blog", "scope": "read",
        });
        let read: Everything = super::read(value.clone()).unwrap();
        assert_eq!(read, serde_json::from_value(value).unwrap());
        assert_eq!((read.kind, read.list.len(), read.share), (Kind::Two, 2, 1.0));
    }

    #[test]
    fn what_is_wrong_is_told_by_its_field_and_never_by_its_value() {
        for (value, told) in [
            (json!({ "flag": "hunter2" }), "`flag` takes true or false"),
            (json!({ "port": 70_000 }), "`port` takes a whole number from 0 to 65535"),
            (json!({ "port": "hunter2" }), "`port` takes a whole number from 0 to 65535"),
            (json!({ "port": 1.5 }), "`port` takes a whole number from 0 to 65535"),
            (json!({ "total": -1 }), "`total` takes a whole number from 0 on"),
            (json!({ "difference": [] }), "`difference` takes a whole number"),
            (json!({ "share": "hunter2" }), "`share` takes a number"),
            (json!({ "text": 5 }), "`text` takes a text"),
            (json!({ "maybe": ["hunter2"] }), "`maybe` takes a text"),
            (json!({ "list": "hunter2" }), "`list` takes a list"),
            (json!({ "list": [1, "hunter2"] }), "`list[1]` takes a whole number from 0 to 255"),
            (json!({ "map": { "a": {} } }), "`map.a.in` is missing"),
            (json!({ "map": { "a": { "inn": 1 } } }), "unknown field `map.a.inn`; there are `in`"),
            (json!({ "map": { "a": 7 } }), "`map.a` takes an object with the fields `in`"),
            (json!({ "kind": "hunter2" }), "`kind` takes one of `One`, `Two`"),
            (json!({ "kind": 2 }), "`kind` takes one of `One`, `Two`"),
            (json!({ "map": "hunter2" }), "`map` takes an object with fields"),
            (json!("hunter2"), "an object with the fields `flag`, `port`,"),
            (json!({ "a\u{1b}[2J": 1 }), "unknown field `a\\u{1b}[2J`; there are `flag`, `port`,"),
        ] {
            let error = super::read::<Everything>(value.clone()).unwrap_err().to_string();
            let told = told.replace("One", "one").replace("Two", "two");
            assert!(error.starts_with(&told) && !error.contains("hunter2"), "{value}: {error}");
        }
        // What a name's own type says stays.
        let error = super::read::<Everything>(json!({ "name": "a b" })).unwrap_err().to_string();
        assert!(error.starts_with("`name`: `a b` is not a service name: "), "{error}");
    }
}
