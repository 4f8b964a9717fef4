//! Hosts that cannot be reached or trusted; HTTPS does not fall back to HTTP.

use std::net::TcpListener;

use crate::registry::day::Day;
use crate::registry::sample::{LAYER, sample};
use crate::support::registry::tls::{Authority, Flaw};
use crate::support::registry::{Auth, Fault, Host, Kind, NONE, On, Origin, Plan, Redirect};

fn ca_file(day: &Day, authority: &Authority) -> String {
    day.bench.readable("ca.pem", authority.pem().as_bytes()).to_str().unwrap().to_owned()
}

fn day(id: &'static str, authority: &Authority, flaw: Flaw, plan: Plan) -> Day {
    Day::new(id, plan.tls(authority.server(flaw)))
}

#[test]
fn an_explicit_ca_is_trusted() {
    let authority = Authority::new();
    let day = day("R47", &authority, Flaw::None, Plan::new());
    let ca = ca_file(&day, &authority);
    day.succeeds(&day.build(&["--ca-file", &ca]));
    day.equals_oracle("out.ext4");
    day.recovers(&["--ca-file", &ca]);
}

#[test]
fn an_untrusted_certificate_is_refused_without_a_fallback_to_http() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let cases = [
        (Flaw::None, &stranger),
        (Flaw::Expired, &authority),
        (Flaw::WrongName, &authority),
        (Flaw::SelfSigned, &authority),
    ];
    for (flaw, trusted) in cases {
        let day = day("R47", &authority, flaw, Plan::new());
        let ca = ca_file(&day, trusted);
        let host = day.registry.host();
        day.fails(&day.build(&["--ca-file", &ca]), 3, &[&host, "cannot be trusted"]);
        day.fails(&day.build(&[]), 3, &[&host]);
        assert_eq!(day.registry.log().len(), 0, "{flaw:?}: something was asked");
        day.succeeds(&day.pull(&["--tls-verify=false"]));
        day.recovers(&["--tls-verify=false"]);
    }
}

#[test]
fn the_environment_and_certs_d_name_trusted_authorities() {
    let authority = Authority::new();
    let day = day("R47", &authority, Flaw::None, Plan::new());
    let ca = ca_file(&day, &authority);
    let pull = |variables: &[(&str, &str)]| {
        let mut command = day.pull_command(&day.source(), &["--no-cache", "--retry", "1"]);
        day.run(command.envs(variables.iter().copied()))
    };
    day.succeeds(&pull(&[("SSL_CERT_FILE", &ca)]));
    let nobody = [("SSL_CERT_FILE", "/dev/null"), ("SSL_CERT_DIR", "/dev/null")];
    day.fails(&pull(&nobody), 6, &["/dev/null holds no certificate"]);

    let directory = day.bench.at("config/containers/certs.d").join(day.registry.host());
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("ca.crt"), authority.pem()).unwrap();
    let config = day.bench.at("config");
    day.succeeds(&pull(&[("XDG_CONFIG_HOME", config.to_str().unwrap()), nobody[0], nobody[1]]));
}

#[test]
fn http_and_https_are_not_substituted_for_each_other() {
    let authority = Authority::new();
    let day = day("R47", &authority, Flaw::None, Plan { plain: vec![Origin::Main], ..Plan::new() });
    let ca = ca_file(&day, &authority);
    let host = day.registry.host();
    day.fails(&day.build(&["--ca-file", &ca, "--retry", "2"]), 3, &[&host]);
    assert_eq!(day.registry.log().len(), 0, "an HTTP request arrived");
    day.succeeds(&day.pull(&["--plain-http"]));
}

