//! Rows of names and values, as they come, made into a table.

use crate::importers::csv::{CsvError, CsvTable};
use csv::StringRecord;
use serde_json::{Map, Value};
use std::{collections::HashMap, path::Path};

/// A table that grows by rows; a column is there from the first row on that has it.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    header: Vec<String>,
    places: HashMap<String, usize>,
    rows: Vec<Vec<String>>,
}

impl Sheet {
    /// Of a table that was read.
    pub fn of(table: &CsvTable) -> Result<Self, CsvError> {
        let mut sheet = Self::default();
        sheet.add(table)?;
        Ok(sheet)
    }

    /// Adds the rows of a table.
    pub fn add(&mut self, table: &CsvTable) -> Result<(), CsvError> {
        let columns = table.header().map(|name| table.column(name)).collect::<Result<Vec<_>, _>>()?;
        let places: Vec<usize> = columns.iter().map(|column| self.column(column.name())).collect();
        for row in 0..table.rows() {
            self.begin();
            for (column, place) in columns.iter().zip(&places) {
                self.set(*place, column.text(row));
            }
        }
        Ok(())
    }

    /// Begins a row.
    pub fn begin(&mut self) {
        self.rows.push(Vec::new());
    }

    /// Makes a column, if it is not there, and says which.
    pub fn column(&mut self, name: &str) -> usize {
        let name = name.trim();
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        self.header.push(name.into());
        self.places.insert(name.into(), self.header.len() - 1);
        self.header.len() - 1
    }

    /// Puts a text into the last row.
    pub fn put(&mut self, column: &str, text: &str) {
        let place = self.column(column);
        self.set(place, text);
    }

    /// Puts a value into the last row; an object is spread over columns of its entries' names.
    pub fn put_value(&mut self, column: &str, value: &Value) {
        match value {
            Value::Object(entries) if !entries.is_empty() => self.spread(&format!("{column}."), entries),
            other => self.put(column, &text(other)),
        }
    }

    /// Puts the entries of an object into the last row, in columns of their names behind a beginning.
    pub fn spread(&mut self, beginning: &str, entries: &Map<String, Value>) {
        for (name, value) in entries {
            let value = match value {
                // As older versions of Weights & Biases write it.
                Value::Object(inner) if inner.len() == 2 && inner.contains_key("desc") => {
                    inner.get("value").unwrap_or(value)
                }
                value => value,
            };
            self.put_value(&format!("{beginning}{name}"), value);
        }
    }

    fn set(&mut self, place: usize, text: &str) {
        let Some(row) = self.rows.last_mut() else { return };
        if row.len() <= place {
            row.resize(place + 1, String::new());
        }
        row[place] = text.trim().into();
    }

    /// The table.
    ///
    /// # Errors
    /// Where it has no row.
    pub fn table(self, path: &Path) -> Result<CsvTable, CsvError> {
        let wide = self.header.len();
        let record = |mut row: Vec<String>| {
            row.resize(wide, String::new());
            StringRecord::from(row)
        };
        let header = StringRecord::from(self.header);
        CsvTable::of_rows(path, header, self.rows.into_iter().map(record).collect())?.with_rows()
    }
}

/// A value as a cell has it; nothing is an empty one.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The value of a parameter as a cell has it: nothing is a choice there.
pub(super) fn parameter(value: &Value) -> String {
    if value.is_null() { "None".into() } else { text(value) }
}
