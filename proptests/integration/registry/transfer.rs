//! Transfers that break off, stall, are slow, or have another framing.

use std::time::Duration;

use crate::registry::row::{Row, row, run};
use crate::registry::sample::{LAYER, sample};
use crate::support::registry::{Ending, Fault, Kind, NONE, On, Origin};

const TWO_TRIES: &[&str] = &["--retry", "2"];

fn digest() -> &'static str {
    &sample().layer().digest
}

fn size() -> u64 {
    sample().layer().size
}

fn always() -> On {
    On::layer(LAYER)
}

fn once() -> On {
    On::layer(LAYER).first()
}

/// Expects exit code 3 and a line that names the layer and the fault.
fn breaks_off(row: Row) -> Row {
    row.fails(3, [&*format!("blob {} broke off after ", digest()), &*format!(" of {} bytes", size())])
}

#[test]
fn broken_transfers_are_retried_a_limited_number_of_times() {
    run([
        row("R01", "RST at byte N, once")
            .rule(once(), Fault { reset_after: Some(100_000), ..NONE })
            .gets(digest(), 2..=2),
        row("R01", "RST at byte N, once, and a filesystem")
            .builds()
            .rule(once(), Fault { reset_after: Some(1), ..NONE }),
        breaks_off(row("R02", "RST at byte N, always"))
            .rule(always(), Fault { reset_after: Some(100_000), no_accept_ranges: true, ignore_range: true, ..NONE })
            .gets(digest(), 2..=5),
        row("R03", "FIN short of the length, once")
            .rule(once(), Fault { close_after: Some(100_000), ..NONE })
            .gets(digest(), 2..=2),
        breaks_off(row("R03", "FIN short of the length, always"))
            .flags(TWO_TRIES)
            .rule(always(), Fault { close_after: Some(0), ..NONE })
            .gets(digest(), 2..=2),
        row("R12", "FIN instead of an answer").rule(once(), Fault { drop_before: true, ..NONE }).gets(digest(), 2..=2),
        row("R12", "RST instead of an answer").rule(once(), Fault { reset_before: true, ..NONE }).gets(digest(), 2..=2),
        row("R12", "FIN instead of a manifest")
            .rule(On::kind(Kind::Manifest).first(), Fault { drop_before: true, ..NONE }),
    ]);
}

#[test]
fn stalled_and_slow_transfers_are_abandoned() {
    let stall = |seconds| Fault { stall_at: Some((100_000, Duration::from_secs(seconds))), ..NONE };
    run([
        row("R13", "a stall that ends").flags(&["--idle-timeout", "10"]).rule(once(), stall(2)).gets(digest(), 1..=1),
        row("R13", "a stall for ever, once")
            .flags(&["--idle-timeout", "2"])
            .rule(once(), stall(60))
            .gets(digest(), 2..=2)
            .within(Duration::from_secs(20)),
        row("R13", "a stall for ever, always")
            .flags(&["--idle-timeout", "2", "--retry", "2"])
            .rule(always(), stall(60))
            .fails(3, [digest(), "stalled: no byte for 1 s"])
            .within(Duration::from_secs(20)),
        row("R13", "no answer, ever")
            .flags(&["--connect-timeout", "2", "--idle-timeout", "2", "--retry", "2"])
            .rule(On::kind(Kind::Manifest), Fault { stall_before: Some(Duration::from_secs(60)), ..NONE })
            .fails(3, ["stalled: no byte for 1 s"])
            .within(Duration::from_secs(20)),
        row("R14", "a byte at a time")
            .flags(&["--min-rate-window", "1", "--retry", "1"])
            .rule(always(), Fault { drip: Some((1, Duration::from_millis(50))), ..NONE })
            .fails(3, [digest(), "came too slowly: "])
            .within(Duration::from_secs(20)),
    ]);
}

