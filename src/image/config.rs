//! The config of an image: its platform, creation time, and diff IDs.
//!
//! The rest of a config is not read: the command and environment of a container do not matter here
//! (`runtime/` reads them for who asks).

use serde_json::Value;

use super::created;
use super::platform::Platform;
use crate::digest::Digest;
use crate::error::{Error, ImageProblem, Place, Result};
use crate::image::json;
use crate::image::shown::{cut, shown};
use crate::note::{Note, NoteKind};
use crate::time::Timestamp;

/// A valid config that matches its image.
pub(super) struct ValidConfig {
    pub platform: Platform,
    pub created: Option<Timestamp>,
    pub diff_ids: Vec<Digest>,
    pub notes: Vec<Note>,
}

/// Reads a config, whose digest was verified, for a platform and for an image of `layers` layers described by `holder`.
///
/// A config without an architecture has the platform `described` of its descriptor, else the requested one.
pub(super) fn check(
    bytes: &[u8],
    digest: &Digest,
    (holder, layers): (&Place, usize),
    described: Option<&Platform>,
    requested: &Platform,
) -> Result<ValidConfig> {
    let refused = |problem| Error::image(Place::Config(digest.clone()), problem);
    let mut config = Config(json::members(bytes, &FIELDS).map_err(refused)?);
    let texts = config.diff_ids().map_err(refused)?;
    if texts.len() != layers {
        let diff_ids = texts.len();
        return Err(Error::image(holder.clone(), ImageProblem::DiffIdCount { layers, diff_ids }));
    }
    let parsed =
        texts.iter().map(|text| text.parse::<Digest>().map_err(|_| refused(ImageProblem::DigestSyntax(shown(text)))));
    let diff_ids = parsed.collect::<Result<_>>()?;
    let mut notes = Vec::new();
    let mut note = |kind, detail: String| {
        notes.push(Note { kind, layer: None, path: Box::default(), detail: detail.into_bytes().into() });
    };
    let platform = match config.platform().map_err(refused)? {
        Some(platform) => platform,
        None => {
            let platform = described.unwrap_or(requested).clone();
            note(NoteKind::Architecture, platform.to_string());
            platform
        }
    };
    if platform.os == "windows" {
        return Err(refused(ImageProblem::Windows(platform.to_string())));
    }
    if !requested.admits(&platform) {
        if let Some(described) = described.filter(|described| requested.distance(described).is_some()) {
            let (own, described) = (platform.to_string(), described.to_string());
            return Err(refused(ImageProblem::PlatformContradiction { own, described }));
        }
        let (own, requested) = (platform.to_string(), requested.to_string());
        return Err(refused(ImageProblem::OtherPlatform { own, requested }));
    }
    if platform.variant.is_some() && requested.distance(&platform).is_some_and(|distance| distance > 0) {
        note(NoteKind::LowerVariant, platform.to_string());
    }
    let created = match config.field("created") {
        Some(Value::String(text)) => match created::parse(text) {
            None if !created::is_unset(text) => {
                note(NoteKind::Created, cut(text).to_owned());
                None
            }
            created => created,
        },
        None => None,
        Some(other) => {
            note(NoteKind::Created, cut(&other.to_string()).to_owned());
            None
        }
    };
    Ok(ValidConfig { platform, created, diff_ids, notes })
}

/// Returns the platform of a config, for an index that has none.
pub(super) fn platform(bytes: &[u8]) -> std::result::Result<Option<Platform>, ImageProblem> {
    Config(json::members(bytes, &FIELDS)?).platform()
}

/// The fields of a config that planish reads.
const FIELDS: [&str; 7] = ["os", "architecture", "variant", "os.version", "os.features", "created", "rootfs"];

/// The values of those fields, if present.
struct Config([Option<Value>; FIELDS.len()]);

impl Config {
    fn field(&self, name: &str) -> Option<&Value> {
        let place = FIELDS.iter().position(|field| *field == name)?;
        self.0[place].as_ref()
    }

    fn field_mut(&mut self, name: &str) -> Option<&mut Value> {
        let place = FIELDS.iter().position(|field| *field == name)?;
        self.0[place].as_mut()
    }

    /// Returns a text field; empty if it is absent.
    fn text(&self, name: &str) -> std::result::Result<&str, ImageProblem> {
        match self.field(name) {
            None => Ok(""),
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(ImageProblem::Json(format!("its {name} is not a string"))),
        }
    }

