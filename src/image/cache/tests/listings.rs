//! Listings of layers: kept, found, bounded.

use std::io::Read;

use super::*;

fn keep(cache: &Cache, name: &[u8], body: &[u8], max: u64) -> Result<()> {
    cache.keep_listing(&digest(name), 7, max, &mut |out| out.write_all(body).map_err(Error::io("write", "a listing")))
}

#[test]
fn a_listing_is_read_as_it_was_written() {
    let bench = Bench::new();
    assert!(matches!(bench.cache.listing(&digest(b"a")).unwrap(), ListingLookup::Missing));
    assert_eq!(bench.cache.listings().unwrap(), []);
    for body in [&b"old"[..], b"", &[b'x'; 70_000]] {
        keep(&bench.cache, b"a", body, 1 << 20).unwrap();
        for read in [body.len(), body.len() / 2] {
            let ListingLookup::Found(mut listing) = bench.cache.listing(&digest(b"a")).unwrap() else { panic!() };
            assert_eq!(listing.bytes, 7);
            let mut found = vec![0; read];
            listing.read_exact(&mut found).unwrap();
            assert!(found == body[..read]);
            assert!(listing.verify().unwrap());
        }
    }
    assert_eq!(bench.cache.listings().unwrap().len(), 1);
    assert_eq!(mode(&bench.cache.directory().join("listings")), 0o700);
}

#[test]
fn a_listing_beyond_the_limit_is_not_kept() {
    let bench = Bench::new();
    let error = keep(&bench.cache, b"a", &[0; 1000], 1000).unwrap_err();
    assert_eq!(error.fault().exit_code(), 6, "{error}");
    assert_eq!(bench.cache.listings().unwrap(), []);
    assert_eq!(bench.left(), []);
}

#[test]
fn a_listing_of_another_version_is_made_again() {
    let bench = Bench::new();
    keep(&bench.cache, b"a", b"body", 1 << 20).unwrap();
    let path = bench.cache.listing_path(&digest(b"a"));
    let text = std::fs::read_to_string(&path).unwrap();
    let rest = text.split_once('\n').unwrap().1.replace("\"format\":1", "\"format\":2");
    std::fs::write(&path, format!("{}\n{rest}", digest(rest.as_bytes()))).unwrap();
    assert!(matches!(bench.cache.listing(&digest(b"a")).unwrap(), ListingLookup::Missing));
    assert_eq!(bench.cache.damaged_listings().unwrap(), [""; 0].map(PathBuf::from));
    // The name of another layer.
    let other = bench.cache.listing_path(&digest(b"b"));
    keep(&bench.cache, b"a", b"body", 1 << 20).unwrap();
    std::fs::copy(&path, &other).unwrap();
    assert!(matches!(bench.cache.listing(&digest(b"b")).unwrap(), ListingLookup::Damaged(path) if path == other));
    assert_eq!(bench.cache.damaged_listings().unwrap(), [other]);
}
