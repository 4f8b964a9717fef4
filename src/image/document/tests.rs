use super::*;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = r#""config":{"digest":"sha256:00","size":2}"#;

fn parse(text: &str, promised: Option<&str>) -> std::result::Result<&'static str, String> {
    match Document::parse(text.as_bytes(), promised) {
        Ok(Document::Index(_)) => Ok("index"),
        Ok(Document::Manifest(_)) => Ok("manifest"),
        Err(problem) => Err(problem.to_string()),
    }
}

#[test]
fn documents_are_distinguished_by_media_type_then_by_fields() {
    let manifest = format!("{{\"schemaVersion\":2,{CONFIG},\"layers\":[]}}");
    let index = r#"{"schemaVersion":2,"manifests":[]}"#;
    assert_eq!(parse(&manifest, None), Ok("manifest"));
    assert_eq!(parse(&manifest, Some(OCI_MANIFEST)), Ok("manifest"));
    assert_eq!(parse(index, None), Ok("index"));
    assert_eq!(parse(index, Some(OCI_INDEX)), Ok("index"));
    assert_eq!(parse(&format!("{{{CONFIG},\"layers\":null}}"), None), Ok("manifest"));
}

#[test]
fn documents_that_two_programs_could_read_differently_are_refused() {
    let both = format!(r#"{{"mediaType":"{OCI_INDEX}","manifests":[],"layers":[]}}"#);
    assert_eq!(parse(&both, None).unwrap_err(), "has both layers and manifests");
    let index = format!(r#"{{"mediaType":"{OCI_INDEX}","manifests":[]}}"#);
    assert_eq!(
        parse(&index, Some(OCI_MANIFEST)).unwrap_err(),
        format!("says it is {OCI_INDEX}, its descriptor says {OCI_MANIFEST}"),
    );
    let no_config = Err("is not valid JSON of its kind: it has no config".to_owned());
    assert_eq!(parse(r#"{"manifests":[]}"#, Some(OCI_MANIFEST)), no_config);
    let no_manifests = Err("is not valid JSON of its kind: it has no manifests".to_owned());
    assert_eq!(parse(&format!("{{{CONFIG}}}"), Some(OCI_INDEX)), no_manifests);
}

#[test]
fn other_artifacts_are_refused_by_name() {
    for text in [r#"{"schemaVersion":1}"#, r#"{"schemaVersion":"1"}"#, r#"{"schemaVersion":2,"fsLayers":[]}"#] {
        let expected = "has media type application/vnd.docker.distribution.manifest.v1+json, which is not a container \
                    image's: it is a manifest's of schema 1, which docker gave up";
        assert_eq!(parse(text, None).unwrap_err(), expected);
    }
    let artifact = "application/vnd.oci.artifact.manifest.v1+json";
    let expected = format!("has media type {artifact}, which is not a container image's: it is an artifact's");
    assert_eq!(parse("{}", Some(artifact)).unwrap_err(), expected);
}

#[test]
fn sizes_are_whole_numbers_of_64_bits() {
    for size in ["-5", "1.5", "9223372036854775808", "18446744073709551616", "\"5\""] {
        let text = format!(r#"{{"config":{{"digest":"sha256:00","size":{size}}}}}"#);
        assert!(parse(&text, None).unwrap_err().starts_with("is not valid JSON of its kind: "), "{size}");
    }
}

#[test]
fn an_invalid_descriptor_is_refused_when_it_is_used() {
    for (descriptor, expected) in [
        ("5", "a descriptor in it is not an object"),
        (r#"{"size":2}"#, "a descriptor in it has no digest"),
        (r#"{"digest":7,"size":2}"#, "its digest is not a string"),
        (r#"{"digest":"x"}"#, "it has no size (descriptor of x)"),
        (r#"{"digest":"x","size":null}"#, "it has no size (descriptor of x)"),
        (r#"{"digest":"x","size":"2"}"#, "its size is not a number of bytes (descriptor of x)"),
        (r#"{"digest":"x","size":2,"mediaType":1}"#, "its mediaType is not a string (descriptor of x)"),
        (r#"{"digest":"x","size":2,"platform":[]}"#, "its platform is not an object (descriptor of x)"),
        (r#"{"digest":"x","size":2,"platform":{"variant":7}}"#, "its variant is not a string (descriptor of x)"),
        (r#"{"digest":"x","size":2,"platform":{"os.version":10}}"#, "its os.version is not a string (descriptor of x)"),
        (
            r#"{"digest":"x","size":2,"platform":{"os.features":[1]}}"#,
            "its os.features is not a list of strings (descriptor of x)",
        ),
    ] {
        let expected = format!("is not valid JSON of its kind: {expected}");
        assert_eq!(parse(&format!(r#"{{"config":{descriptor}}}"#), None).unwrap_err(), expected, "{descriptor}");
        assert_eq!(parse(&format!(r#"{{{CONFIG},"layers":[{descriptor}]}}"#), None).unwrap_err(), expected);
        let Ok(Document::Index(entries)) =
            Document::parse(format!(r#"{{"manifests":[{descriptor}]}}"#).as_bytes(), None)
        else {
            panic!("{descriptor}")
        };
        assert_eq!(entries[0].problem().map(|problem| problem.to_string()), Some(expected));
    }
}

#[test]
fn an_index_may_be_empty() {
    for text in ["{}", r#"{"manifests":null}"#, r#"{"schemaVersion":2,"manifests":[]}"#] {
        assert!(Document::parse_layout(text.as_bytes()).unwrap().is_empty(), "{text}");
        assert_eq!(parse(text, Some(OCI_INDEX)), Ok("index"), "{text}");
    }
    let manifest = Document::parse_layout(format!("{{{CONFIG}}}").as_bytes()).unwrap_err().to_string();
    assert_eq!(manifest, "is not valid JSON of its kind: it has no manifests");
}

#[test]
fn empty_fields_are_absent_and_keys_ignore_case() {
    let manifest = format!("{{\"schemaVersion\":2,\"mediaType\":\"\",{CONFIG}}}");
    for promised in [None, Some(OCI_MANIFEST), Some("application/vnd.OCI.image.manifest.v1+json; charset=utf-8")] {
        assert_eq!(parse(&manifest, promised), Ok("manifest"), "{promised:?}");
    }
    let cased = r#"{"SchemaVersion":2,"MediaType":"","Config":{"Digest":"sha256:00","SIZE":2},"Layers":[]}"#;
    assert_eq!(parse(cased, None), Ok("manifest"));
    let odd = format!("{{\"schemaVersion\":\"2\",\"artifactType\":\"\",\"annotations\":[1],{CONFIG}}}");
    assert_eq!(parse(&odd, None), Ok("manifest"));
    let twice = format!("{{{CONFIG},\"layers\":[],\"Layers\":[]}}");
    assert_eq!(parse(&twice, None).unwrap_err(), "is not valid JSON of its kind: the key layers occurs twice");
}

fn descriptor(more: &str) -> Descriptor {
    let text = format!(r#"{{"manifests":[{{"digest":"sha256:00","size":2{more}}}]}}"#);
    match Document::parse(text.as_bytes(), None) {
        Ok(Document::Index(entries)) => entries[0].clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn platforms_are_read_in_every_spelling() {
    for (platform, expected) in [
        (r#"{"os":"linux","architecture":"amd64"}"#, Some("linux/amd64")),
        (r#"{"OS":"Linux","Architecture":"aarch64","Variant":"8"}"#, Some("linux/arm64/v8")),
        (r#"{"architecture":"arm","variant":""}"#, Some("linux/arm")),
        (r#"{"os":"linux","architecture":"amd64","os.features":["erofs"]}"#, Some("linux/amd64 with erofs")),
        (r#"{"os":"linux","architecture":"amd64","os.features":null,"features":["sse4"]}"#, Some("linux/amd64")),
        (r#"{"os":"linux"}"#, None),
        (r#"{"os":"","architecture":""}"#, None),
        ("{}", None),
        ("null", None),
    ] {
        let found = descriptor(&format!(r#","platform":{platform}"#)).platform().map(|found| found.to_string());
        assert_eq!(found.as_deref(), expected, "{platform}");
    }
}

#[test]
fn attachments_are_recognized_by_their_descriptor() {
    let digits = "0a".repeat(32);
    for beside in [
        r#","platform":{"os":"unknown","architecture":"unknown"}"#.to_owned(),
        r#","annotations":{"vnd.docker.reference.type":"attestation-manifest"}"#.into(),
        r#","artifactType":"application/spdx+json""#.into(),
        r#","mediaType":"application/vnd.oci.artifact.manifest.v1+json""#.into(),
        r#","annotations":{"kind":"dev.cosignproject.cosign/sigs"}"#.into(),
        format!(r#","annotations":{{"{REF_NAME}":"sha256-{digits}.sig"}}"#),
        format!(r#","annotations":{{"{CONTAINERD_NAME}":"ghcr.io/a/b:sha256-{digits}.att"}}"#),
    ] {
        assert!(descriptor(&beside).is_beside(), "{beside}");
    }
    for image in [
        String::new(),
        r#","artifactType":"""#.into(),
        r#","artifactType":"application/vnd.oci.image.config.v1+json""#.into(),
        r#","annotations":{"kind":"dev.cosignproject.cosign/imageIndex"}"#.into(),
        r#","annotations":{"vnd.docker.reference.type":null,"x":5}"#.into(),
        r#","annotations":"none""#.into(),
        format!(r#","mediaType":"{OCI_MANIFEST}","annotations":{{"{REF_NAME}":"sha256-{digits}"}}"#),
    ] {
        assert!(!descriptor(&image).is_beside(), "{image}");
    }
}

#[test]
fn attachments_are_recognized_by_their_manifest() {
    let config = |media_type: &str| format!(r#""config":{{"mediaType":"{media_type}","digest":"sha256:00","size":2}}"#);
    let image = config("application/vnd.oci.image.config.v1+json");
    let signature =
        r#""layers":[{"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json","digest":"x","size":1}]"#;
    let table = [
        (format!("{{{image}}}"), false),
        (format!(r#"{{{image},"artifactType":"x/y"}}"#), false),
        (format!("{{{CONFIG}}}"), false),
        (format!(r#"{{{CONFIG},"artifactType":"x/y"}}"#), true),
        (format!(r#"{{{image},"subject":{{}}}}"#), true),
        (format!(r#"{{{image},"subject":null}}"#), false),
        (format!("{{{}}}", config("application/vnd.oci.empty.v1+json")), true),
        (format!("{{{image},{signature}}}"), true),
    ];
    for (text, beside) in table {
        let Ok(Document::Manifest(manifest)) = Document::parse(text.as_bytes(), None) else { panic!("{text}") };
        assert_eq!(manifest.is_beside(), beside, "{text}");
    }
}
