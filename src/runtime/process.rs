//! The fields of an image's config that describe its process.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::ImageProblem;
use crate::image::json;

/// The process of an image, and what is said about it.
#[derive(Debug, Default)]
pub(super) struct ImageProcess {
    entrypoint: Vec<String>,
    command: Vec<String>,
    /// The variables, each as `NAME=VALUE`, unchanged.
    pub env: Vec<String>,
    /// The user, as `USER[:GROUP]`; often empty.
    pub user: String,
    /// The working directory: absolute.
    pub directory: String,
    /// The labels, and what else has a place among annotations only.
    pub annotations: BTreeMap<String, String>,
}

impl ImageProcess {
    /// Returns the arguments: the entrypoint and then the command.
    pub fn args(&self) -> Vec<String> {
        self.entrypoint.iter().chain(&self.command).cloned().collect()
    }
}

/// The fields of the config itself, and the annotations that they become.
const FIELDS: [&str; 8] = ["config", "os", "architecture", "variant", "os.version", "os.features", "author", "created"];
/// The fields of its member `config`.
const PROCESS: [&str; 9] =
    ["Entrypoint", "Cmd", "Env", "User", "WorkingDir", "Labels", "StopSignal", "ExposedPorts", "Volumes"];
/// The prefix of annotations that image-spec defines.
const PREFIX: &str = "org.opencontainers.image";

pub(super) fn parse(bytes: &[u8]) -> Result<ImageProcess, ImageProblem> {
    let [config, rest @ ..] = json::members(bytes, &FIELDS)?;
    let mut annotations = BTreeMap::new();
    for (name, value) in FIELDS[1..].iter().zip(rest) {
        let text = match value {
            None => continue,
            Some(Value::String(text)) => text,
            Some(value) if *name == "os.features" => strings(value, name)?.join(","),
            Some(_) => return Err(ImageProblem::Json(format!("its {name} is not a string"))),
        };
        if !text.is_empty() {
            annotations.insert(format!("{PREFIX}.{name}"), text);
        }
    }
    let mut config = match config {
        None => Value::Object(serde_json::Map::new()),
        Some(value) if value.is_object() => value,
        Some(_) => return Err(ImageProblem::Json("its config is not an object".into())),
    };
    json::fold(&mut config, &PROCESS)?;
    let mut take = |name: &str| config.as_object_mut().and_then(|config| config.remove(name));
    let list = |value: Option<Value>, name| value.map_or(Ok(Vec::new()), |value| strings(value, &shown(name)));
    let text = |value: Option<Value>, name: &str| match value {
        None => Ok(String::new()),
        Some(Value::String(text)) if text.contains('\0') => Err(odd(name, "contains a NUL byte")),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(odd(name, "is not a string")),
    };
    let mut process = ImageProcess {
        entrypoint: list(take("Entrypoint"), "Entrypoint")?,
        command: list(take("Cmd"), "Cmd")?,
        env: list(take("Env"), "Env")?,
        user: text(take("User"), "User")?,
        directory: absolute(&text(take("WorkingDir"), "WorkingDir")?),
        annotations,
    };
    for (name, key) in [("ExposedPorts", format!("{PREFIX}.exposedPorts")), ("Volumes", "planish.volumes".to_owned())] {
        let keys = keys(take(name), name)?;
        if !keys.is_empty() {
            process.annotations.insert(key, keys.join(","));
        }
    }
    let signal = text(take("StopSignal"), "StopSignal")?;
    if !signal.is_empty() {
        process.annotations.insert(format!("{PREFIX}.stopSignal"), signal);
    }
    // What a label says explicitly wins over what follows from another field.
    process.annotations.extend(labels(take("Labels"))?);
    Ok(process)
}

fn shown(name: &str) -> String {
    format!("config.{name}")
}

fn odd(name: &str, fact: &str) -> ImageProblem {
    ImageProblem::Json(format!("its {} {fact}", shown(name)))
}

fn strings(value: Value, name: &str) -> Result<Vec<String>, ImageProblem> {
    let problem = |fact: &str| ImageProblem::Json(format!("its {name} {fact}"));
    let Value::Array(items) = value else { return Err(problem("is not a list of strings")) };
    let strings = items.into_iter().map(|item| match item {
        Value::String(text) if text.contains('\0') => Err(problem("contains a NUL byte")),
        Value::String(text) => Ok(text),
        _ => Err(problem("is not a list of strings")),
    });
    strings.collect()
}

