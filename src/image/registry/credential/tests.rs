use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;
use crate::error::Signal;

/// A directory of files and helpers that serve as the sources of credentials.
struct Machine {
    directory: TempDir,
    sources: CredentialSources,
}

impl Machine {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut path = directory.path().as_os_str().to_owned();
        path.push(":/usr/bin:/bin");
        Self { directory, sources: CredentialSources { search_path: path, ..CredentialSources::default() } }
    }

    /// Returns a machine whose only file has the content `json`.
    fn of(json: &str) -> Self {
        let mut machine = Self::new();
        machine.searched("auth.json", json);
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self, name: &str, content: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn searched(&mut self, name: &str, content: &str) {
        let path = self.file(name, content, 0o600);
        self.sources.files.push(path);
    }

    fn helper(&self, name: &str, script: &str) {
        self.executable(name, &format!("#!/bin/sh\n{script}\n"));
    }

    /// Writes the file in another process: otherwise children of other threads would inherit a descriptor open for
    /// writing, and the file could not be executed.
    fn executable(&self, name: &str, content: &str) {
        let path = self.path(&format!("docker-credential-{name}"));
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", r#"printf %s "$0" >"$1"; chmod 755 "$1""#, content]).arg(path);
        assert!(shell.status().unwrap().success());
    }

    fn find(&self, host: &str, repository: &str) -> Result<StoredCredential> {
        find_within(host, repository, &self.sources, 20, &Cancel::default())
    }

    fn credential(&self, host: &str, repository: &str) -> String {
        shown(&self.find(host, repository).unwrap().credential)
    }

    /// Returns the credential and its source, with the directory as `DIR`.
    fn found(&self) -> (String, String) {
        let found = self.find("quay.io", "ns/repo").unwrap();
        (shown(&found.credential), found.source.replace(self.directory.path().to_str().unwrap(), "DIR"))
    }

    /// Returns the text of the error, with the directory as `DIR`.
    fn problem(&self) -> String {
        let error = self.find("quay.io", "ns/repo").unwrap_err();
        assert_eq!(error.fault().exit_code(), 4, "{error}");
        let text = format!("{error} {error:?}");
        assert!(!text.contains("hunter2"), "{text}");
        assert!(!text.contains('\x1b'), "{text}");
        error.to_string().replace(self.directory.path().to_str().unwrap(), "DIR")
    }
}

fn shown(credential: &Credential) -> String {
    match credential {
        Credential::Anonymous => "anonymous".into(),
        Credential::Password { user, password } => format!("{user}:{}", password.expose()),
        Credential::IdentityToken(token) => format!("identity {}", token.expose()),
        Credential::Bearer(token) => format!("bearer {}", token.expose()),
    }
}

const ANSWER: &str = r#"{"ServerURL":"x","Username":"helped","Secret":"hunter2"}"#;
const NOT_FOUND: &str = "echo 'credentials not found in native keychain'; exit 1";

