//! JSON as an image holds it, read so that no two readers can disagree about it. Ground floor.

use std::fmt;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::ImageProblem;
use crate::shown::shown;

/// Reads a document that is one object. A key that stands twice in an object is refused at any depth, since parsers differ
/// in which one counts; a `null` is as good as nothing, as for Go, which writes it for an empty list.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ImageProblem> {
    let value = strict(bytes)?;
    if !value.is_object() {
        return Err(ImageProblem::Json("it is not an object".into()));
    }
    typed(value)
}

/// Reads a document that is a list of objects.
pub(crate) fn parse_list<T: DeserializeOwned>(bytes: &[u8]) -> Result<Vec<T>, ImageProblem> {
    let value = strict(bytes)?;
    if !value.as_array().is_some_and(|items| items.iter().all(Value::is_object)) {
        return Err(ImageProblem::Json("it is not a list of objects".into()));
    }
    typed(value)
}

fn strict(bytes: &[u8]) -> Result<Value, ImageProblem> {
    serde_json::from_slice(bytes).map(|Strict(value)| value).map_err(|error| problem(&error))
}

/// Reads a type from a document that [`parse`] has read.
pub(crate) fn typed<T: DeserializeOwned>(value: Value) -> Result<T, ImageProblem> {
    serde_json::from_value(value).map_err(|error| problem(&error))
}

fn problem(error: &serde_json::Error) -> ImageProblem {
    ImageProblem::Json(shown(&error.to_string()))
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((key, Strict(value))) = members.next_entry::<String, _>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key {key} stands twice in it")));
            }
            object.insert(key, value);
        }
        object.retain(|_, value| !value.is_null());
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_stands_twice_is_refused_at_any_depth() {
        for text in
            [r#"{"a":1,"a":1}"#, r#"{"c":[{"b":{"a":1,"a":2}}]}"#, r#"{"a":null,"a":1}"#, r#"{"a":1,"\u0061":1}"#]
        {
            let problem = parse::<Value>(text.as_bytes()).unwrap_err().to_string();
            assert!(problem.contains("the key a stands twice in it"), "{problem}");
        }
    }

    #[test]
    fn null_is_as_good_as_nothing() {
        let value: Value = parse(br#"{"a":null,"b":[null,1],"c":{"d":null}}"#).unwrap();
        assert_eq!(value, serde_json::json!({"b": [null, 1], "c": {}}));
    }

    #[test]
    fn a_struct_is_an_object_and_a_list_holds_objects() {
        assert!(parse::<Value>(b"[]").is_err());
        assert!(parse::<Value>(b"{} {}").is_err());
        assert_eq!(parse_list::<Value>(b"[{}]").unwrap().len(), 1);
        assert!(parse_list::<Value>(b"{}").is_err());
        assert!(parse_list::<Value>(b"[[]]").is_err());
    }

    #[test]
    fn depth_is_bounded_and_strings_are_escaped() {
        let deep = "[".repeat(100_000);
        assert!(parse::<Value>(deep.as_bytes()).is_err());
        let problem = parse_list::<Vec<u8>>(b"[{\"\\u001b[31m\":1,\"\\u001b[31m\":1}]").unwrap_err().to_string();
        assert!(problem.bytes().all(|b| (0x20..0x7f).contains(&b)), "{problem}");
    }
}
