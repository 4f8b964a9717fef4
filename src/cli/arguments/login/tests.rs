use clap::Parser;

use super::*;

const HOST: &str = "registry.example";

#[derive(Debug, Parser)]
struct Only {
    #[command(flatten)]
    login: LoginArguments,
}

fn parse(arguments: &str) -> Result<LoginArguments, String> {
    let arguments = ["x"].into_iter().chain(arguments.split_whitespace());
    Only::try_parse_from(arguments).map(|only| only.login).map_err(|error| error.to_string())
}

fn login(arguments: &str, stdin: &str) -> Result<Login, String> {
    let nothing = Environment::from_iter([("HOME", "/h")]);
    match parse(arguments)?.login_from(&nothing, Some(HOST), stdin.as_bytes()) {
        Ok(login) => Ok(login),
        Err(Failure::Usage(text)) => Err(text),
        Err(other) => Err(format!("{other:?}")),
    }
}

fn given(credential: Credential) -> Option<GivenCredential> {
    Some(GivenCredential { host: HOST.into(), credential })
}

fn password(user: &str, password: &str) -> Option<GivenCredential> {
    given(Credential::Password { user: user.into(), password: Secret::new(password.into()) })
}

#[test]
fn a_login_is_given_on_the_command_line_or_on_stdin() {
    let table = [
        ("", "", None),
        ("--creds me:hunter2", "", password("me", "hunter2")),
        ("--creds me:a:b", "", password("me", "a:b")),
        ("--creds me:", "", password("me", "")),
        ("--creds <token>:hunter2", "", given(Credential::IdentityToken(Secret::new("hunter2".into())))),
        ("--creds me --password-stdin", "hunter2\n", password("me", "hunter2")),
        ("--creds me --password-stdin", " hunter2 \r\n", password("me", " hunter2 ")),
        ("--creds me --password-stdin", "hunter2", password("me", "hunter2")),
    ];
    for (arguments, stdin, want) in table {
        assert_eq!(login(arguments, stdin).unwrap().credentials.given, want, "{arguments}");
    }
}

#[test]
fn an_invalid_login_is_refused() {
    let long = "x".repeat(70_000);
    let table = [
        ("--creds me", "", "--creds has no password: add --password-stdin to read it from stdin"),
        ("--creds me:hunter2 --password-stdin", "x", "--creds holds a password, and --password-stdin reads another"),
        ("--creds :hunter2", "", "--creds has no user"),
        ("--creds me --password-stdin", "", "--password-stdin: stdin is empty"),
        ("--creds me --password-stdin", "\n", "--password-stdin: stdin is empty"),
        ("--creds me --password-stdin", "hunter2\nx\n", "--password-stdin: stdin has more than one line"),
        ("--creds me --password-stdin", &long, "--password-stdin: the line is too long for a password"),
    ];
    for (arguments, stdin, want) in table {
        assert_eq!(login(arguments, stdin).unwrap_err(), want, "{arguments}");
    }
}

#[test]
fn flags_that_exclude_each_other_are_refused_without_their_values() {
    for arguments in [
        "--creds me:hunter2 --no-creds",
        "--authfile f --no-creds",
        "--creds me:hunter2 --registry-mirror a/b",
        "--creds me:hunter2 --tls-verify=perhaps",
    ] {
        assert!(!parse(arguments).unwrap_err().contains("hunter2"), "{arguments}");
    }
}

#[test]
fn nothing_shows_a_password() {
    let arguments = "--creds me:hunter2";
    let shown = format!("{:?} {:?}", parse(arguments).unwrap(), login(arguments, "").unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn certificates_are_verified_by_default() {
    let table = [("", true), ("--tls-verify", true), ("--tls-verify=true", true), ("--tls-verify=false", false)];
    for (arguments, want) in table {
        assert_eq!(login(arguments, "").unwrap().tls.verify, want, "{arguments}");
    }
}

#[test]
fn repeated_options_keep_their_order() {
    let login =
        login("--ca-file b --ca-file a --registry-mirror m:5000 --registry-mirror quay.io=[::1]:1 --plain-http", "");
    let login = login.unwrap();
    assert_eq!(login.tls.ca_files, [PathBuf::from("b"), "a".into()]);
    let mirror = |registry: &str, host: &str| Mirror { registry: registry.into(), host: host.into() };
    assert_eq!(login.mirrors, [mirror("docker.io", "m:5000"), mirror("quay.io", "[::1]:1")]);
    assert!(login.plain_http);
}
