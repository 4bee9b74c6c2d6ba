//! An interval in a path.

use crate::error::ApiError;

/// Whole minutes. Some SDKs print them as a float: `15`, `1e+06`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Minutes(i32);

impl Minutes {
    /// For intervals that can't be negative.
    pub fn unsigned(self) -> Result<u32, ApiError> {
        u32::try_from(self.0).map_err(|_| ApiError::bad_request("the interval is negative: give 0 or more minutes"))
    }

    /// For those where negative is off.
    pub fn signed(self) -> i32 {
        self.0
    }

    /// Reads `15`, `-1`, `1e+06`.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let wrong = || ApiError::bad_request(format!("{text} is not an interval: give a whole number of minutes"));
        let number: f64 = text.parse().map_err(|_| wrong())?;
        let fits = number.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number);
        #[expect(clippy::cast_possible_truncation, reason = "checked: whole, and in range")]
        if fits { Ok(Self(number as i32)) } else { Err(wrong()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_sdks_print() {
        assert_eq!(Minutes::parse("15"), Ok(Minutes(15)));
        assert_eq!(Minutes::parse("1e+06"), Ok(Minutes(1_000_000)));
        assert_eq!(Minutes::parse("-1"), Ok(Minutes(-1)));
        assert!(Minutes(-1).unsigned().is_err());
        for wrong in ["", "x", "1.5", "NaN", "inf", "1e300"] {
            assert!(Minutes::parse(wrong).is_err(), "{wrong}");
        }
    }
}
