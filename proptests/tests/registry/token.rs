//! Logins and tokens.

use std::time::Duration;

use crate::day::Day;
use crate::origin::{Auth, Fault, Host, Kind, NONE, On, Origin, Plan, TokenField};
use crate::row::{Row, row, run};
use crate::sample::LAYER;
use crate::support;

/// A new token for each refusal, and none besides.
fn one_token_a_refusal(row: Row) -> Row {
    row.check(|seen| {
        let refused = seen.log.only(|record| record.status == Some(401) && record.kind != Kind::Token).len();
        let asked = seen.log.kind(Kind::Token).len();
        assert!((1..=refused).contains(&asked), "{asked} tokens for {refused} refusals");
    })
}

#[test]
fn tokens_that_die_are_renewed() {
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
fn a_refused_login_is_not_tried_again() {
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
            .fails(4, ["the registry wants a login, and there are no credentials for it"]),
    ]);
}

#[test]
fn token_endpoints_are_as_limited_as_registries() {
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
fn a_password_goes_to_no_other_origin_in_the_clear() {
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
    let asked = day.registry.log().kind(Kind::Token).0;
    assert!(asked.iter().all(|record| record.method == "POST" && record.query.is_none()), "{}", asked.len());
}

#[test]
fn an_identity_token_follows_no_redirect_to_another_origin() {
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
fn credentials_come_from_flags_and_standard_input_too() {
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

/// I6 for the children: a program of e2fsprogs that writes down what it was given, and then is what it is.
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
    for secret in day.registry.tokens().iter().map(String::as_str).chain(crate::day::SECRETS) {
        assert!(!seen.contains(secret), "{secret} in {seen}");
    }
}
