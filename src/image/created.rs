//! The creation time in a config, as RFC 3339 text.

use crate::time::Timestamp;

/// Parses a time; `None` if it is not an RFC 3339 time, or is in the year 1, which is Go's zero time.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let (date, rest) = (bytes.get(..19)?, &bytes[19..]);
    for (index, allowed) in [(4, "-"), (7, "-"), (10, "Tt"), (13, ":"), (16, ":")] {
        if !allowed.as_bytes().contains(&date[index]) {
            return None;
        }
    }
    let year = number(&date[..4], 2..=9999)?;
    let month = number(&date[5..7], 1..=12)?;
    let day = number(&date[8..10], 1..=days_in(year, month))?;
    let hour = number(&date[11..13], 0..=23)?;
    let minute = number(&date[14..16], 0..=59)?;
    // A leap second counts as the first second of the next minute, as in the kernel's clock.
    let second = number(&date[17..19], 0..=60)?;
    let (nanos, zone) = fraction(rest)?;
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(Timestamp { seconds: seconds - offset(zone)?, nanos })
}

/// Returns true if the text is Go's zero time.
pub(super) fn is_unset(text: &str) -> bool {
    text.is_empty() || text.starts_with("0001-01-01T00:00:00")
}

fn number(digits: &[u8], allowed: std::ops::RangeInclusive<i64>) -> Option<i64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
    allowed.contains(&number).then_some(number)
}

/// Parses the digits after a point, truncated to nanoseconds; returns the text after them.
fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let Some(digits) = text.strip_prefix(b".") else { return Some((0, text)) };
    let count = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let digit = |i: usize| if i < count { u32::from(digits[i] - b'0') } else { 0 };
    Some(((0..9).fold(0, |nanos, i| nanos * 10 + digit(i)), &digits[count..]))
}

/// Returns the number of seconds by which a zone is ahead of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    match zone {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let seconds = number(&[*h1, *h2], 0..=23)? * 3600 + number(&[*m1, *m2], 0..=59)? * 60;
            Some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

fn leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let years = before * 365 + before / 4 - before / 100 + before / 400;
    let months: i64 = (1..month).map(|month| days_in(year, month)).sum();
    years + months + day - 719_163
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_equal_those_of_date_1() {
        // `date -u -d TEXT +%s` of GNU coreutils.
        let table = [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("2023-05-09T01:02:03.123456789Z", 1_683_594_123, 123_456_789),
            ("2024-02-29T23:59:59.5+02:00", 1_709_243_999, 500_000_000),
            ("2000-02-29t00:00:00-11:30", 951_823_800, 0),
            ("1969-12-31T23:59:59.25z", -1, 250_000_000),
            ("1600-03-01T00:00:00Z", -11_670_912_000, 0),
            ("9999-12-31T23:59:59Z", 253_402_300_799, 0),
            ("2016-12-31T23:59:60Z", 1_483_228_800, 0),
            ("2023-05-09T01:02:03.1234567891234Z", 1_683_594_123, 123_456_789),
        ];
        for (text, seconds, nanos) in table {
            assert_eq!(parse(text), Some(Timestamp { seconds, nanos }), "{text}");
        }
    }

    #[test]
    fn other_texts_are_not_times() {
        for text in [
            "",
            "0001-01-01T00:00:00Z",
            "2023-05-09",
            "2023-05-09 01:02:03Z",
            "2023-05-09T01:02:03",
            "2023-05-09T01:02:03.Z",
            "2023-05-09T01:02:03+0200",
            "2023-05-09T01:02:03Zx",
            "2023-13-09T01:02:03Z",
            "2023-02-29T01:02:03Z",
            "2023-05-00T01:02:03Z",
            "2023-05-09T24:02:03Z",
            "2023-05-09T01:02:61Z",
            "+023-05-09T01:02:03Z",
            "2023-05-09T01:02:0\u{e9}",
            "١٩٧٠-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