#[test]
fn every_http_framing_is_accepted() {
    run([
        row("R24", "no length").rule(On::kind(Kind::Blob), Fault { drop_content_length: true, ..NONE }),
        row("R24", "no length of a manifest")
            .rule(On::kind(Kind::Manifest), Fault { drop_content_length: true, ..NONE }),
        row("R24", "chunks").builds().rule(On::kind(Kind::Blob), Fault { chunked: true, ..NONE }),
        row("R24", "a manifest in chunks").rule(On::kind(Kind::Manifest), Fault { chunked: true, ..NONE }),
        row("R25", "no length, and cut")
            .flags(TWO_TRIES)
            .rule(always(), Fault { drop_content_length: true, close_after: Some(100_000), ..NONE })
            .fails(3, [digest()]),
        row("R25", "chunks, and cut")
            .flags(TWO_TRIES)
            .rule(always(), Fault { chunked_truncated: Some(100_000), ..NONE })
            .fails(3, [digest()]),
        row("R25", "chunks, and cut, once").rule(once(), Fault { chunked_truncated: Some(100_000), ..NONE }),
        row("R23", "a registry that knows no HEAD")
            .rule(On { method: Some("HEAD"), ..crate::support::registry::ANY }, Fault { status: Some(405), ..NONE })
            .check(|seen| assert_eq!(seen.log.only(|record| record.method == "HEAD").len(), 0)),
        row("R34", "a blob with Content-Encoding")
            .flags(TWO_TRIES)
            .rule(always(), Fault { gzip: true, ..NONE })
            .fails(3, [digest()])
            .check(|seen| {
                let requests = seen.log.kind(Kind::Layer).0;
                assert!(requests.iter().all(|record| record.accept_encoding.as_deref() == Some("identity")));
            }),
    ]);
}

#[test]
fn partial_blobs_are_continued_with_the_right_bytes() {
    let cut = Fault { reset_after: Some(100_000), ..NONE };
    run([
        row("R26", "a range that is ignored")
            .rule(once(), cut.clone())
            .rule(always(), Fault { ignore_range: true, ..NONE })
            .builds()
            .gets(digest(), 2..=3),
        row("R27", "206 with shifted bytes")
            .rule(once(), cut.clone())
            .rule(always().ranged(true), Fault { bad_range: 7, ..NONE })
            .builds()
            .gets(digest(), 2..=4),
        row("R27", "a range that is refused")
            .rule(once(), cut.clone())
            .rule(always().ranged(true), Fault { status: Some(416), ..NONE })
            .gets(digest(), 2..=4),
        row("R01", "a range that goes on where it broke off").rule(once(), cut).check(|seen| {
            let gets = seen.log.gets(digest()).0;
            if let Some(range) = &gets[1].range {
                let first: u64 = range["bytes=".len()..].split('-').next().unwrap().parse().unwrap();
                assert!(first <= gets[0].sent && gets[1].sent == size() - first, "{range}, sent {}", gets[1].sent);
            }
        }),
    ]);
}

#[test]
fn wrong_lengths_are_refused_after_one_retry() {
    let promised = format!("blob {} has {} bytes by its descriptor, the registry sent ", digest(), size());
    run([
        row("R04", "a shorter body of consistent length")
            .rule(always(), Fault { short_body: Some(1000), ..NONE })
            .fails(3, [&*format!("{promised}1000")])
            .gets(digest(), 2..=2),
        row("R04", "a shorter body, once").rule(once(), Fault { short_body: Some(1000), ..NONE }).gets(digest(), 2..=2),
        row("R05", "200 with no byte")
            .rule(always(), Fault { empty: true, ..NONE })
            .fails(3, [&*format!("{promised}0")])
            .gets(digest(), 1..=2)
            .check(|seen| assert!(!seen.day.blob(digest()).exists())),
        row("R06", "a longer body")
            .rule(always(), Fault { extra_bytes: 64 << 20, ..NONE })
            .fails(3, [&*format!("{promised}more")])
            .check(|seen| {
                // Bytes in the kernel's buffers may be unread.
                let sent = seen.log.gets(digest()).0.iter().map(|record| record.sent).max().unwrap();
                assert!(sent < size() + (16 << 20), "{sent} bytes were taken");
            }),
        row("R06", "a longer body in chunks")
            .rule(always(), Fault { extra_bytes: 64 << 20, chunked: true, ..NONE })
            .fails(3, [&*format!("{promised}more")])
            .check(|seen| assert!(seen.log.gets(digest()).0.iter().all(|record| record.ending == Ending::Left))),
        row("R07", "bytes behind the body")
            .flags(&["--jobs", "1"])
            .rule(On::kind(Kind::Blob), Fault { extra_unannounced: 1000, ..NONE })
            .check(|seen| {
                let blobs = seen.log.blobs().at(Origin::Main).0;
                let connections: std::collections::BTreeSet<usize> = blobs.iter().map(|r| r.connection).collect();
                assert_eq!(connections.len(), blobs.len(), "a connection with bytes left in it was used again");
            }),
    ]);
}
