//! Statuses: those that cause a wait, a retry or a failure.

use std::time::Duration;

use crate::registry::row::{Row, row, run};
use crate::registry::sample::{LAYER, sample};
use crate::support::registry::{Fault, Kind, NONE, On, Record};

fn digest() -> &'static str {
    &sample().layer().digest
}

fn status(status: u16) -> Fault {
    Fault { status: Some(status), ..NONE }
}

fn limited(retry_after: &'static str) -> Fault {
    Fault { retry_after: Some(retry_after), ..status(429) }
}

/// The second request came two seconds after the first, or later.
fn waits(row: Row, filter: impl Fn(&Record) -> bool + Send + 'static) -> Row {
    row.check(move |seen| {
        let times: Vec<Duration> = seen.log.only(&filter).0.iter().map(|record| record.at).collect();
        assert!(times.len() == 2 && times[1] - times[0] >= Duration::from_millis(1990), "{times:?}");
    })
}

#[test]
fn retry_after_is_obeyed_up_to_a_limit() {
    let late = [digest(), "rate limited", "86400 s"];
    run([
        waits(row("R09", "429 for a blob").rule(On::layer(LAYER).first(), limited("2")), |record| {
            record.reference.as_deref() == Some(digest())
        }),
        waits(row("R09", "429 for a manifest").rule(On::kind(Kind::Manifest).first(), limited("2")), |record| {
            record.reference.as_deref() == Some("latest")
        }),
        row("R10", "429 for a day")
            .rule(On::layer(LAYER), limited("86400"))
            .fails(3, late)
            .within(Duration::from_secs(60)),
        row("R10", "429 until nobody knows when").rule(On::layer(LAYER).first(), limited("soon")),
        row("R10", "429 until a past date").rule(On::layer(LAYER).first(), limited("Sun, 06 Nov 1994 08:49:37 GMT")),
        row("R10", "429 for a negative time").rule(On::layer(LAYER).first(), limited("-5")),
        row("R10", "429 for more seconds than there are")
            .rule(On::layer(LAYER), limited("99999999999999999999"))
            .fails(3, [digest()])
            .within(Duration::from_secs(60)),
    ]);
}

#[test]
fn transient_statuses_are_retried_and_others_are_final() {
    let always = || On::layer(LAYER);
    run([
        row("R11", "503 once").rule(always().first(), status(503)).gets(digest(), 2..=2),
        row("R11", "503 twice for each blob")
            .rule(On::kind(Kind::Blob).attempts(1..=2), status(503))
            .gets(digest(), 3..=3),
        row("R11", "503 twice for the manifest").rule(On::kind(Kind::Manifest).attempts(1..=2), status(503)),
        row("R11", "500 always")
            .rule(always(), status(500))
            .fails(3, [&*format!("blob {} ", digest()), "status 500", &*format!("/v2/img/blobs/{}", digest())])
            .gets(digest(), 1..=5),
        row("R35", "404 for a blob")
            .rule(always(), status(404))
            .fails(3, [&*format!("blob {} does not exist there", digest())])
            .gets(digest(), 1..=1),
        row("R35", "404 for a tag").reference(":none").fails(3, ["tag none does not exist there"]),
        row("R35", "410 for a blob").rule(always(), status(410)).fails(3, [digest()]).gets(digest(), 1..=1),
    ]);
}

#[test]
fn registry_messages_are_cut_and_escaped() {
    let bad_request = |body: Vec<u8>| Fault { body: Some(body), ..status(400) };
    let hostile =
        "{\"errors\":[{\"code\":\"X\",\"message\":\"\\u001b[31mred\\u0007\\u009b2J\\u202eevil\\nerror: no\"}]}";
    let brief = |row: Row| {
        row.check(|seen| {
            assert!(seen.output.stderr.len() < 4096, "{} bytes of stderr", seen.output.stderr.len());
            assert!(seen.log.sent() < 16 << 20);
        })
    };
    run([
        brief(row("R36", "escapes in the error document"))
            .rule(On::layer(LAYER), bad_request(hostile.into()))
            .fails(3, [digest(), "status 400"]),
        brief(row("R36", "escapes in an error that is no JSON"))
            .rule(On::layer(LAYER), bad_request(b"\x1b]0;title\x07\xff\xfe\r\n\x9b".to_vec()))
            .fails(3, [digest(), "status 400"]),
        brief(row("R36", "an error of 1 MiB"))
            .rule(On::layer(LAYER), bad_request(vec![b'E'; 1 << 20]))
            .fails(3, [digest(), "status 400"]),
        brief(row("R36", "escapes in the error about a manifest"))
            .rule(On::kind(Kind::Manifest), bad_request(hostile.into()))
            .fails(3, ["status 400"]),
    ]);
}
