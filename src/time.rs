//! Points in time as ext4 stores them: whole seconds and nanoseconds.

use std::fmt;

/// Seconds since 1970 and nanoseconds after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// The whole seconds, rounded down: -0.5 s is -1 s and 500,000,000 ns.
    pub seconds: i64,
    /// The nanoseconds, 0 to 999,999,999.
    pub nanos: u32,
}

impl Timestamp {
    /// The earliest second that an ext4 inode can hold, in 1901.
    pub const MIN_SECONDS: i64 = -(1 << 31);
    /// The latest second that an ext4 inode can hold, in 2446.
    pub const MAX_SECONDS: i64 = (1 << 34) - (1 << 31) - 1;

    /// Returns the time of a whole second.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self { seconds, nanos: 0 }
    }

    /// Returns the nearest time that ext4 can store, and true if it differs.
    #[must_use]
    pub fn clamp_to_ext4(self) -> (Self, bool) {
        let clamped = self.seconds.clamp(Self::MIN_SECONDS, Self::MAX_SECONDS);
        if clamped == self.seconds { (self, false) } else { (Self::from_seconds(clamped), true) }
    }
}

/// A point in time as a date and a time of day in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateTime {
    /// The year.
    pub year: i64,
    /// The month, 1 to 12.
    pub month: u8,
    /// The day of the month, from 1.
    pub day: u8,
    /// The hour, 0 to 23.
    pub hour: u8,
    /// The minute, 0 to 59.
    pub minute: u8,
    /// The second, 0 to 59.
    pub second: u8,
    /// The nanoseconds.
    pub nanos: u32,
}

impl From<Timestamp> for DateTime {
    fn from(time: Timestamp) -> Self {
        const DAY: i64 = 24 * 60 * 60;
        let (days, rest) = (time.seconds.div_euclid(DAY), time.seconds.rem_euclid(DAY));
        // A year begins in March here, so that the leap day is its last; an era has 400 years.
        let since_0000 = days + 719_468;
        let (era, day) = (since_0000.div_euclid(146_097), since_0000.rem_euclid(146_097));
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let small = |number: i64| u8::try_from(number).unwrap_or_default();
        let calendar_month = if month < 10 { month + 3 } else { month - 9 };
        Self {
            year: year + era * 400 + i64::from(calendar_month <= 2),
            month: small(calendar_month),
            day: small(day - (153 * month + 2) / 5 + 1),
            hour: small(rest / 3600),
            minute: small(rest / 60 % 60),
            second: small(rest % 60),
            nanos: time.nanos,
        }
    }
}

impl fmt::Display for DateTime {
    /// Writes the time as RFC 3339 does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second, nanos } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if *nanos > 0 {
            write!(f, ".{nanos:09}")?;
        }
        f.write_str("Z")
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A decimal fraction counts away from zero, nanoseconds count upwards.
        match (self.seconds, self.nanos) {
            (seconds @ ..0, nanos @ 1..) => {
                let sign = if seconds == -1 { "-" } else { "" };
                write!(f, "{sign}{}.{:09}", seconds + 1, 1_000_000_000 - nanos)
            }
            (seconds, nanos) => write!(f, "{seconds}.{nanos:09}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_decimals() {
        let shown = |seconds, nanos| Timestamp { seconds, nanos }.to_string();
        assert_eq!(shown(1, 5), "1.000000005");
        assert_eq!(shown(-1, 0), "-1.000000000");
        assert_eq!(shown(-1, 500_000_000), "-0.500000000");
        assert_eq!(shown(-2, 500_000_000), "-1.500000000");
    }

    #[test]
    fn times_are_printed_as_calendar_dates() {
        // `date -u -d @SECONDS +%Y-%m-%dT%H:%M:%SZ` of GNU coreutils.
        let table = [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (-2_147_483_648, "1901-12-13T20:45:52Z"),
            (15_032_385_535, "2446-05-10T22:38:55Z"),
        ];
        for (seconds, expected) in table {
            assert_eq!(DateTime::from(Timestamp::from_seconds(seconds)).to_string(), expected);
        }
        let time = Timestamp { seconds: -1, nanos: 5 };
        assert_eq!(DateTime::from(time).to_string(), "1969-12-31T23:59:59.000000005Z");
    }

    #[test]
    fn ext4_holds_1901_to_2446() {
        for seconds in [-(1_i64 << 31), -1, 0, 15_032_385_535] {
            assert_eq!(Timestamp { seconds, nanos: 7 }.clamp_to_ext4(), (Timestamp { seconds, nanos: 7 }, false));
        }
        let (late, clamped) = Timestamp { seconds: 15_032_385_536, nanos: 7 }.clamp_to_ext4();
        assert_eq!((late.to_string().as_str(), clamped), ("15032385535.000000000", true));
        let (early, clamped) = Timestamp::from_seconds(i64::MIN).clamp_to_ext4();
        assert_eq!((early.to_string().as_str(), clamped), ("-2147483648.000000000", true));
    }
}
