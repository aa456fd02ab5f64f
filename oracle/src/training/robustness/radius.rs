//! How far an attack may move a pixel, and in which unit that is said.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, str::FromStr};

/// A share of the range of pixels, which is 0 to 1 here whatever the files have. Written as in the literature, `8/255`, or as the share
/// itself, `0.031`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Radius(f32);

/// Below this of a 255th nothing is attacked; who writes it means another unit.
const LEAST_255TH: f64 = 0.05;

impl Radius {
    /// This share of the range.
    ///
    /// # Errors
    /// What is no share above 0, with the question whether another unit was meant.
    pub fn new(share: f32) -> Result<Self, String> {
        let in_255 = 255.0 * f64::from(share);
        if share > 1.0 && share <= 255.0 {
            return Err(format!(
                "ε = {share} is {share} times the whole range of pixels, which is 0 to 1; do you mean {share}/255? Then write \"{share}/255\""
            ));
        }
        if !share.is_finite() || share <= 0.0 || share > 1.0 {
            return Err(format!(
                "ε is a share of the range of pixels, above 0 and at most 1, such as \"8/255\", and not {share}"
            ));
        }
        if in_255 < LEAST_255TH {
            return Err(format!(
                "ε = {}/255 is less than a twentieth of a step of 8-bit pixels; do you mean {} of the whole range? Then write that",
                short(in_255),
                short(in_255)
            ));
        }
        Ok(Self(share))
    }

    /// The share.
    pub fn share(self) -> f32 {
        self.0
    }

    /// In 255ths, to three decimals.
    pub fn in_255(self) -> f64 {
        (255_000.0 * f64::from(self.0)).round() / 1000.0
    }
}

/// No more digits than count.
fn short(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

impl FromStr for Radius {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no ε: write a share of the range of pixels, \"8/255\" or 0.031");
        let (over, under) = text.split_once('/').unwrap_or((text, "1"));
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite());
        let (over, under) = (number(over).ok_or_else(wrong)?, number(under).ok_or_else(wrong)?);
        if under <= 0.0 {
            return Err(wrong());
        }
        Self::new((over / under) as f32)
    }
}

impl fmt::Display for Radius {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/255", self.in_255())
    }
}

impl Serialize for Radius {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // To the bit where it is no 255th.
        match self.to_string().parse() {
            Ok(same) if self == &same => serializer.serialize_str(&self.to_string()),
            _ => serializer.serialize_f32(self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Radius {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Radius;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("\"8/255\" or a share of the range of pixels")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Radius, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_f64<E: de::Error>(self, share: f64) -> Result<Radius, E> {
                Radius::new(share as f32).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, share: i64) -> Result<Radius, E> {
                self.visit_f64(share as f64)
            }

            fn visit_u64<E: de::Error>(self, share: u64) -> Result<Radius, E> {
                self.visit_f64(share as f64)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Reads the field of an attack that is kept as a share.
///
/// # Errors
/// As [`Radius::new`].
pub fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
    Radius::deserialize(deserializer).map(Radius::share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_writing_are_read_and_the_share_is_kept_to_the_bit() {
        for (text, share, shown) in [
            ("8/255", 8.0 / 255.0, "8/255"),
            ("0.05", 0.05, "12.75/255"),
            ("1/255", 1.0 / 255.0, "1/255"),
            ("1", 1.0, "255/255"),
        ] {
            let radius: Radius = text.parse().unwrap();
            assert_eq!((radius.share(), radius.to_string().as_str()), (share as f32, shown));
            let written = serde_json::to_string(&radius).unwrap();
            assert_eq!(serde_json::from_str::<Radius>(&written).unwrap(), radius, "{written}");
        }
        let odd = Radius::new(0.123_456_7).unwrap();
        assert_eq!(serde_json::from_str::<Radius>(&serde_json::to_string(&odd).unwrap()).unwrap(), odd);
        assert_eq!(serde_json::from_str::<Radius>("0.1").unwrap().share(), 0.1);
    }

    #[test]
    fn another_unit_is_asked_back() {
        for (json, says) in [
            ("8", "do you mean 8/255?"),
            ("8.0", "do you mean 8/255?"),
            ("\"8\"", "do you mean 8/255?"),
            ("\"0.031/255\"", "do you mean 0.031 of the whole range?"),
            ("0", "above 0"),
            ("-0.1", "above 0"),
            ("256", "at most 1"),
            ("\"8/0\"", "is no ε"),
            ("\"eight\"", "is no ε"),
            ("\"NaN\"", "is no ε"),
        ] {
            let error = serde_json::from_str::<Radius>(json).unwrap_err().to_string();
            assert!(error.contains(says), "{json}: {error}");
        }
        assert!(Radius::new(f32::NAN).is_err());
    }
}