#[test]
fn every_form_of_an_entry_is_read() {
    let table = [
        (r#"{"auth":"bWU6aHVudGVyMg=="}"#, "me:hunter2"),
        (r#"{"auth":"bWU6aHVudGVyMg"}"#, "me:hunter2"),
        (r#"{"auth":"bWU6YTpi"}"#, "me:a:b"),
        (r#"{"auth":"dTpwAAA="}"#, "u:p"),
        (r#"{"auth":"bWU6aHVu\ndGVyMg==\r\n"}"#, "me:hunter2"),
        // echo me:hunter2 | base64
        (r#"{"auth":"bWU6aHVudGVyMgo="}"#, "me:hunter2"),
        (r#"{"auth":"PHRva2VuPjpodW50ZXIy"}"#, "identity hunter2"),
        (r#"{"username":"me","password":"hunter2"}"#, "me:hunter2"),
        (r#"{"auth":"","username":"me","password":"hunter2"}"#, "me:hunter2"),
        (r#"{"username":"<token>","password":"hunter2"}"#, "identity hunter2"),
        (r#"{"auth":"bWU6aHVudGVyMg==","identitytoken":"t"}"#, "identity t"),
        (r#"{"auth":"bWU6aHVudGVyMg==","identitytoken":"t","registrytoken":"r"}"#, "bearer r"),
        (r#"{"auth":"bWU6YQ==","auth":"bWU6Yg==","email":"x","new":[1]}"#, "me:b"),
        (r#"{"username":"me"}"#, "anonymous"),
        (r#"{}"#, "anonymous"),
        (r#"null"#, "anonymous"),
    ];
    for (entry, expected) in table {
        let machine = Machine::of(&format!(r#"{{"auths":{{"quay.io":{entry}}}}}"#));
        assert_eq!(machine.credential("quay.io", "ns/repo"), expected, "{entry}");
    }
}

#[test]
fn the_most_specific_entry_with_a_credential_is_used() {
    let machine = Machine::of(
        r#"{"auths":{
            "quay.io/ns/empty":{},
            "quay.io/ns":{"auth":"bnM6aHVudGVyMg=="},
            "quay.io":{"auth":"aG9zdDpodW50ZXIy"},
            "https://index.docker.io/v1/":{"auth":"aHViOmh1bnRlcjI="}}}"#,
    );
    let table = [
        ("quay.io", "ns/repo", "ns:hunter2"),
        ("quay.io", "ns/empty", "ns:hunter2"),
        ("quay.io", "nsx/repo", "host:hunter2"),
        ("docker.io", "library/ubuntu", "hub:hunter2"),
        ("registry-1.docker.io", "library/ubuntu", "hub:hunter2"),
        ("quay.io:5000", "ns/repo", "anonymous"),
    ];
    for (host, repository, expected) in table {
        assert_eq!(machine.credential(host, repository), expected, "{host}/{repository}");
    }
}

#[test]
fn sources_are_used_in_order() {
    let entry = |user: &str| format!(r#"{{"auths":{{"quay.io":{{"username":"{user}","password":"p"}}}}}}"#);
    let mut machine = Machine::new();
    let pair = |credential: &str, source: &str| (credential.to_owned(), source.to_owned());
    assert_eq!(machine.found(), pair("anonymous", "none found"));
    machine.sources.files.push(machine.path("missing"));
    machine.searched("empty", " \n");
    machine.searched("other", r#"{"auths":{"ghcr.io":{"auth":"!"}}}"#);
    machine.searched("first", &entry("first"));
    machine.searched("second", &entry("second"));
    assert_eq!(machine.found(), pair("first:p", "DIR/first"));
    machine.sources.authfile = Some(machine.file("named", &entry("named"), 0o600));
    assert_eq!(machine.found(), pair("named:p", "DIR/named"));
    machine.sources.authfile = Some(machine.path("other"));
    assert_eq!(machine.found(), pair("anonymous", "none found"));
    let credential = Credential::of_user("given".into(), Secret::new("p".into()));
    let given = |host: &str| Some(GivenCredential { host: host.into(), credential: credential.clone() });
    machine.sources.authfile = Some(machine.path("named"));
    machine.sources.given = given("quay.io.example");
    assert_eq!(machine.found(), pair("named:p", "DIR/named"));
    machine.sources.given = given("Quay.io");
    assert_eq!(machine.found(), pair("given:p", "--creds"));
    machine.sources.none = true;
    assert_eq!(machine.found(), pair("anonymous", "--no-creds"));
}

#[test]
fn a_store_precedes_auths_and_a_helper_of_the_registry_precedes_both() {
    let auths = r#""auths":{"quay.io":{"auth":"bWU6aHVudGVyMg=="}}"#;
    let helped = ("helped:hunter2", "docker-credential-store, named in DIR/auth.json");
    let stored = ("me:hunter2", "DIR/auth.json");
    let table = [
        (r#""credsStore":"store""#, helped),
        (r#""credsStore":"none""#, stored),
        (r#""credsStore":"""#, stored),
        (r#""credsStore":"missing","credHelpers":{"https://quay.io":"none"}"#, stored),
        (r#""credsStore":"missing","credHelpers":{"quay.io":""}"#, stored),
        (r#""credsStore":"none","credHelpers":{"quay.io":"store"}"#, helped),
        (r#""credsStore":"none","credHelpers":{"ghcr.io":"missing","quay.io/ns":"missing"}"#, stored),
    ];
    for (helpers, expected) in table {
        let machine = Machine::of(&format!("{{{auths},{helpers}}}"));
        machine.helper("store", &format!("echo '{ANSWER}'"));
        machine.helper("none", NOT_FOUND);
        let (credential, source) = machine.found();
        assert_eq!((credential.as_str(), source.as_str()), expected, "{helpers}");
    }
}

#[test]
fn a_helper_gets_the_server_on_stdin_and_a_bare_environment() {
    let machine = Machine::of(r#"{"credsStore":"say"}"#);
    let script = r#"read server || true
printf '{"Username":"%s %s","Secret":"%s %s %s"}' "$*" "$server" "$HOME" "$LC_ALL" "${CARGO_MANIFEST_DIR-none}""#;
    machine.helper("say", script);
    let mut sources = machine.sources.clone();
    sources.helper_environment.push(("HOME", "/home/me".into()));
    let ask = |host| shown(&find(host, "a", &sources, &Cancel::default()).unwrap().credential);
    assert_eq!(ask("localhost:5000"), "get localhost:5000:/home/me C none");
    assert_eq!(ask("registry-1.docker.io"), "get https://index.docker.io/v1/:/home/me C none");
}

#[test]
fn a_helper_is_asked_for_podmans_name_of_the_hub() {
    let machine = Machine::of(r#"{"credHelpers":{"docker.io":"podman"}}"#);
    let script = format!("read server || true; case $server in docker.io) echo '{ANSWER}' ;; *) {NOT_FOUND} ;; esac");
    machine.helper("podman", &script);
    assert_eq!(machine.credential("index.docker.io", "library/ubuntu"), "helped:hunter2");
}

#[test]
fn the_old_docker_file_is_read() {
    let mut machine = Machine::new();
    machine.searched(".dockercfg", r#"{"quay.io":{"auth":"bWU6aHVudGVyMg==","email":"me@example.com"}}"#);
    assert_eq!(machine.credential("quay.io", "a"), "me:hunter2");
    assert_eq!(machine.credential("ghcr.io", "a"), "anonymous");
}

#[test]
fn a_helper_returns_a_credential_or_none() {
    let table = [
        (r#"{"Username":"me","Secret":"hunter2"}"#, "me:hunter2"),
        (r#"{"Username":"<token>","Secret":"hunter2"}"#, "identity hunter2"),
        (r#"{"Username":"","Secret":""}"#, "anonymous"),
        (r#"{"username":"me","SECRET":"hunter2"}"#, "me:hunter2"),
        (r#"{"username":"other","Username":"me","Secret":"hunter2"} bye"#, "me:hunter2"),
    ];
    for (answer, expected) in table {
        let machine = Machine::of(r#"{"credsStore":"x"}"#);
        machine.helper("x", &format!("echo '{answer}'"));
        assert_eq!(machine.credential("quay.io", "a"), expected, "{answer}");
    }
}

#[test]
fn a_failed_helper_ends_the_search_and_is_named() {
    let table = [
        ("echo hunter2 >&2; printf 'hunter2\\033[31m'; exit 1", "failed with exit code 1"),
        ("kill -9 $$", "was killed by signal 9"),
        ("exec yes hunter2", "wrote more than 65536 bytes to stdout"),
        ("head -c 10485760 /dev/zero", "wrote more than 65536 bytes to stdout"),
        ("echo hunter2", "returns what is not a JSON object"),
        ("printf '\\033[31mhunter2'", "returns what is not a JSON object"),
        ("echo '{\"Secret\":\"hunter2\"}'", r#"returns no "Username" and "Secret""#),
        ("echo '{\"Username\":1,\"Secret\":\"hunter2\"}'", r#"returns "Username" and "Secret" that are not strings"#),
        ("exit 0", "returns what is not a JSON object"),
    ];
    for (script, expected) in table {
        let mut machine = Machine::of(r#"{"credHelpers":{"quay.io":"bad"}}"#);
        machine.searched("next", r#"{"auths":{"quay.io":{"auth":"bWU6aHVudGVyMg=="}}}"#);
        machine.helper("bad", script);
        assert_eq!(machine.problem(), format!("quay.io: the credential helper docker-credential-bad {expected}"));
    }
}

/// Returns the credential, the warnings, and the error of a registry that then refuses; the directory is `DIR`.
fn without(machine: &Machine) -> (String, Vec<String>, String) {
    let found = machine.find("quay.io", "ns/repo").unwrap();
    let plain = |text: String| text.replace(machine.directory.path().to_str().unwrap(), "DIR");
    let refusal = found.refusal(CredentialProblem::Wanted).to_string();
    (shown(&found.credential), found.warnings.iter().cloned().map(plain).collect(), plain(refusal))
}

#[test]
fn a_missing_helper_and_its_substitute_are_reported() {
    let login = r#""auths":{"quay.io":{"auth":"bWU6aHVudGVyMg=="}}"#;
    let empty = r#""auths":{"quay.io":{}}"#;
    let gone = "the credential helper docker-credential-desktop.exe, which DIR/auth.json names, is not in PATH";
    let refused = format!("the registry requires credentials, and there are none for it, and {gone}");
    for helper in [r#""credsStore":"desktop.exe""#, r#""credHelpers":{"quay.io":"desktop.exe"}"#] {
        for (auths, credential, instead) in [
            (login, "me:hunter2", "quay.io is used with the credentials of DIR/auth.json"),
            (empty, "anonymous", "quay.io is used without credentials"),
        ] {
            let machine = Machine::of(&format!("{{{auths},{helper}}}"));
            let expected = (credential.to_owned(), vec![format!("{gone}: {instead}")], refused.clone());
            assert_eq!(without(&machine), expected, "{helper} {auths}");
        }
    }
    let machine = Machine::of(r#"{"credsStore":"gone"}"#);
    machine.executable("gone", "#!/nowhere/interpreter\n");
    let (credential, warnings, _) = without(&machine);
    let expected = "the credential helper docker-credential-gone, which DIR/auth.json names, cannot be started: \
                No such file or directory (os error 2): quay.io is used without credentials";
    assert_eq!((credential.as_str(), warnings), ("anonymous", vec![expected.to_owned()]));
}

#[test]
fn a_missing_helper_does_not_hide_later_files() {
    let mut machine = Machine::of(r#"{"credsStore":"gone"}"#);
    machine.searched("next", r#"{"auths":{"quay.io":{"auth":"bWU6aHVudGVyMg=="}}}"#);
    let (credential, warnings, _) = without(&machine);
    assert_eq!(credential, "me:hunter2");
    assert!(warnings[0].ends_with(": quay.io is used with the credentials of DIR/next"), "{warnings:?}");
}

#[test]
fn a_windows_helper_is_found_by_its_name() {
    let machine = Machine::of(r#"{"auths":{"quay.io":{}},"credsStore":"desktop.exe"}"#);
    machine.helper("desktop.exe", &format!("printf '%s\\r\\n' '{ANSWER}'"));
    assert_eq!(machine.credential("quay.io", "a"), "helped:hunter2");
    let machine = Machine::of(r#"{"credsStore":"desktop.exe"}"#);
    machine.helper("desktop.exe", "printf 'credentials not found in native keychain\\r\\n'; exit 1");
    assert_eq!(machine.credential("quay.io", "a"), "anonymous");
}

#[test]
fn a_document_in_a_variable_precedes_the_files() {
    let entry = |user: &str| format!(r#"{{"auths":{{"quay.io":{{"username":"{user}","password":"p"}}}}}}"#);
    let mut machine = Machine::of(&entry("file"));
    let text = |json: &str| Some(AuthText { name: "DOCKER_AUTH_CONFIG", json: Secret::new(json.into()) });
    machine.sources.text = text(&entry("variable"));
    assert_eq!(machine.found(), ("variable:p".into(), "DOCKER_AUTH_CONFIG".into()));
    for json in ["{}", " ", r#"{"auths":{"ghcr.io":{"auth":"!"}}}"#] {
        machine.sources.text = text(json);
        assert_eq!(machine.found().0, "file:p", "{json}");
    }
    machine.sources.text = text("hunter2");
    assert_eq!(machine.problem(), "quay.io: DOCKER_AUTH_CONFIG is not JSON (line 1, column 1)");
    machine.sources.authfile = Some(machine.path("auth.json"));
    assert_eq!(machine.found().0, "file:p");
}

#[test]
fn a_file_may_begin_with_a_byte_order_mark() {
    let machine = Machine::of("\u{feff}{\"auths\":{\"quay.io\":{\"auth\":\"bWU6aHVudGVyMg==\"}}}\r\n");
    assert_eq!(machine.credential("quay.io", "a"), "me:hunter2");
    assert_eq!(Machine::of("\u{feff}").credential("quay.io", "a"), "anonymous");
}

#[test]
fn a_path_is_not_a_helper() {
    for (name, shown) in [("../x", "../x"), ("a b", "a b"), (r"\u001b[31m", r"\x1b[31m")] {
        let machine = Machine::of(&format!(r#"{{"credsStore":"{name}"}}"#));
        let expected =
            format!(r#"quay.io: DIR/auth.json names the credential helper "{shown}", which is not a valid name"#);
        assert_eq!(machine.problem(), expected);
    }
}

#[test]
fn a_helper_that_hangs_is_killed() {
    let machine = Machine::of(r#"{"credsStore":"slow"}"#);
    machine.helper("slow", "sleep 60");
    let started = Instant::now();
    let error = find_within("quay.io", "a", &machine.sources, 1, &Cancel::default()).unwrap_err();
    let expected = "quay.io: the credential helper docker-credential-slow did not end within 1 seconds";
    assert_eq!(error.to_string(), expected);
    let cancel = Cancel::default();
    cancel.raise(Signal::Interrupt);
    let error = find("quay.io", "a", &machine.sources, &cancel).unwrap_err();
    assert_eq!(error.fault().exit_code(), 130);
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_malformed_file_is_named_and_not_shown() {
    let entry = |auth: &str| format!(r#"{{"auths":{{"quay.io":{{"auth":"{auth}"}}}}}}"#);
    let table = [
        ("hunter2".into(), "is not JSON (line 1, column 1)"),
        (r#"{"auths":{"quay.io":{"auth":hunter2}}}"#.into(), "is not JSON (line 1, column 29)"),
        (r#""hunter2""#.into(), "is no JSON object"),
        ("[".repeat(100_000), "is not JSON (line 1, column 128)"),
        (entry("hunter2!"), r#"has for "quay.io" an "auth" that is not base64"#),
        (entry("/w=="), r#"has for "quay.io" an "auth" that is not UTF-8"#),
        (entry("aHVudGVyMg=="), r#"has for "quay.io" an "auth" that is not USER:PASSWORD"#),
        (entry("Omh1bnRlcjI="), r#"has for "quay.io" an "auth" that is not USER:PASSWORD"#),
    ];
    for (content, expected) in table {
        assert_eq!(Machine::of(&content).problem(), format!("quay.io: DIR/auth.json {expected}"));
    }
}

#[test]
fn a_missing_explicit_file_is_an_error() {
    let mut machine = Machine::new();
    machine.sources.authfile = Some(machine.path("auth\n.json"));
    let expected = r"quay.io: DIR/auth\x0a.json cannot be read: No such file or directory (os error 2)";
    assert_eq!(machine.problem(), expected);
    machine.sources.authfile = Some(machine.directory.path().to_owned());
    assert_eq!(machine.problem(), "quay.io: DIR cannot be read: Is a directory (os error 21)");
}

#[test]
fn unreadable_files_are_reported_and_skipped() {
    let mut machine = Machine::new();
    let fifo = machine.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    let large = machine.file("large", &" ".repeat((1 << 20) + 1), 0o600);
    machine.sources.files.extend([fifo, machine.directory.path().to_owned(), large]);
    machine.searched("next", r#"{"auths":{"quay.io":{"auth":"bWU6aHVudGVyMg=="}}}"#);
    let (credential, warnings, refusal) = without(&machine);
    assert_eq!(credential, "me:hunter2");
    let expected = [
        "DIR/fifo is not a regular file",
        "DIR cannot be read: Is a directory (os error 21)",
        "DIR/large has more than 1048576 bytes",
    ];
    let instead = "quay.io is used with the credentials of DIR/next";
    assert_eq!(warnings, expected.map(|why| format!("{why}: {instead}")));
    assert!(refusal.ends_with(&expected.join("; ")), "{refusal}");
}

#[test]
fn a_credential_file_readable_by_others_is_a_warning() {
    let table = [(0o600, None), (0o400, None), (0o644, Some("0644")), (0o640, Some("0640"))];
    for (mode, expected) in table {
        let mut machine = Machine::new();
        let path = machine.file("open", r#"{"auths":{"quay.io":{"auth":"bWU6aHVudGVyMg=="}}}"#, mode);
        machine.sources.files.push(path.clone());
        let expected =
            expected.map(|mode| format!("{} holds a secret and is open to others (mode {mode})", text(&path)));
        assert_eq!(machine.find("quay.io", "a").unwrap().warnings, Vec::from_iter(expected));
        assert_eq!(machine.find("ghcr.io", "a").unwrap().warnings, [""; 0]);
    }
}

#[test]
fn debug_output_has_no_secret() {
    let secret = || Secret::new("hunter2".into());
    let given = Some(Credential::of_user("me".into(), secret()));
    let given = given.map(|credential| GivenCredential { host: "quay.io".into(), credential });
    let sources = CredentialSources { given, ..CredentialSources::default() };
    let found = find("quay.io", "a", &sources, &Cancel::default()).unwrap();
    let others = [Credential::Bearer(secret()), Credential::IdentityToken(secret())];
    let shown = format!("{sources:?} {found:?} {others:?}");
    assert!(!shown.contains("hunter2") && shown.contains("password: …"), "{shown}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
