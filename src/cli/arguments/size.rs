//! Sizes on the command line: bytes, or with a suffix of powers of 1,024.

use planish::plan::{FreeInodes, Headroom};

/// Reads `4096`, `64K`, `512M`, `2G`, `1T`, and `64KiB` as `64K`; `kB` is none: it means 1,000 to some.
pub fn bytes(typed: &str) -> Result<u64, String> {
    let whole = typed.strip_suffix("iB").filter(|text| text.ends_with(|c: char| c.is_ascii_alphabetic()));
    let text = whole.unwrap_or(typed);
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 30),
        Some(b't' | b'T') => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("not a number of bytes with an optional K, M, G or T".into());
    }
    let number: u64 = digits.parse().map_err(|_| "too large".to_owned())?;
    number.checked_mul(1 << shift).filter(|n| *n < 1 << 54).ok_or_else(|| "too large".into())
}

/// Parses a size, or a percentage of what the tree needs.
pub fn headroom(text: &str) -> Result<Headroom, String> {
    match text.strip_suffix('%') {
        None => bytes(text).map(Headroom::Bytes),
        Some(number) => percent(number).map(Headroom::Percent),
    }
}

/// Parses a number of inodes, or a percentage of those in use.
pub fn free_inodes(text: &str) -> Result<FreeInodes, String> {
    match text.strip_suffix('%') {
        Some(number) => percent(number).map(FreeInodes::Percent),
        None if !is_number(text) => Err("not a number or a percentage".into()),
        None => text.parse().map(|count: u32| FreeInodes::Count(count.into())).map_err(|_| "too large".into()),
    }
}

fn percent(number: &str) -> Result<u64, String> {
    if !is_number(number) {
        return Err("not a percentage".into());
    }
    number.parse().ok().filter(|n| *n <= 10_000).ok_or_else(|| "over 10000%".into())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, want) in [
            ("0", 0),
            ("4096", 4096),
            ("64K", 65_536),
            ("1m", 1 << 20),
            ("2G", 2 << 30),
            ("1T", 1 << 40),
            ("64KiB", 65_536),
            ("3MiB", 3 << 20),
            ("2GiB", 2 << 30),
        ] {
            assert_eq!(bytes(text), Ok(want), "{text}");
        }
        for bad in [
            "",
            "K",
            "-1",
            "1.5G",
            "1GB",
            "0x10",
            "99999999999999999999",
            "99999999999T",
            "1 G",
            "1iB",
            "KiB",
            "1kB",
            "1MB",
            "1KiBiB",
        ] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn headroom_is_bytes_or_a_percentage() {
        assert_eq!(headroom("20%"), Ok(Headroom::Percent(20)));
        assert_eq!(headroom("1M"), Ok(Headroom::Bytes(1 << 20)));
        for bad in ["%", "-1%", "1.5%", "10001%"] {
            assert!(headroom(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn free_inodes_are_a_number_or_a_percentage() {
        assert_eq!(free_inodes("0"), Ok(FreeInodes::Count(0)));
        assert_eq!(free_inodes("4294967295"), Ok(FreeInodes::Count(4_294_967_295)));
        assert_eq!(free_inodes("150%"), Ok(FreeInodes::Percent(150)));
        for bad in ["", "%", "-1", "1K", "+1", "4294967296", "1.5%", "10001%"] {
            assert!(free_inodes(bad).is_err(), "{bad}");
        }
    }
}
