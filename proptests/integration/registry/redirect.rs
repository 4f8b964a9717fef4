//! Redirects: followed up to ten times, to HTTP or HTTPS only, and without credentials to another origin.

use crate::registry::row::{Row, row, run};
use crate::registry::sample::{LAYER, sample};
use crate::support::registry::{ANY, Auth, Fault, Kind, NONE, On, Origin, Redirect};

fn digest() -> &'static str {
    &sample().layer().digest
}

fn to(redirect: Redirect) -> Fault {
    Fault { redirect: Some(redirect), ..NONE }
}

/// All blobs come from the other origin, which receives no login, no token and no cookie.
fn leaks_nothing(row: Row) -> Row {
    let cookie = vec![("Set-Cookie", "session=s3cret; Path=/".to_owned())];
    row.rule(On::kind(Kind::Blob).at(Origin::Main), Fault { headers: cookie.clone(), ..to(Redirect::Cdn) })
        .rule(On::kind(Kind::Manifest), Fault { headers: cookie, ..NONE })
        .check(|seen| {
            let there = seen.log.at(Origin::Cdn);
            assert_eq!(there.blobs().len(), 4);
            assert_eq!(there.with_secrets().len(), 0);
        })
}

#[test]
fn credentials_are_not_sent_to_another_origin() {
    run([
        leaks_nothing(row("R15", "without a login")),
        leaks_nothing(row("R15", "with a token").login(Auth::bearer())).flags(&["-v"]),
        leaks_nothing(row("R15", "with a password").login(Auth::basic())).flags(&["-v"]),
        row("R15", "a failure there names no signature")
            .flags(&["-v", "--retry", "1"])
            .rule(On::kind(Kind::Blob).at(Origin::Main), to(Redirect::Cdn))
            .rule(On::kind(Kind::Blob).at(Origin::Cdn), Fault { status: Some(500), ..NONE })
            .fails(3, ["status 500"]),
        row("R15", "a token that died is renewed for the registry")
            .login(Auth { max_uses: 2, ..Auth::bearer() })
            .rule(On::kind(Kind::Blob).at(Origin::Main), to(Redirect::Cdn))
            .check(|seen| assert_eq!(seen.log.at(Origin::Cdn).with_secrets().len(), 0)),
    ]);
}

#[test]
fn redirects_are_limited() {
    let ends = |row: Row| {
        row.flags(&["--retry", "2"])
            .fails(3, [&*format!("blob {} was redirected more than 10 times", digest())])
            .gets(digest(), 1..=11)
    };
    run([
        ends(row("R16", "in a circle").rule(On::layer(LAYER), to(Redirect::Loop))),
        ends(row("R16", "to and fro").rule(On::layer(LAYER), to(Redirect::PingPong))),
        row("R16", "a manifest in a circle")
            .rule(On::kind(Kind::Manifest), to(Redirect::Loop))
            .fails(3, ["tag latest was redirected more than 10 times"]),
        row("R16", "after ten times")
            .rule(On::layer(LAYER), Fault { redirect_hops: Some(10), ..to(Redirect::PingPong) })
            .gets(digest(), 11..=11),
        row("R16", "after three, with --max-redirects 2")
            .flags(&["--max-redirects", "2"])
            .rule(On::layer(LAYER), Fault { redirect_hops: Some(3), ..to(Redirect::Relative) })
            .fails(3, ["was redirected more than 2 times"]),
    ]);
}

#[test]
fn redirects_resolve_as_in_http() {
    let refused = |target: &str| {
        row("R17", "to another scheme")
            .rule(On::layer(LAYER), to(Redirect::To(target.to_owned())))
            .fails(3, [&*format!("blob {} ", digest())])
            .gets(digest(), 1..=1)
    };
    run([
        row("R17", "by a path alone").rule(On::layer(LAYER), to(Redirect::Relative)).gets(digest(), 2..=2).builds(),
        row("R17", "with every status that may keep the method")
            .rule(On::layer(0), Fault { redirect_status: Some(301), ..to(Redirect::Relative) })
            .rule(On::layer(1), Fault { redirect_status: Some(302), ..to(Redirect::Relative) })
            .rule(On::layer(2), Fault { redirect_status: Some(308), ..to(Redirect::Relative) }),
        refused("file:///etc/passwd"),
        refused("ftp://localhost/blob"),
        refused("http://"),
        row("R17", "with a control byte, which no header has")
            .flags(&["--retry", "2"])
            .rule(On::layer(LAYER), to(Redirect::To("http://localhost/\u{1b}[31m".into())))
            .fails(3, [digest()]),
        row("R17", "nowhere")
            .rule(On { layer: Some(LAYER), ..ANY }, Fault { status: Some(307), ..NONE })
            .fails(3, [digest()]),
    ]);
}
