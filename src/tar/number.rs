//! Numbers in tar streams: octal and base-256 in headers, decimal in PAX records.

use crate::error::ImageProblem;
use crate::time::Timestamp;

type Result<T> = std::result::Result<T, ImageProblem>;

fn unreadable(field: &'static str, fault: &'static str) -> ImageProblem {
    ImageProblem::Number { field, fault }
}

/// Parses a header field of at most 12 bytes that must not be negative.
pub(super) fn unsigned(bytes: &[u8], field: &'static str) -> Result<u64> {
    match signed(bytes, field)? {
        negative if negative < 0 => Err(unreadable(field, "is negative")),
        number => u64::try_from(number).map_err(|_| unreadable(field, "is too large")),
    }
}

/// Parses a header field of at most 12 bytes: 95 bits, so nothing can overflow.
///
/// Spaces and NULs before an octal number are skipped, a NUL ends it, as in Go. An empty field is 0.
pub(super) fn signed(bytes: &[u8], field: &'static str) -> Result<i128> {
    debug_assert!(bytes.len() <= 12);
    match bytes.split_first() {
        Some((&first, rest)) if first & 0x80 != 0 => {
            // The first byte contributes seven bits, of which the highest is the sign.
            let start = i128::from(first & 0x7f) - if first & 0x40 == 0 { 0 } else { 0x80 };
            Ok(rest.iter().fold(start, |number, &byte| (number << 8) | i128::from(byte)))
        }
        _ => octal(bytes, field),
    }
}

fn octal(bytes: &[u8], field: &'static str) -> Result<i128> {
    let start = bytes.iter().position(|b| !matches!(b, 0 | b' ')).unwrap_or(bytes.len());
    let digits = until_nul(&bytes[start..]);
    let digits = digits.iter().rposition(|&b| b != b' ').map_or(&[][..], |last| &digits[..=last]);
    let mut number = 0_u64;
    for &digit in digits {
        if !matches!(digit, b'0'..=b'7') {
            return Err(unreadable(field, "is not a number"));
        }
        number = number << 3 | u64::from(digit - b'0');
    }
    Ok(number.into())
}

/// Returns the bytes before the first NUL.
pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.iter().position(|&b| b == 0).map_or(bytes, |end| &bytes[..end])
}

/// Parses a PAX value or a line of a sparse map: digits only.
pub(super) fn decimal(bytes: &[u8], field: &'static str) -> Result<u64> {
    if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_digit) {
        return Err(unreadable(field, "is not a number"));
    }
    bytes
        .iter()
        .try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add((digit - b'0').into()))
        .ok_or_else(|| unreadable(field, "is too large"))
}

/// Parses a PAX time: a decimal number with any number of digits, rounded down to the nanosecond.
pub(super) fn time(bytes: &[u8], field: &'static str) -> Result<Timestamp> {
    let (negative, digits) = match bytes.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, bytes),
    };
    let point = digits.iter().position(|&b| b == b'.').unwrap_or(digits.len());
    let (whole, fraction) = (&digits[..point], digits.get(point + 1..).unwrap_or_default());
    if whole.len() + fraction.len() == 0 || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return Err(unreadable(field, "is not a number"));
    }
    let seconds =
        whole.iter().fold(0_i64, |number, digit| number.saturating_mul(10).saturating_add((digit - b'0').into()));
    let nanos = (0..9).fold(0, |number, i| number * 10 + u32::from(fraction.get(i).unwrap_or(&b'0') - b'0'));
    if !negative {
        return Ok(Timestamp { seconds, nanos });
    }
    let cut = fraction.get(9..).unwrap_or_default().iter().any(|&digit| digit != b'0');
    Ok(match nanos + u32::from(cut) {
        0 => Timestamp { seconds: -seconds, nanos: 0 },
        below => Timestamp { seconds: (-seconds).saturating_sub(1), nanos: 1_000_000_000 - below },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_numbers_are_octal_or_base_256() {
        let table: &[(&[u8], i128)] = &[
            (b"0000644\0", 0o644),
            (b"   644 \0", 0o644),
            (b"644\0junk", 0o644),
            (b"\0 644   ", 0o644),
            (b"777777777777", 0o777_777_777_777),
            (b"", 0),
            (b"\0\0\0\0\0\0\0\0", 0),
            (b"        ", 0),
            (b"\x80\0\0\0\0\0\0\x07", 7),
            (b"\x80\0\0\0\xff\xff\xff\xff", 0xffff_ffff),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
            (b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", 0xffff_ffff_ffff_ffff),
            (b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", (1 << 94) - 1),
            (b"\xc0\0\0\0\0\0\0\0\0\0\0\0", -(1 << 94)),
        ];
        for (bytes, expected) in table {
            assert_eq!(signed(bytes, "size").unwrap(), *expected, "{bytes:?}");
        }
    }

    #[test]
    fn invalid_header_numbers_are_refused() {
        let text = |result: Result<u64>| result.unwrap_err().to_string();
        for junk in [&b"-0000644"[..], b"0x1", b"64 4", b"888", b"+1", b"\x7f"] {
            assert_eq!(text(unsigned(junk, "mode")), "has an unreadable mode: it is not a number", "{junk:?}");
        }
        assert_eq!(text(unsigned(&[0xff; 8], "uid")), "has an unreadable uid: it is negative");
        assert_eq!(text(unsigned(b"\x80\0\0\x01\0\0\0\0\0\0\0\0", "size")), "has an unreadable size: it is too large");
    }

    #[test]
    fn pax_numbers_are_digits_only() {
        assert_eq!(decimal(b"18446744073709551615", "size").unwrap(), u64::MAX);
        assert_eq!(decimal(b"007", "size").unwrap(), 7);
        for bad in [&b""[..], b"-1", b"+1", b" 1", b"1 ", b"0x1", b"1e3", b"18446744073709551616"] {
            assert!(decimal(bad, "size").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn pax_times_are_rounded_down_to_the_nanosecond() {
        let table: &[(&str, i64, u32)] = &[
            ("0", 0, 0),
            ("1.5", 1, 500_000_000),
            ("+1.", 1, 0),
            (".25", 0, 250_000_000),
            ("1.0000000019", 1, 1),
            ("-1", -1, 0),
            ("-5.5", -6, 500_000_000),
            ("-0.0000000001", -1, 999_999_999),
            ("-0.000", 0, 0),
            ("-1.9999999999", -2, 0),
            ("99999999999999999999.5", i64::MAX, 500_000_000),
            ("-99999999999999999999.5", i64::MIN, 500_000_000),
        ];
        for &(text, seconds, nanos) in table {
            assert_eq!(time(text.as_bytes(), "mtime").unwrap(), Timestamp { seconds, nanos }, "{text}");
        }
        for bad in ["", "-", ".", "-.", "NaN", "inf", "1e5", "1.2.3", "--1", " 1", "1_0", "0x1"] {
            assert!(time(bad.as_bytes(), "mtime").is_err(), "{bad}");
        }
    }
}
