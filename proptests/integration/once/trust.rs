//! Signed filesystems, and filesystems that refer to their image.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use super::shared::{build, direct, is_direct, report, repository, warnings};
use super::written::Written;
use crate::docker_registry::{House, LOGIN};
use crate::support::process::{command, run};
use crate::support::registry::{ANY, Fault, NONE, On, Plan};
use crate::support::{Bench, failed, stderr, succeeded};

/// A pair of keys, and the file of the public one.
struct Pair {
    pair: minisign::KeyPair,
    public: PathBuf,
}

impl Pair {
    fn new(bench: &Bench, name: &str) -> Self {
        let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        let public = bench.readable(name, pair.pk.to_box().unwrap().to_string().as_bytes());
        Self { pair, public }
    }

    fn path(&self) -> &str {
        self.public.to_str().unwrap()
    }

    /// Signs an artifact: the text is that of the README.
    fn sign(&self, mut written: Written) -> Written {
        let text = signed_text(&written.manifest);
        let comment = Some("x");
        let signature = minisign::sign(None, &self.pair.sk, text.as_bytes(), comment, comment).unwrap();
        written.manifest["annotations"]["planish.filesystem.signature"] = signature.to_string().into();
        written
    }
}

fn signed_text(manifest: &Value) -> String {
    let annotation = |name: &str| manifest["annotations"][format!("planish.filesystem.{name}")].as_str().unwrap();
    format!(
        "planish.filesystem.v1\nbytes={}\ndigest={}\nkey={}\nreport={}\n",
        annotation("bytes"),
        annotation("digest"),
        annotation("key"),
        manifest["layers"][0]["digest"].as_str().unwrap()
    )
}

#[test]
fn with_a_key_only_what_it_signed_is_taken() {
    let bench = Bench::new();
    let (ours, other) = (Pair::new(&bench, "ours.pub"), Pair::new(&bench, "other.pub"));
    let forged = {
        let mut entry = ours.sign(direct().entry());
        let mut report = direct().report.clone();
        report["planish"] = "9".into();
        let replaced = Written::entry(direct().key(), &direct().bytes, report.to_string().as_bytes());
        entry.manifest["layers"] = replaced.manifest["layers"].clone();
        entry.blobs = replaced.blobs;
        entry
    };
    for (says, written) in [
        ("it is not signed", direct().entry()),
        ("its signature is by another key", other.sign(direct().entry())),
        ("or for another filesystem", forged),
        ("its signature has another form", {
            let mut entry = direct().entry();
            entry.manifest["annotations"]["planish.filesystem.signature"] = "\u{1b}[2J".into();
            entry
        }),
    ] {
        let bench = Bench::new();
        let registry = written.serve(&bench.shared("fs"), Plan::new());
        let from = repository(&registry);
        let output = build(&bench, &["--cache-from", &from, "--verify-key", ours.path()]);
        assert_eq!(report(&output)["reused"], false, "{says}");
        assert!(is_direct(&bench), "{says}");
        let found = warnings(&output);
        assert!(matches!(&*found, [one] if one.contains(says)), "{says}: {found:?}");
        // A pull has nothing else.
        let reference = format!("docker://{from}:{}", written.tag);
        let mut pull = bench.planish();
        pull.env("HOME", bench.home()).args(["pull", &reference, "-o", "pulled.ext4", "--verify-key", ours.path()]);
        let line = failed(&pull.output().unwrap(), 5);
        assert!(line.contains(says), "{says}: {line}");
        assert_eq!(bench.left(), ["out.ext4"], "{says}");
    }
    let both = [&ours, &other].map(|pair| std::fs::read_to_string(&pair.public).unwrap()).concat();
    let both = bench.readable("both.pub", both.as_bytes());
    let output = build(&bench, &["--cache-from", "127.0.0.1:1/fs", "--verify-key", both.to_str().unwrap()]);
    assert!(failed(&output, 6).contains("both.pub"), "of two keys, none is meant");
    let bench = Bench::new();
    let registry = ours.sign(direct().entry()).serve(&bench.shared("fs"), Plan::new());
    let from = repository(&registry);
    let local = ["--cache-dir", "cache", "--cache-from", &from];
    let signed = [&local[..], &["--verify-key", other.path(), "--verify-key", ours.path()]].concat();
    let found = report(&build(&bench, &signed));
    assert_eq!(found["fetched"]["signed_by"], ours.pair.pk.to_base64());
    let count = registry.log().len();
    assert_eq!(report(&build(&bench, &signed))["fetched"]["signed_by"], ours.pair.pk.to_base64());
    assert_eq!(registry.log().len(), count, "the local cache remembers the key");
    let strange = report(&build(&bench, &[&local[..], &["--verify-key", other.path()]].concat()));
    assert_eq!(strange["reused"], false, "and takes it for no other");
    // What was fetched without a key is not taken for signed.
    let bench = Bench::new();
    assert_eq!(report(&build(&bench, &local))["fetched"]["signed_by"], Value::Null);
    assert_eq!(report(&build(&bench, &signed))["fetched"]["signed_by"], ours.pair.pk.to_base64());
}

