//! Ages on the command line: a number and a unit.

use std::time::Duration;

/// Parses `90s`, `30m`, `12h`, `7d`.
pub fn age(text: &str) -> Result<Duration, String> {
    let seconds = match text.as_bytes().last() {
        Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 60 * 60,
        Some(b'd') => 24 * 60 * 60,
        _ => return Err("not a number with s, m, h or d".into()),
    };
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("not a number with s, m, h or d".into());
    }
    let number: Option<u64> = digits.parse().ok();
    number.and_then(|number| number.checked_mul(seconds)).map(Duration::from_secs).ok_or_else(|| "too large".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_a_unit() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("30m", 1800), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(age(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "7", "d", "-1d", "1.5h", "1 d", "7D", "7é", "99999999999999999999d", "9999999999999999999d"] {
            assert!(age(bad).is_err(), "{bad}");
        }
    }
}
