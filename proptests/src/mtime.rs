//! Modification times, exact to the nanosecond.

use std::fmt;
use std::str::FromStr;

const NANOS: i128 = 1_000_000_000;

/// A modification time: seconds since 1970, rounded down, and nanoseconds after them.
///
/// Its text is a decimal fraction as in PAX, without trailing zeros: -0.5 s is -1 s and 500,000,000 ns, written `-0.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mtime {
    /// The whole seconds, of any size: times beyond ext4's range are cases, too.
    pub seconds: i64,
    /// The nanoseconds, 0 to 999,999,999.
    pub nanos: u32,
}

/// A text that is not a time: digits with at most nine more after a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time is [-]SECONDS[.FRACTION] with at most nine digits of fraction")]
pub struct MtimeSyntax;

impl fmt::Display for Mtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = i128::from(self.seconds) * NANOS + i128::from(self.nanos);
        let sign = if total < 0 { "-" } else { "" };
        let (seconds, nanos) = (total.abs() / NANOS, total.abs() % NANOS);
        write!(f, "{sign}{seconds}")?;
        if nanos == 0 { Ok(()) } else { write!(f, ".{}", format!("{nanos:09}").trim_end_matches('0')) }
    }
}

impl FromStr for Mtime {
    type Err = MtimeSyntax;

    fn from_str(text: &str) -> Result<Self, MtimeSyntax> {
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
        let (seconds, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let numeric = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !numeric(seconds) || !numeric(fraction) || fraction.len() > 9 {
            return Err(MtimeSyntax);
        }
        let nanos: i128 = format!("{fraction:0<9}").parse().map_err(|_| MtimeSyntax)?;
        let seconds: i64 = seconds.parse().map_err(|_| MtimeSyntax)?;
        let total = sign * (i128::from(seconds) * NANOS + nanos);
        let seconds = i64::try_from(total.div_euclid(NANOS)).map_err(|_| MtimeSyntax)?;
        let nanos = u32::try_from(total.rem_euclid(NANOS)).map_err(|_| MtimeSyntax)?;
        Ok(Self { seconds, nanos })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_decimal_fractions_of_either_sign() {
        for (seconds, nanos, text) in [
            (0, 0, "0"),
            (1000, 0, "1000"),
            (1, 500_000_000, "1.5"),
            (0, 1, "0.000000001"),
            (-1, 0, "-1"),
            (-1, 500_000_000, "-0.5"),
            (-3, 750_000_000, "-2.25"),
            (i64::MIN + 1, 0, "-9223372036854775807"),
        ] {
            let mtime = Mtime { seconds, nanos };
            assert_eq!(mtime.to_string(), text);
            assert_eq!(text.parse(), Ok(mtime), "{text}");
        }
        assert_eq!("1000.000000000".parse(), Ok(Mtime { seconds: 1000, nanos: 0 }));
    }

    #[test]
    fn other_texts_are_not_mtimes() {
        for text in ["", "-", ".5", "1.", "+1", "1e3", "1.0000000001", "--1", "99999999999999999999"] {
            assert_eq!(text.parse::<Mtime>(), Err(MtimeSyntax), "{text}");
        }
    }
}
