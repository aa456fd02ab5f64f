//! What the sections check their values with: each names the key and what it must be.

use super::ConfigError;
use std::{fmt::Display, ops::RangeInclusive};

/// Minutes or seconds beyond which a duration is surely a mistake.
const LONGEST: f64 = 1e6;

/// Refuses the key's value for `reason` unless `ok`.
pub(crate) fn require(ok: bool, key: &'static str, reason: &str) -> Result<(), ConfigError> {
    if ok { Ok(()) } else { Err(ConfigError::Value { key, reason: reason.into() }) }
}

/// A number from a range.
pub(crate) fn within<T: PartialOrd + Display>(
    key: &'static str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), ConfigError> {
    require(range.contains(&value), key, &format!("must be from {} to {}", range.start(), range.end()))
}

/// At least 1.
pub(crate) fn at_least_one(key: &'static str, value: u64) -> Result<(), ConfigError> {
    require(value >= 1, key, "must be at least 1")
}

/// A share of a whole.
pub(crate) fn share(key: &'static str, value: f64) -> Result<(), ConfigError> {
    require((0.0..=1.0).contains(&value), key, "must be a share from 0 to 1")
}

/// A finite number above 0.
pub(crate) fn positive(key: &'static str, value: f64) -> Result<(), ConfigError> {
    require(value.is_finite() && value > 0.0, key, "must be above 0")
}

/// A finite number of 0 or more.
pub(crate) fn not_negative(key: &'static str, value: f64) -> Result<(), ConfigError> {
    require(value.is_finite() && value >= 0.0, key, "must be 0 or more")
}

/// Minutes or seconds.
pub(crate) fn duration(key: &'static str, value: f64) -> Result<(), ConfigError> {
    positive(key, value)?;
    require(value <= LONGEST, key, "must be at most 1000000")
}