#[test]
fn a_protocol_mismatch_names_the_flag_of_the_other_protocol() {
    let authority = Authority::new();
    let hint = |day: &Day, source: &str, flags: &[&str], says: &str, hint: &str| {
        let output = day.run(&mut day.build_command(source, "out.ext4", flags));
        day.fails(&output, 3, &[says]);
        let text = crate::support::stderr(&output);
        let hints: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("hint: ")).collect();
        assert!(hints.len() == 1 && hints[0].contains(hint), "{flags:?}: {text}");
    };
    let secure = day("R57", &authority, Flaw::SelfSigned, Plan::new());
    hint(&secure, &secure.source(), &[], "cannot be trusted", "--ca-file FILE");
    hint(&secure, &secure.source(), &[], "cannot be trusted", "--tls-verify=false");
    hint(&secure, &secure.source(), &["--plain-http", "--retry", "1"], "is not answered in HTTP", "drop --plain-http");
    let plain = Day::new("R57", Plan::new());
    let source = plain.source().replace("127.0.0.1", "0.0.0.0");
    let flags = ["--retry", "1", "--connect-timeout", "2"];
    hint(&plain, &source, &flags, "cannot be ", "--plain-http");
    let answers = TcpListener::bind("0.0.0.0:0").unwrap();
    let source = format!("docker://0.0.0.0:{}/img", answers.local_addr().unwrap().port());
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        while let Ok((mut stream, _)) = answers.accept() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    hint(&plain, &source, &flags, "it does not use TLS", "--plain-http");
    let says =
        Fault { status: Some(400), body: Some(b"Client sent an HTTP request to an HTTPS server.".to_vec()), ..NONE };
    plain.registry.follow(Plan::new().rule(crate::support::registry::ANY, says));
    hint(&plain, &plain.source(), &[], "HTTPS server", "drop --plain-http");
}

#[test]
fn a_host_that_cannot_be_reached_is_named() {
    let day = Day::new("R47", Plan::new());
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = closed.local_addr().unwrap().to_string();
    drop(closed);
    for host in [&*refused, "nowhere.invalid", "nowhere.invalid:5000"] {
        let source = format!("docker://{host}/img:latest");
        let output = day.run(&mut day.build_command(&source, "out.ext4", &["--retry", "2", "--connect-timeout", "5"]));
        day.fails(&output, 3, &[host, "cannot be reached"]);
    }
    day.recovers(&[]);
}

#[test]
fn an_https_redirect_to_http_is_refused() {
    let authority = Authority::new();
    let to = Redirect::To("http://127.0.0.1:1/blob".into());
    let rules = Plan::new().rule(On::layer(LAYER), Fault { redirect: Some(to), ..NONE });
    let day = day("R18", &authority, Flaw::None, rules);
    let ca = ca_file(&day, &authority);
    let output = day.build(&["--ca-file", &ca]);
    day.fails(&output, 3, &[&sample().layer().digest, "was redirected to http://127.0.0.1:1"]);
    assert_eq!(day.registry.log().gets(&sample().layer().digest).len(), 1);
    day.recovers(&["--ca-file", &ca]);
}

#[test]
fn an_https_redirect_is_followed_without_credentials() {
    let authority = Authority::new();
    let rules = Plan::new()
        .auth(Auth::bearer())
        .rule(On::kind(Kind::Blob).at(Origin::Main), Fault { redirect: Some(Redirect::Cdn), ..NONE });
    let day = day("R15", &authority, Flaw::None, rules);
    let ca = ca_file(&day, &authority);
    let file = day.authfile(&day.registry.host(), "user", "hunter2");
    day.succeeds(&day.pull(&["--ca-file", &ca, "--authfile", &file]));
    let there = day.registry.log().at(Origin::Cdn);
    assert_eq!(there.blobs().len(), 4);
    assert_eq!(there.with_secrets().len(), 0, "the same host at another port is another origin");
    day.recovers(&["--ca-file", &ca]);
}

#[test]
fn a_password_is_sent_to_a_realm_by_https_only() {
    let authority = Authority::new();
    let elsewhere = Auth { realm: Host::Cdn, ..Auth::bearer() };
    let safe = day("R21", &authority, Flaw::None, Plan::new().auth(elsewhere.clone()));
    let ca = ca_file(&safe, &authority);
    let login = |day: &Day| day.authfile(&day.registry.host(), "user", "hunter2");
    safe.succeeds(&safe.pull(&["--ca-file", &ca, "--authfile", &login(&safe)]));
    assert_eq!(safe.registry.log().at(Origin::Cdn).kind(Kind::Token).0[0].scheme(), Some("Basic"));

    let realm = TcpListener::bind("127.0.0.1:0").unwrap();
    realm.set_nonblocking(true).unwrap();
    let url = format!("http://{}/token", realm.local_addr().unwrap());
    let unsafe_day = day("R21", &authority, Flaw::None, Plan::new().auth(Auth { realm: Host::At(url), ..elsewhere }));
    let ca = ca_file(&unsafe_day, &authority);
    let output = unsafe_day.build(&["--ca-file", &ca, "--authfile", &login(&unsafe_day)]);
    unsafe_day.fails(&output, 3, &["its realm is not an HTTPS URL"]);
    assert!(realm.accept().is_err(), "the realm was asked");
    unsafe_day.recovers(&["--ca-file", &ca]);
}
