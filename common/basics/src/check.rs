//! What settings are checked with: each check names the key and what it must be.

use std::{fmt::Display, ops::RangeInclusive};

/// Minutes or seconds beyond which a duration is surely a mistake.
const LONGEST: f64 = 1e6;

/// A value that makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("configuration key `{key}`: {reason}")]
pub struct WrongValue {
    /// The key.
    pub key: &'static str,
    /// What is wrong.
    pub reason: String,
}

/// Refuses the key's value for `reason` unless `ok`.
///
/// # Errors
/// [`WrongValue`] where it is not.
pub fn require(ok: bool, key: &'static str, reason: &str) -> Result<(), WrongValue> {
    if ok { Ok(()) } else { Err(WrongValue { key, reason: reason.into() }) }
}

/// A number from a range.
///
/// # Errors
/// [`WrongValue`] where it is not.
pub fn within<T: PartialOrd + Display>(
    key: &'static str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), WrongValue> {
    require(range.contains(&value), key, &format!("must be from {} to {}", range.start(), range.end()))
}

/// At least 1.
///
/// # Errors
/// [`WrongValue`] where it is not.
pub fn at_least_one(key: &'static str, value: u64) -> Result<(), WrongValue> {
    require(value >= 1, key, "must be at least 1")
}

/// A share of a whole.
///
/// # Errors
/// [`WrongValue`] where it is not.
pub fn share(key: &'static str, value: f64) -> Result<(), WrongValue> {
    require((0.0..=1.0).contains(&value), key, "must be a share from 0 to 1")
}

/// A finite number above 0.
///
/// # Errors
/// [`WrongValue`] where it is not.
pub fn positive(key: &'static str, value: f64) -> Result<(), WrongValue> {
    require(value.is_finite() && value > 0.0, key, "must be above 0")
}

/// A finite number of 0 or more.
///
/// # Errors
/// [`WrongValue`] where it is not.
pub fn not_negative(key: &'static str, value: f64) -> Result<(), WrongValue> {
    require(value.is_finite() && value >= 0.0, key, "must be 0 or more")
}

/// Minutes or seconds.
///
/// # Errors
/// [`WrongValue`] where it is not.
pub fn duration(key: &'static str, value: f64) -> Result<(), WrongValue> {
    positive(key, value)?;
    require(value <= LONGEST, key, "must be at most 1000000")
}