/// Runs planish with the login of a house.
fn house_run(house: &House, words: &str) -> Output {
    let mut command = house.bench.planish();
    command.env("HOME", house.bench.home()).args(words.split(' ')).arg("--authfile").arg(house.authfile(LOGIN));
    command.arg("--ca-file").arg(&house.ca).output().unwrap()
}

fn raw(house: &House, reference: &str) -> Value {
    let mut inspect = command("skopeo inspect --raw --creds");
    inspect.arg(LOGIN).arg("--cert-dir").arg(house.bench.shared("certificates"));
    serde_json::from_str(&run(inspect.arg(format!("docker://{}/{reference}", house.host)))).unwrap()
}

#[test]
#[ignore = "needs docker-registry, skopeo, htpasswd and minisign"]
fn minisign_makes_the_keys_and_verifies_what_was_pushed() {
    let house = House::new();
    let bench = &house.bench;
    let keys = |words: &str| run(command(&format!("minisign {words}")).current_dir(bench.home()));
    keys("-G -W -p key.pub -s key.sec");
    bench.give(&bench.at("key.sec"));
    let source = format!("oci:{}", bench.fixture("layered").display());
    let cache = format!("{}/team/cache", house.host);
    let build = |more: &str| {
        let words = format!("build {source} -o out.ext4 --platform linux/amd64 --free 1M --force --json {more}");
        let output = house_run(&house, &words);
        assert_eq!(warnings(&output), [""; 0]);
        report(&output)
    };
    build(&format!("--cache-to {cache} --cache-to-required --sign-key key.sec"));
    let found = build(&format!("--cache-from {cache} --verify-key key.pub"));
    let public = std::fs::read_to_string(bench.at("key.pub")).unwrap();
    assert_eq!(found["fetched"]["signed_by"].as_str(), public.lines().last());
    assert!(is_direct(bench));
    let tag = format!("planish-{}", &direct().key()["sha256:".len()..][..32]);
    let manifest = raw(&house, &format!("team/cache:{tag}"));
    std::fs::write(bench.at("text"), signed_text(&manifest)).unwrap();
    let signature = manifest["annotations"]["planish.filesystem.signature"].as_str().unwrap();
    std::fs::write(bench.at("text.minisig"), signature).unwrap();
    keys("-V -p key.pub -m text");
    // A damaged key, a public one, and one with a password.
    let mut damaged = std::fs::read_to_string(bench.at("key.sec")).unwrap();
    damaged.replace_range(160..164, "AAAA");
    let locked = minisign::KeyPair::generate_encrypted_keypair(Some("x".into())).unwrap().sk.to_box(None).unwrap();
    bench.readable("damaged", damaged.as_bytes());
    bench.readable("locked", locked.to_string().as_bytes());
    for (name, says) in
        [("damaged", "holds no secret key"), ("locked", "needs a password"), ("home/key.pub", "holds no")]
    {
        let key = bench.shared(name);
        let words = format!("build {source} -o no.ext4 --cache-to {cache} --sign-key {}", key.display());
        assert!(failed(&house_run(&house, &words), 6).contains(says), "{name}");
    }
}

