//! Decoding: the checks of size, digest and diff ID, and the errors when one fails.

use crate::image::LayerData;
use std::io::Write;

use super::*;
use crate::progress::NoProgress;
use crate::read_at::FileSlice;

const TAR: &[u8] = &[0; 1024];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8], window_log: u32) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(window_log).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Returns a layer whose descriptor and diff ID are those of `blob` and `tar`, but whose stored bytes are `kept`.
fn layer(kept: &[u8], blob: &[u8], tar: &[u8]) -> LayerBlob {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(kept).unwrap();
    let digest = Digest::of(Algorithm::Sha256, blob);
    LayerBlob {
        place: LayerPlace { number: 1, count: 1, digest: digest.clone(), injection: None },
        media_type: None,
        digest: Some(digest),
        size: Some(blob.len() as u64),
        diff_id: Digest::of(Algorithm::Sha256, tar),
        data: LayerData::Local(FileSlice::whole(file).unwrap()),
    }
}

fn decoded(blob: &LayerBlob, limits: Limits) -> Result<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let work = WorkDir::create(directory.path(), &Cancel::default()).unwrap();
    let LayerData::Local(data) = &blob.data else { panic!("the layer is here") };
    let (layer, _) = decode(blob, data, &work, &Budget::new(limits), &NoProgress, &Cancel::default())?;
    assert_eq!(work.path().read_dir().unwrap().count(), 1, "the spool has a name beside the marker");
    Ok(layer.tar.to_vec())
}

fn refusal(blob: &LayerBlob) -> String {
    let text = decoded(blob, Limits::default()).unwrap_err().to_string();
    text.split_once("…) ").expect("the message names the layer").1.to_owned()
}

#[test]
fn every_compression_gives_the_stream() {
    for blob in [TAR.to_vec(), gzip(TAR), zstd(TAR, 10)] {
        assert_eq!(decoded(&layer(&blob, &blob, TAR), Limits::default()).unwrap(), TAR);
    }
    assert_eq!(decoded(&layer(b"", b"", b""), Limits::default()).unwrap(), b"");
}

#[test]
fn large_zstd_windows_wait_and_larger_ones_are_refused() {
    let tar = vec![7; 3 << 20];
    let blob = zstd(&tar, COMMON_WINDOW_LOG + 1);
    let blob = layer(&blob, &blob, &tar);
    let exact = Limits { total_bytes: tar.len() as u64, ..Limits::default() };
    assert!(decoded(&blob, exact).unwrap() == tar, "what the first try took is given back");
    for zstd_window_log in [COMMON_WINDOW_LOG, 20] {
        let error = decoded(&blob, Limits { zstd_window_log, ..Limits::default() }).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Limit { limit: Limit::ZstdWindow, .. }), "{error}");
    }
}

#[test]
fn content_with_another_digest_or_size_is_refused() {
    let (good, other) = (gzip(TAR), gzip(&[1; 1024]));
    let digest = |bytes| Digest::of(Algorithm::Sha256, bytes);
    assert_eq!(refusal(&layer(&other, &good, TAR)), format!("has digest {}", digest(&other)));
    let problem = format!("has diff ID {}, the config promises {}", digest(&[1; 1024]), digest(TAR));
    assert_eq!(refusal(&layer(&other, &other, TAR)), problem);
    let (n, less) = (good.len(), good.len() - 1);
    assert_eq!(refusal(&layer(&good[..less], &good, TAR)), format!("has {less} bytes, its descriptor promises {n}"));
    assert_eq!(refusal(&layer(b"", &good, TAR)), format!("has 0 bytes, its descriptor promises {n}"));
}

#[test]
fn damage_in_transit_is_distinguished_from_damage_at_the_source() {
    let good = gzip(TAR);
    let mut bad = good.clone();
    let last = bad.len() - 6;
    bad[last] ^= 1;
    let digest = Digest::of(Algorithm::Sha256, &bad);
    assert_eq!(refusal(&layer(&bad, &good, TAR)), format!("has digest {digest}"));
    assert!(refusal(&layer(&bad, &bad, TAR)).starts_with("is not valid gzip: "));
}

#[test]
fn a_failed_attempt_gives_back_what_it_took() {
    let (good, tar) = (gzip(&[5; 3 << 20]), vec![5; 3 << 20]);
    let mut bad = good.clone();
    let last = bad.len() - 6;
    bad[last] ^= 1;
    let budget = Budget::new(Limits { total_bytes: tar.len() as u64, ..Limits::default() }).with_jobs(2);
    let directory = tempfile::tempdir().unwrap();
    let work = WorkDir::create(directory.path(), &Cancel::default()).unwrap();
    let attempt = |kept: &[u8]| {
        let blob = layer(kept, &good, &tar);
        let LayerData::Local(data) = &blob.data else { panic!("the layer is here") };
        decode(&blob, data, &work, &budget, &NoProgress, &Cancel::default()).map(|(layer, _)| layer.tar_bytes)
    };
    for _ in 0..2 {
        assert!(attempt(&bad).unwrap_err().to_string().contains("has digest"));
    }
    assert_eq!(attempt(&good).unwrap(), tar.len() as u64);
}
