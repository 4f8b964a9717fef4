//! Logins and tokens.

use std::time::Duration;

use crate::registry::day::Day;
use crate::registry::row::{Row, row, run};
use crate::registry::sample::LAYER;
use crate::support;
use crate::support::registry::{Auth, Fault, Host, Kind, NONE, On, Origin, Plan, TokenField};

/// One new token for each refusal, and no others.
fn one_token_a_refusal(row: Row) -> Row {
    row.check(|seen| {
        let refused = seen.log.only(|record| record.status == Some(401) && record.kind != Kind::Token).len();
        let tokens = seen.log.kind(Kind::Token).len();
        assert!((1..=refused).contains(&tokens), "{tokens} tokens for {refused} refusals");
    })
}

#[test]
fn expired_tokens_are_renewed() {
    run([
        one_token_a_refusal(row("R19", "after three requests"))
            .flags(&["--jobs", "1"])
            .login(Auth { max_uses: 3, ..Auth::bearer() })
            .builds(),
        one_token_a_refusal(row("R19", "after each request"))
            .flags(&["--jobs", "1"])
            .login(Auth { max_uses: 1, ..Auth::bearer() }),
        row("R19", "while several blobs come").login(Auth { max_uses: 4, ..Auth::bearer() }),
        row("R20", "after a second")
            .flags(&["--jobs", "1"])
            .login(Auth { expires_in: 1, ..Auth::bearer() })
            .rule(On::layer(0), Fault { stall_at: Some((1000, Duration::from_millis(1500))), ..NONE })
            .rule(On::layer(LAYER), Fault { stall_at: Some((1000, Duration::from_millis(1500))), ..NONE }),
        row("R19", "in the other field").login(Auth { token_field: TokenField::AccessToken, ..Auth::bearer() }),
        row("R19", "for anyone").plan(Plan::new().auth(Auth::anonymous())),
        row("R19", "for anyone, without a scope")
            .plan(Plan::new().auth(Auth { omit_scope: true, ..Auth::anonymous() })),
    ]);
}

#[test]
fn a_refused_login_is_not_retried() {
    let refused = |status| {
        row("R22", "by the token endpoint")
            .login(Auth { token_status: Some(status), ..Auth::bearer() })
            .fails(4, ["127.0.0.1:", "the registry refuses the login"])
            .check(|seen| assert_eq!(seen.log.kind(Kind::Token).len(), 1))
    };
    run([
        refused(403),
        refused(401),
        row("R22", "by the registry itself")
            .login(Auth { password: "another", ..Auth::basic() })
            .fails(4, ["the registry refuses the login"])
            .check(|seen| assert!(seen.log.len() <= 3, "{} requests", seen.log.len())),
        row("R22", "when there is none").plan(Plan::new().auth(Auth::bearer())).fails(4, ["127.0.0.1:"]),
        row("R22", "when there is none for basic")
            .plan(Plan::new().auth(Auth::basic()))
            .fails(4, ["the registry requires credentials, and there are none for it"]),
    ]);
}

#[test]
fn token_endpoints_have_the_limits_of_registries() {
    let on = || On::kind(Kind::Token);
    run([
        row("R11", "503 for a token, once")
            .login(Auth::bearer())
            .rule(on().first(), Fault { status: Some(503), ..NONE }),
        row("R32", "a token of 1 MiB")
            .login(Auth { pad_token: 1 << 20, ..Auth::bearer() })
            .fails(7, ["--max-token-bytes allows 65536"]),
        row("R36", "a token that is no JSON")
            .login(Auth::bearer())
            .rule(on(), Fault { status: Some(200), body: Some(b"\x1b[31m".to_vec()), ..NONE })
            .fails(3, ["the token "]),
    ]);
}

#[test]
fn a_password_is_not_sent_to_another_origin_by_http() {
    run([row("R21", "a realm at another origin, by HTTP")
        .login(Auth { realm: Host::Cdn, ..Auth::bearer() })
        .fails(4, ["127.0.0.1:", "no password"])
        .check(|seen| assert_eq!(seen.log.at(Origin::Cdn).with_secrets().len(), 0))]);
}