/// Returns the keys of an object, whose values mean nothing, in the order of their bytes. Old tools wrote a list.
fn keys(value: Option<Value>, name: &str) -> Result<Vec<String>, ImageProblem> {
    match value {
        None => Ok(Vec::new()),
        Some(Value::Object(object)) => {
            Ok(object.keys().cloned().collect::<std::collections::BTreeSet<_>>().into_iter().collect())
        }
        Some(list @ Value::Array(_)) => strings(list, &shown(name)),
        Some(_) => Err(odd(name, "is not an object")),
    }
}

fn labels(value: Option<Value>) -> Result<BTreeMap<String, String>, ImageProblem> {
    let labels = match value {
        None => return Ok(BTreeMap::new()),
        Some(Value::Object(labels)) => labels,
        Some(_) => return Err(odd("Labels", "is not an object of strings")),
    };
    let label = |(key, value)| match value {
        Value::String(value) => Ok((key, value)),
        _ => Err(odd("Labels", "is not an object of strings")),
    };
    labels.into_iter().map(label).collect()
}

/// Returns a working directory from the root, where runtimes put a relative one.
fn absolute(directory: &str) -> String {
    if directory.starts_with('/') { directory.to_owned() } else { format!("/{directory}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(config: &str) -> Result<ImageProcess, String> {
        let text = format!(r#"{{"os":"linux","rootfs":{{"x":[1e999]}},"config":{config}}}"#);
        parse(text.as_bytes()).map_err(|problem| problem.to_string())
    }

    #[test]
    fn entrypoint_and_command_are_one_list() {
        let process = parsed(r#"{"Entrypoint":["/e","a b"],"cmd":["c"],"Env":["A=1","B"],"WorkingDir":"w"}"#).unwrap();
        assert_eq!(process.args(), ["/e", "a b", "c"]);
        assert_eq!((process.env, process.directory.as_str()), (vec!["A=1".to_owned(), "B".to_owned()], "/w"));
        for nothing in ["null", "{}", r#"{"Entrypoint":null,"Cmd":[],"Labels":null,"User":null}"#] {
            let process = parsed(nothing).unwrap();
            assert_eq!((process.args(), process.directory.as_str()), (vec![], "/"), "{nothing}");
        }
    }

    #[test]
    fn a_label_wins_over_an_implicit_annotation() {
        let config = r#"{"Labels":{"org.opencontainers.image.os":"mine","a":"b"},"StopSignal":"SIGQUIT",
            "ExposedPorts":{"80/tcp":{},"53/udp":{}},"Volumes":{"/data":{},"/b":{}}}"#;
        let annotations: Vec<(String, String)> = parsed(config).unwrap().annotations.into_iter().collect();
        let annotations: Vec<(&str, &str)> = annotations.iter().map(|(key, value)| (&**key, &**value)).collect();
        let expected = [
            ("a", "b"),
            ("org.opencontainers.image.exposedPorts", "53/udp,80/tcp"),
            ("org.opencontainers.image.os", "mine"),
            ("org.opencontainers.image.stopSignal", "SIGQUIT"),
            ("planish.volumes", "/b,/data"),
        ];
        assert_eq!(annotations, expected);
    }

    #[test]
    fn a_field_of_another_type_is_named() {
        for (config, fact) in [
            ("5", "its config is not an object"),
            (r#"{"Cmd":"/bin/sh"}"#, "its config.Cmd is not a list of strings"),
            (r#"{"Entrypoint":[5]}"#, "its config.Entrypoint is not a list of strings"),
            (r#"{"Env":{"A":"b"}}"#, "its config.Env is not a list of strings"),
            (r#"{"Env":["A=\u0000"]}"#, "its config.Env contains a NUL byte"),
            (r#"{"User":0}"#, "its config.User is not a string"),
            (r#"{"Labels":[]}"#, "its config.Labels is not an object of strings"),
            (r#"{"Volumes":"x"}"#, "its config.Volumes is not an object"),
            (r#"{"User":"a","user":"b"}"#, "the key User occurs twice"),
        ] {
            assert_eq!(parsed(config).unwrap_err(), format!("is not valid JSON of its kind: {fact}"), "{config}");
        }
    }
}