#[test]
#[ignore = "needs docker-registry, skopeo and htpasswd"]
fn a_filesystem_is_among_the_referrers_of_its_image() {
    let house = House::new();
    let bench = &house.bench;
    let layout = bench.fixture("layered");
    let source = format!("oci:{}", layout.display());
    let mut digests = Vec::new();
    for label in ["a", "b", "a"] {
        succeeded(&bench.build(&source, "out.ext4", &["--free", "1M", "--label", label, "--force"]));
        let push =
            format!("push out.ext4 {}/planish/fs:{label} --subject {source} --platform linux/amd64 --json", house.host);
        digests.push(report(&house_run(&house, &push))["manifest_digest"].clone());
    }
    assert_eq!(digests[0], digests[2]);
    let index: Value = serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    let image = &index["manifests"][0];
    let subject = &raw(&house, "planish/fs:a")["subject"];
    for member in ["digest", "size", "mediaType"] {
        assert_eq!(subject[member], image[member], "{member}");
    }
    // Debian's registry has no referrers API: the list is under the tag of the image's digest.
    let tag = image["digest"].as_str().unwrap().replace(':', "-");
    let list = raw(&house, &format!("planish/fs:{tag}"));
    let listed: Vec<&Value> = list["manifests"].as_array().unwrap().iter().map(|item| &item["digest"]).collect();
    assert_eq!(listed, [&digests[0], &digests[1]]);
    assert_eq!(list["manifests"][0]["artifactType"], super::written::TYPE);
}

/// An answer with a header, whatever the request.
pub fn answer(status: u16, name: &'static str, value: &str) -> Fault {
    Fault { status: Some(status), headers: vec![(name, value.into())], ..NONE }
}

#[test]
fn a_registry_that_lists_referrers_gets_no_list() {
    let bench = Bench::new();
    let source = format!("oci:{}", bench.fixture("layered").display());
    succeeded(&bench.build(&source, "out.ext4", &["--free", "1M"]));
    let on = |method| On { method: Some(method), ..ANY };
    let plan = |listed: &'static str| {
        Plan::new()
            .rule(on("POST"), answer(202, "Location", "/v2/fs/blobs/uploads/1"))
            .rule(on("PUT"), answer(201, listed, "sha256:0"))
    };
    for (header, requests) in [("OCI-Subject", 0), ("X-Other", 2 * 3)] {
        let registry = Written::of(b"", &[]).serve(&bench.shared("fs"), plan(header));
        let reference = format!("{}:x", repository(&registry));
        let mut push = bench.planish();
        push.env("HOME", bench.home()).args(["push", "out.ext4", &reference, "--subject", &source]);
        let output = push.args(["--platform", "linux/amd64"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let log = registry.log();
        let listed = |path: &str| path.contains("/manifests/sha256-");
        assert_eq!(log.only(|record| listed(&record.path)).len(), requests, "{header}");
    }
}

#[test]
#[ignore = "needs docker-registry, skopeo and htpasswd"]
fn blobs_are_taken_from_another_repository_of_the_registry() {
    let house = House::new();
    let source = format!("oci:{}", house.bench.fixture("layered").display());
    succeeded(&house.bench.build(&source, "out.ext4", &["--free", "1M"]));
    let push = |to: &str, more: &str| {
        let output = house_run(&house, &format!("push out.ext4 {}/{to}:x --json{more}", house.host));
        report(&output)["transferred_bytes"].as_u64().unwrap()
    };
    let whole = push("planish/one", "");
    assert!(whole > 0);
    assert_eq!(push("planish/two", " --mount-from planish/one"), 0);
    assert_eq!(push("planish/three", " --mount-from planish/nothing"), whole);
    assert_eq!(push("planish/four", ""), whole);
    let reference = format!("{}/planish/two:x", house.host);
    succeeded(&house_run(&house, &format!("pull {reference} -o back.ext4")));
    let read = |name: &str| std::fs::read(Path::new(&house.bench.home()).join(name)).unwrap();
    assert!(read("out.ext4") == read("back.ext4"));
}
