//! Points in time as ext4 stores them: whole seconds and nanoseconds.

use std::fmt;

/// Seconds since 1970 and the nanoseconds that follow them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Whole seconds, rounded down: -0.5 s is -1 s and 500,000,000 ns.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

impl Timestamp {
    /// The earliest second that an ext4 inode can hold, in 1901.
    pub const MIN_SECONDS: i64 = -(1 << 31);
    /// The latest second that an ext4 inode can hold, in 2446.
    pub const MAX_SECONDS: i64 = (1 << 34) - (1 << 31) - 1;

    /// Returns a whole second.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self { seconds, nanos: 0 }
    }

    /// Returns the nearest time that ext4 can hold, and whether it is another one.
    #[must_use]
    pub fn clamp_to_ext4(self) -> (Self, bool) {
        let clamped = self.seconds.clamp(Self::MIN_SECONDS, Self::MAX_SECONDS);
        if clamped == self.seconds { (self, false) } else { (Self::from_seconds(clamped), true) }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A decimal counts away from zero, the two numbers count upwards.
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
