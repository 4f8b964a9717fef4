//! Strict parsing of JSON in images, so that all readers agree about its meaning. Ground floor.

use std::fmt;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::ImageProblem;
use crate::image::shown::shown;

/// Parses a document that is one object. Duplicate keys in an object are refused at any depth, because parsers differ
/// in which one they use; a `null` counts as absent, as in Go, which writes it for an empty list.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ImageProblem> {
    let value = strict(bytes)?;
    if !value.is_object() {
        return Err(ImageProblem::Json("it is not an object".into()));
    }
    typed(value)
}

/// Parses a document that is a list of objects.
pub(crate) fn parse_list<T: DeserializeOwned>(bytes: &[u8]) -> Result<Vec<T>, ImageProblem> {
    let value = strict(bytes)?;
    if !value.as_array().is_some_and(|items| items.iter().all(Value::is_object)) {
        return Err(ImageProblem::Json("it is not a list of objects".into()));
    }
    typed(value)
}

/// Returns an upper bound of the memory for parsing a document, without parsing it. A small document can take a hundred
/// times its size: an object with one key is a tree node with room for eleven.
pub(crate) fn memory(bytes: &[u8]) -> u64 {
    let (mut sum, mut in_string, mut escaped) = (bytes.len() as u64, false, false);
    for byte in bytes {
        if in_string {
            in_string = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            continue;
        }
        in_string = *byte == b'"';
        sum += match byte {
            // A node: eleven keys of 24 bytes, eleven values of 32, and the overhead of allocations.
            b'{' => 700,
            // Nodes are half full at worst.
            b':' => 140,
            // The first four slots of a list, and then each slot, of which half may be empty.
            b'[' => 160,
            b',' => 64,
            b'"' => 32,
            _ => 0,
        };
    }
    sum
}

fn strict(bytes: &[u8]) -> Result<Value, ImageProblem> {
    from_slice(bytes).map(|Strict(value)| value)
}

/// Parses a type that handles its keys itself. A byte order mark, which Windows tools write, is skipped.
pub(crate) fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ImageProblem> {
    serde_json::from_slice(text(bytes)?).map_err(|error| problem(&error))
}

fn text(bytes: &[u8]) -> Result<&[u8], ImageProblem> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(ImageProblem::Json("it is UTF-16, and JSON is UTF-8".into()));
    }
    Ok(bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes))
}

/// Returns some members of a document that is one object, without regard to the case of their keys; `null` counts as absent.
/// Other members are not read, whatever they are.
pub(crate) fn members<const N: usize>(bytes: &[u8], names: &[&str; N]) -> Result<[Option<Value>; N], ImageProblem> {
    let text = text(bytes)?;
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let members = deserializer.deserialize_map(MembersVisitor { names });
    members.and_then(|members| deserializer.end().map(|()| members)).map_err(|error| problem(&error))
}

struct MembersVisitor<'a, const N: usize> {
    names: &'a [&'a str; N],
}

impl<'de, const N: usize> Visitor<'de> for MembersVisitor<'_, N> {
    type Value = [Option<Value>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut values = [const { None }; N];
        while let Some(key) = members.next_key::<String>()? {
            let Some(place) = self.names.iter().position(|name| name.eq_ignore_ascii_case(&key)) else {
                members.next_value::<IgnoredAny>()?;
                continue;
            };
            let Strict(value) = members.next_value()?;
            if values[place].replace(value).is_some() {
                return Err(A::Error::custom(format_args!("the key {} occurs twice", self.names[place])));
            }
        }
        Ok(values.map(|value| value.filter(|value| !value.is_null())))
    }
}

/// Replaces the keys of an object by those of `names` that are equal except for case, because Go, the language of most
/// tools, ignores case. Two keys that differ only in case are duplicates. Other values are unchanged.
pub(crate) fn fold(value: &mut Value, names: &[&str]) -> Result<(), ImageProblem> {
    let Some(object) = value.as_object_mut() else { return Ok(()) };
    for &name in names {
        let keys: Vec<String> = object.keys().filter(|key| key.eq_ignore_ascii_case(name)).cloned().collect();
        match &keys[..] {
            [] => {}
            [key] if key == name => {}
            [key] => {
                if let Some(value) = object.remove(key) {
                    object.insert(name.to_owned(), value);
                }
            }
            _ => return Err(ImageProblem::Json(format!("the key {name} occurs twice"))),
        }
    }
    Ok(())
}