    /// Returns the platform; `None` if there is no architecture.
    fn platform(&self) -> std::result::Result<Option<Platform>, ImageProblem> {
        let (os, architecture) = (self.text("os")?, self.text("architecture")?);
        if architecture.is_empty() && !os.eq_ignore_ascii_case("windows") {
            return Ok(None);
        }
        // A variant or version that is not text is ignored.
        let optional = |name| self.field(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let os_features = match self.field("os.features") {
            None => Vec::new(),
            Some(Value::Array(list)) => {
                list.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect()
            }
            Some(Value::String(text)) if text.is_empty() => Vec::new(),
            Some(Value::String(text)) => vec![text.clone()],
            Some(other) => vec![other.to_string()],
        };
        let named = Platform::named(os, architecture, optional("variant"));
        Ok(Some(Platform { os_version: optional("os.version").map(str::to_owned), os_features, ..named }))
    }

    /// Returns the diff IDs as text. Docker omits them if an image has no layers.
    fn diff_ids(&mut self) -> std::result::Result<Vec<String>, ImageProblem> {
        let mut rootfs = self.field_mut("rootfs").map(Value::take).ok_or(ImageProblem::NoRootfs)?;
        if !rootfs.is_object() {
            return Err(ImageProblem::Json("its rootfs is not an object".into()));
        }
        json::fold(&mut rootfs, &["type", "diff_ids"])?;
        match rootfs.get("type") {
            None => {}
            Some(Value::String(name)) if name.is_empty() || name == "layers" => {}
            Some(Value::String(name)) => return Err(ImageProblem::RootfsType(shown(name))),
            Some(other) => return Err(ImageProblem::RootfsType(shown(&other.to_string()))),
        }
        match rootfs.get_mut("diff_ids") {
            None => Ok(Vec::new()),
            Some(list) => json::typed(list.take()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    const DIFF_ID: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

    fn check_bytes(bytes: &[u8], layers: usize) -> std::result::Result<ValidConfig, String> {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        let prefix = format!("config {digest} ");
        let requested = "linux/arm/v7".parse().unwrap();
        check(bytes, &digest, (&Place::Config(digest.clone()), layers), None, &requested)
            .map_err(|error| error.to_string().strip_prefix(&prefix).unwrap().to_owned())
    }

    fn check_text(text: &str, layers: usize) -> std::result::Result<ValidConfig, String> {
        check_bytes(text.as_bytes(), layers)
    }

    fn config(more: &str, diff_ids: &str) -> String {
        format!(r#"{{"os":"linux","architecture":"arm"{more},"rootfs":{{"type":"layers"{diff_ids}}}}}"#)
    }

    fn notes(checked: &ValidConfig) -> Vec<String> {
        checked.notes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_config_may_omit_fields() {
        let checked = check_text(&config("", ""), 0).unwrap();
        assert_eq!((checked.platform.to_string().as_str(), checked.created), ("linux/arm", None));
        assert!(check_text(&config("", r#","diff_ids":null"#), 0).is_ok());
        assert_eq!(notes(&checked), [""; 0]);
        let dated = check_text(&config(r#","created":"1970-01-01T00:00:07Z""#, ""), 0).unwrap();
        assert_eq!(dated.created, Some(Timestamp::from_seconds(7)));
        let cased = check_text(r#"{"OS":"Linux","Architecture":"ARM","RootFS":{"Type":"layers","diff_ids":[]}}"#, 0);
        assert_eq!(cased.unwrap().platform.to_string(), "linux/arm");
        let untyped = format!(r#"{{"os":"linux","architecture":"arm","rootfs":{{"diff_ids":["{DIFF_ID}"]}}}}"#);
        assert_eq!(check_text(&untyped, 1).unwrap().diff_ids[0].to_string(), DIFF_ID);
    }

    #[test]
    fn unneeded_config_fields_may_have_any_type() {
        for more in [
            r#""config":null,"history":null"#,
            r#""config":{"Cmd":"/bin/sh","Entrypoint":5,"Volumes":null,"Labels":[],"Env":{"A":"b"},"User":0}"#,
            r#""config":{"ExposedPorts":["80/tcp"],"Healthcheck":{"Interval":"30s","Test":"x"},"StopTimeout":"10"}"#,
            r#""config":[],"container_config":"none","history":"none","id":5,"Size":1e999,"Size":-1e999"#,
            r#""history":[null,{"created":"yesterday","empty_layer":"true"},5,{"created":0,"created_by":["a"]}]"#,
            r#""author":"\ud800","config":{"Labels":{"a":"1","a":"2"}},"":{"":[{}]},"variant":null"#,
            r#""variant":"","os.version":5,"os.features":null,"docker_version":{}"#,
        ] {
            let checked = check_text(&config(&format!(",{more}"), ""), 0);
            assert_eq!(notes(&checked.unwrap_or_else(|error| panic!("{more}: {error}"))), [""; 0], "{more}");
        }
        let bytes =
            [&b"{\"os\":\"linux\",\"architecture\":\"arm\",\"author\":\"\xff\xfe\","[..], b"\"rootfs\":{}}"].concat();
        assert!(check_bytes(&bytes, 0).is_ok(), "text that is not UTF-8");
        let deep = format!(",\"config\":{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(check_text(&config(&deep, ""), 0).is_ok());
    }

    #[test]
    fn a_malformed_time_is_noted_and_absent() {
        for (created, detail) in [
            (r#""yesterday""#, Some("yesterday")),
            (r#""2023-05-09T01:02:03+0200""#, Some("2023-05-09T01:02:03+0200")),
            (r#""2023-05-09T01:02:03+99:00""#, Some("2023-05-09T01:02:03+99:00")),
            ("1683594123", Some("1683594123")),
            (r#"["2023"]"#, Some(r"[\x222023\x22]")),
            ("null", None),
            (r#""""#, None),
            (r#""0001-01-01T00:00:00Z""#, None),
        ] {
            let checked = check_text(&config(&format!(r#","created":{created}"#), ""), 0).unwrap();
            let expected =
                detail.map(|text| format!("the config's created is no time of RFC 3339, taken as absent: {text}"));
            assert_eq!((checked.created, notes(&checked)), (None, Vec::from_iter(expected)), "{created}");
        }
    }

    #[test]
    fn a_config_without_an_architecture_has_that_of_its_descriptor() {
        let text = br#"{"rootfs":{"type":"layers"}}"#;
        let digest = Digest::of(Algorithm::Sha256, text);
        let taken = |described: Option<&Platform>, requested: &str| {
            let requested = requested.parse().unwrap();
            check(text, &digest, (&Place::Config(digest.clone()), 0), described, &requested)
        };
        let checked = taken(None, "linux/arm64").unwrap();
        assert_eq!(notes(&checked), ["the config has no architecture, the requested platform is assumed: linux/arm64"]);
        let arm64 = "linux/arm64".parse().unwrap();
        assert!(taken(Some(&arm64), "linux/arm64").is_ok());
        assert!(taken(Some(&arm64), "linux/amd64").is_err());
    }

    #[test]
    fn a_lower_variant_is_noted() {
        let checked = check_text(&config(r#","variant":"v6""#, ""), 0).unwrap();
        assert_eq!(
            notes(&checked),
            ["the image is for a lower variant of the platform, which runs on it: linux/arm/v6"]
        );
    }

    #[test]
    fn a_config_that_does_not_fit_is_refused() {
        let one = format!(r#","diff_ids":["{DIFF_ID}"]"#);
        let no_json = "is not valid JSON of its kind: ";
        let windows = "is for Windows (windows/amd64 with win32k), whose layers hold no root filesystem of Linux";
        let table = [
            (config("", &one), 2, "has 2 layers, its config has 1 diff IDs".to_owned()),
            (config("", r#","diff_ids":["sha256:../x"]"#), 1, "has an invalid digest sha256:../x".into()),
            (
                config("", "").replace("layers", "tree"),
                0,
                "has a root filesystem of type tree, which is not layers".into(),
            ),
            (
                config("", "").replace("\"layers\"", "5"),
                0,
                "has a root filesystem of type 5, which is not layers".into(),
            ),
            (config("", "").replace("arm", "amd64"), 0, "is for platform linux/amd64, not linux/arm/v7".into()),
            (config(r#","variant":"v8""#, ""), 0, "is for platform linux/arm/v8, not linux/arm/v7".into()),
            (config(r#","os.features":["x"]"#, ""), 0, "is for platform linux/arm with x, not linux/arm/v7".into()),
            (r#"{"os":"linux"}"#.to_owned(), 0, "is not a container image's config: it has no rootfs".into()),
            ("{}".to_owned(), 0, "is not a container image's config: it has no rootfs".into()),
            (
                r#"{"os":"windows","architecture":"amd64","os.features":["win32k"],"rootfs":{}}"#.to_owned(),
                0,
                windows.into(),
            ),
            (config(r#","OS":"linux""#, ""), 0, format!("{no_json}the key os occurs twice at line 1 column 47")),
            (config("", "").replace("\"arm\"", "[]"), 0, format!("{no_json}its architecture is not a string")),
        ];
        for (text, layers, expected) in table {
            assert_eq!(check_text(&text, layers).err().unwrap(), expected);
        }
        for text in ["[]", "", "null", "{", "{} {}"] {
            assert!(check_text(text, 0).err().unwrap().starts_with(no_json), "{text}");
        }
    }
}
