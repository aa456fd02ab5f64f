//! What a page is drawn from.

use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// How something stands. `docs/watching.md` says what is in the views of searches and runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct View {
    /// What does not change: `kind` (`search` or `run`), `title`, and what the kind has besides.
    pub about: Value,
    /// What is replaced as a whole: how it stands now.
    pub head: Value,
    /// What grows.
    pub rows: Rows,
}

/// Rows by column, all columns of one length; a row never changes once it is there.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rows {
    count: usize,
    columns: BTreeMap<String, Vec<Value>>,
}

impl Rows {
    /// `count` rows that have no column yet.
    pub fn new(count: usize) -> Self {
        Self { count, columns: BTreeMap::new() }
    }

    /// With a column more.
    ///
    /// # Panics
    /// Where it has another length: that is a mistake of the program.
    pub fn with<T: Into<Value>>(mut self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        let values: Vec<Value> = values.into_iter().map(Into::into).collect();
        assert_eq!(values.len(), self.count, "column {name}");
        self.columns.insert(name.into(), values);
        self
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The last of a column.
    pub fn last(&self, name: &str) -> Option<&Value> {
        self.columns.get(name)?.last()
    }

    /// Those from a place on.
    pub fn after(&self, place: usize) -> Rows {
        let place = place.min(self.count);
        let columns = self.columns.iter().map(|(name, values)| (name.clone(), values[place..].to_vec()));
        Rows { count: self.count - place, columns: columns.collect() }
    }

    /// Whether these are earlier rows and perhaps more; a column that came later has nothing in the earlier ones.
    pub fn continues(&self, earlier: &Rows) -> bool {
        self.count >= earlier.count
            && earlier.columns.keys().all(|name| self.columns.contains_key(name))
            && self.columns.iter().all(|(name, values)| match earlier.columns.get(name) {
                Some(before) => values.starts_with(before),
                None => values[..earlier.count].iter().all(Value::is_null),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: &[f64]) -> Rows {
        Rows::new(values.len()).with("a", values.iter().copied())
    }

    #[test]
    fn rows_continue_what_they_begin_with() {
        let (short, long) = (rows(&[1.0, 2.0]), rows(&[1.0, 2.0, 3.0]));
        assert!(long.continues(&short) && long.continues(&long) && !short.continues(&long));
        assert!(!rows(&[1.0, 5.0, 3.0]).continues(&short));
        assert_eq!(long.after(2), rows(&[3.0]));
        assert!(long.after(7).is_empty());
        // A metric that the third reports first.
        let late = long.clone().with("b", [Value::Null, Value::Null, Value::from(1)]);
        assert!(late.continues(&short) && !late.continues(&long) && !short.continues(&late));
    }
}