/// Converts a document returned by [`parse`] to a type.
pub(crate) fn typed<T: DeserializeOwned>(value: Value) -> Result<T, ImageProblem> {
    serde_json::from_value(value).map_err(|error| problem(&error))
}

fn problem(error: &serde_json::Error) -> ImageProblem {
    ImageProblem::Json(shown(&error.to_string()))
}

/// A value without duplicate keys and without null.
pub(crate) struct Strict(pub Value);

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
                return Err(A::Error::custom(format_args!("the key {key} occurs twice")));
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
    fn duplicate_keys_are_refused_at_any_depth() {
        for text in
            [r#"{"a":1,"a":1}"#, r#"{"c":[{"b":{"a":1,"a":2}}]}"#, r#"{"a":null,"a":1}"#, r#"{"a":1,"\u0061":1}"#]
        {
            let problem = parse::<Value>(text.as_bytes()).unwrap_err().to_string();
            assert!(problem.contains("the key a occurs twice"), "{problem}");
        }
    }

    #[test]
    fn keys_ignore_case_and_occur_once() {
        let folded = |text: &str| {
            let mut value = parse(text.as_bytes()).unwrap();
            fold(&mut value, &["mediaType", "size"]).map(|()| value)
        };
        let expected = serde_json::json!({"mediaType": "x", "size": 1, "Other": 2});
        for text in [r#"{"mediaType":"x","size":1,"Other":2}"#, r#"{"MEDIATYPE":"x","Size":1,"Other":2}"#] {
            assert_eq!(folded(text).unwrap(), expected);
        }
        let twice = folded(r#"{"mediaType":"x","mediatype":"x"}"#).unwrap_err().to_string();
        assert_eq!(twice, "is not valid JSON of its kind: the key mediaType occurs twice");
    }

    #[test]
    fn byte_order_marks_and_white_space_are_ignored() {
        let expected = serde_json::json!({"a": 1});
        for text in ["{\"a\":1}", "\u{feff}{\"a\":1}", "\r\n {\r\n\"a\":\t1}\r\n\r\n", "\u{feff}\n{\"a\":1} \t"] {
            assert_eq!(parse::<Value>(text.as_bytes()).unwrap(), expected, "{text:?}");
        }
        for bytes in [&b"\xff\xfe{\0}\0"[..], b"\xfe\xff\0{\0}"] {
            let problem = parse::<Value>(bytes).unwrap_err().to_string();
            assert_eq!(problem, "is not valid JSON of its kind: it is UTF-16, and JSON is UTF-8");
        }
        for text in ["{} x", "{}\0", "{\u{feff}}", "\u{feff}\u{feff}{}"] {
            assert!(parse::<Value>(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn null_equals_an_absent_field() {
        let value: Value = parse(br#"{"a":null,"b":[null,1],"c":{"d":null}}"#).unwrap();
        assert_eq!(value, serde_json::json!({"b": [null, 1], "c": {}}));
    }

    #[test]
    fn structs_are_read_from_objects_only() {
        assert!(parse::<Value>(b"[]").is_err());
        assert!(parse::<Value>(b"{} {}").is_err());
        assert_eq!(parse_list::<Value>(b"[{}]").unwrap().len(), 1);
        assert!(parse_list::<Value>(b"{}").is_err());
        assert!(parse_list::<Value>(b"[[]]").is_err());
    }

    #[test]
    fn memory_is_counted_outside_of_strings() {
        for (text, expected) in [
            ("0", 1),
            ("[]", 162),
            ("[0,0,0]", 160 + 2 * 64 + 7),
            (r#"{"a":0}"#, 700 + 140 + 32 + 7),
            (r#"["{,:[\"{,:["]"#, 160 + 32 + 14),
            (r#"["\\",0]"#, 160 + 64 + 32 + 8),
        ] {
            assert_eq!(memory(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn depth_is_bounded_and_strings_are_escaped() {
        let deep = "[".repeat(100_000);
        assert!(parse::<Value>(deep.as_bytes()).is_err());
        let problem = parse_list::<Vec<u8>>(b"[{\"\\u001b[31m\":1,\"\\u001b[31m\":1}]").unwrap_err().to_string();
        assert!(problem.bytes().all(|b| (0x20..0x7f).contains(&b)), "{problem}");
    }
}
