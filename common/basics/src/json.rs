//! JSON as it is written.

use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor},
};
use serde_json::Value;
use std::fmt;

/// The members of an object in the order in which they stand; a name that occurs twice is there twice, where a map would keep
/// one of the two.
#[derive(Debug)]
pub struct Pairs(pub Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Pairs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::Pairs;

    #[test]
    fn nothing_that_stands_twice_is_lost() {
        let Pairs(pairs) = serde_json::from_str(r#"{"b": 1, "a": [2], "b": null}"#).unwrap();
        let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((names, &pairs[2].1), (vec!["b", "a", "b"], &serde_json::Value::Null));
        assert!(serde_json::from_str::<Pairs>("[1]").unwrap_err().to_string().contains("an object"));
    }
}