#[test]
fn an_identity_token_is_exchanged_and_never_shown() {
    let auth = Auth { identity: Some("identity-t0ken"), password: "not this", ..Auth::bearer() };
    let day = Day::new("R19", Plan::new().auth(auth));
    let host = day.registry.host();
    let entry = serde_json::json!({"auths": {host: {"identitytoken": "identity-t0ken"}}});
    let file = day.auths(&entry);
    day.succeeds(&day.pull(&["--authfile", &file, "-v"]));
    let requests = day.registry.log().kind(Kind::Token).0;
    assert!(requests.iter().all(|record| record.method == "POST" && record.query.is_none()), "{}", requests.len());
}

#[test]
fn an_identity_token_is_not_redirected_to_another_origin() {
    let auth = Auth { identity: Some("identity-t0ken"), password: "not this", ..Auth::bearer() };
    let day = Day::new("R15", Plan::new().auth(auth.clone()));
    let away = vec![("Location", format!("http://{}/token", day.registry.cdn()))];
    let away = Fault { status: Some(307), headers: away, ..NONE };
    day.registry.follow(Plan::new().auth(auth).rule(On::kind(Kind::Token), away));
    let entry = serde_json::json!({"auths": {day.registry.host(): {"identitytoken": "identity-t0ken"}}});
    let file = day.auths(&entry);
    day.fails(&day.pull(&["--authfile", &file]), 3, &["the token was redirected to"]);
    assert_eq!(day.registry.log().at(Origin::Cdn).len(), 0);
}

#[test]
fn credentials_are_read_from_flags_and_standard_input() {
    use std::io::Write as _;
    use std::process::Stdio;
    let day = Day::new("R22", Plan::new().auth(Auth::bearer()));
    day.succeeds(&day.pull(&["--creds", "user:hunter2"]));
    day.fails(&day.pull(&["--creds", "user:hunter3"]), 4, &["the registry refuses the login"]);
    let file = day.authfile(&day.registry.host(), "user", "hunter2");
    let mut command = day.pull_command(&day.source(), &[]);
    day.succeeds(&day.run(command.env("REGISTRY_AUTH_FILE", &file)));
    day.fails(&day.run(command.arg("--no-creds")), 4, &[]);
    let mut command = day.pull_command(&day.source(), &["--creds", "user", "--password-stdin"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"hunter2\n").unwrap();
    let output = child.wait_with_output().unwrap();
    day.says_nothing_secret(&output);
    day.succeeds(&output);
}

/// I6 for the children: a program of e2fsprogs that records its arguments and environment, and then runs the tool.
#[test]
fn no_secret_reaches_the_arguments_or_the_environment_of_a_child() {
    let day = Day::new("R22", Plan::new().auth(Auth::bearer()));
    let bin = day.bench.shared("bin");
    std::fs::create_dir(&bin).unwrap();
    for tool in ["mkfs.ext4", "debugfs"] {
        let real = support::tool(tool);
        let seen = day.bench.at("seen.ext4");
        let text = format!(
            "#!/bin/sh\n{{ echo {tool} \"$@\"; env; }} >> '{}'\nexec {} \"$@\"\n",
            seen.display(),
            real.display()
        );
        support::script(&bin.join(tool), &text);
    }
    let file = day.authfile(&day.registry.host(), "user", "hunter2");
    let mut command = day.build_command(&day.source(), "out.ext4", &["--authfile", &file]);
    command.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    day.succeeds(&day.run(&mut command));
    let seen = std::fs::read_to_string(day.bench.at("seen.ext4")).unwrap();
    assert!(seen.contains("mkfs.ext4 "), "{seen}");
    for secret in day.registry.tokens().iter().map(String::as_str).chain(crate::registry::day::SECRETS) {
        assert!(!seen.contains(secret), "{secret} in {seen}");
    }
}

/// A configuration as docker writes it on WSL, in `~/.docker`, and the messages of the run.
fn with_config(day: &Day, config: &serde_json::Value, path: &str) -> std::process::Output {
    let directory = day.bench.home().join(".docker");
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("config.json");
    std::fs::write(&file, config.to_string()).unwrap();
    support::set_mode(&file, 0o600);
    day.bench.give(&file);
    let mut command = day.pull_command(&day.source(), &["-v"]);
    command.env("PATH", path);
    let output = command.output().unwrap();
    std::fs::remove_dir_all(directory).unwrap();
    day.says_nothing_secret(&output);
    output
}

#[test]
fn a_missing_helper_is_reported_and_access_is_anonymous() {
    let helper = "the credential helper docker-credential-desktop.exe, which ";
    let not_there = "/.docker/config.json names, is not in PATH";
    let path = "/usr/local/bin:/usr/bin:/bin";
    let day = Day::new("R48", Plan::new().auth(Auth::bearer()));
    let host = day.registry.host();
    let login = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, "user:hunter2");
    let config = |entry: serde_json::Value| serde_json::json!({"auths": {&host: entry}, "credsStore": "desktop.exe"});
    let warned = |output: &std::process::Output, instead: &str| {
        let text = support::stderr(output);
        let found = text.lines().any(|line| {
            let warning = line.starts_with("warning: ") && line.contains(helper) && line.contains(not_there);
            warning && line.ends_with(instead)
        });
        assert!(found, "R48: {instead:?} is not in {text}");
    };
    // A login beside it is used, and the message says so.
    let output = with_config(&day, &config(serde_json::json!({"auth": login})), path);
    day.succeeds(&output);
    warned(&output, "/.docker/config.json");
    assert!(support::stderr(&output).contains(": credentials: "), "R48: {}", support::stderr(&output));
    // Without one the access is anonymous, and a refusal is reported with the reason.
    let output = with_config(&day, &config(serde_json::json!({})), path);
    day.fails(&output, 4, &[&host, "the registry requires credentials", helper, not_there]);
    warned(&output, &format!("{host} is used without credentials"));
    // A public registry needs no login.
    day.registry.follow(Plan::new().auth(Auth::anonymous()));
    let output = with_config(&day, &config(serde_json::json!({})), path);
    day.succeeds(&output);
    warned(&output, "is used without credentials");
    // An installed helper is run.
    day.registry.follow(Plan::new().auth(Auth::bearer()));
    let bin = day.bench.shared("helpers");
    std::fs::create_dir(&bin).unwrap();
    let script = "#!/bin/sh\ncat >/dev/null\nprintf '{\"Username\":\"user\",\"Secret\":\"hunter2\"}\\r\\n'\n";
    support::script(&bin.join("docker-credential-desktop.exe"), script);
    let output = with_config(&day, &config(serde_json::json!({})), &format!("{}:{path}", bin.display()));
    day.succeeds(&output);
    assert!(!support::stderr(&output).contains("warning"), "R48: {}", support::stderr(&output));
}

#[test]
fn a_variable_may_hold_the_login() {
    let day = Day::new("R49", Plan::new().auth(Auth::bearer()));
    let login = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, "user:hunter2\n");
    let json = serde_json::json!({"auths": {format!("https://{}/v2/", day.registry.host()): {"auth": login}}});
    let mut command = day.pull_command(&day.source(), &["-v"]);
    let output = day.run(command.env("DOCKER_AUTH_CONFIG", json.to_string()));
    day.succeeds(&output);
    assert!(support::stderr(&output).contains("credentials: DOCKER_AUTH_CONFIG"), "R49: {}", support::stderr(&output));
    let mut command = day.pull_command(&day.source(), &[]);
    let output = day.run(command.env("DOCKER_AUTH_CONFIG", "hunter2"));
    day.fails(&output, 4, &["DOCKER_AUTH_CONFIG is not JSON"]);
}
