//! Records in JSON: a line each, a list, or the ways in which pandas writes a data frame (`to_json` with each `orient`); and the table
//! that TensorBoard's page exports.

use super::{StudyError, literal, sheet::Sheet};
use crate::importers::{
    csv::{Column, CsvTable},
    table::Source,
};
use serde_json::{Map, Value};
use std::path::Path;

/// Whether a value is a table with the names of its columns apart from its rows, as TensorBoard's page writes it.
pub(super) fn is_header_and_rows(value: &Value) -> bool {
    value.get("header").is_some_and(Value::is_array) && value.get("rows").is_some_and(Value::is_array)
}

/// Reads a value as records.
///
/// # Errors
/// Says what it is instead.
pub(super) fn read(path: &Path, value: Value) -> Result<Source, StudyError> {
    let malformed = |reason: String| StudyError::Malformed { path: path.into(), reason };
    let records = records(value).map_err(malformed)?;
    let mut sheet = Sheet::default();
    for record in &records {
        sheet.begin();
        sheet.spread("", record);
    }
    Ok(Source::of(sheet.table(path)?))
}

/// Reads text with a record on each line.
///
/// # Errors
/// The first line that is none.
pub(super) fn lines(path: &Path, text: &str) -> Result<Source, StudyError> {
    let (mut sheet, mut infinite) = (Sheet::default(), 0);
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |reason: String| StudyError::Malformed {
            path: path.into(),
            reason: format!("line {}: {reason}", number + 1),
        };
        let (value, here) =
            literal::read(line).map_err(|e| wrong(e.trim_start_matches("line 1: ").into()))?;
        let Value::Object(record) = value else {
            return Err(wrong("it is no record: `{…}` with names and values".into()));
        };
        infinite += here;
        sheet.begin();
        sheet.spread("", &record);
    }
    Ok(Source { notes: infinite_values(infinite), ..Source::of(sheet.table(path)?) })
}

/// What is said of numbers that are infinite.
pub(super) fn infinite_values(infinite: usize) -> Vec<String> {
    match infinite {
        0 => Vec::new(),
        n => vec![format!("infinite values ({n}): they are missing")],
    }
}

/// Spreads what Python printed as dictionaries over columns of their entries.
///
/// # Errors
/// Says which cell is none, where the others of its column are.
pub(super) fn spread(table: CsvTable) -> Result<CsvTable, StudyError> {
    let dictionary = |text: &str| text.starts_with('{') && text.ends_with('}');
    let columns = table.header().map(|name| table.column(name)).collect::<Result<Vec<_>, _>>()?;
    let of_dictionaries: Vec<bool> = columns
        .iter()
        .map(|column| {
            let mut texts =
                (0..table.rows()).map(|row| column.text(row)).filter(|text| !text.is_empty()).peekable();
            texts.peek().is_some() && texts.all(dictionary)
        })
        .collect();
    if !of_dictionaries.contains(&true) {
        return Ok(table);
    }
    let mut sheet = Sheet::default();
    for row in 0..table.rows() {
        sheet.begin();
        for (column, spread) in columns.iter().zip(&of_dictionaries) {
            match column.text(row) {
                text if !*spread => sheet.put(column.name(), text),
                "" => {}
                text => match literal::read(text) {
                    Ok((value, _)) => sheet.put_value(column.name(), &value),
                    Err(reason) => {
                        let reason = reason.trim_start_matches("line 1: ");
                        return Err(column.error(row, format!("it is no dictionary: {reason}")).into());
                    }
                },
            }
        }
    }
    Ok(sheet.table(table.path())?)
}

/// Empties cells of infinite numbers in columns of numbers, and says how many those were.
///
/// # Errors
/// None of a table that was read.
pub(super) fn finite(table: CsvTable) -> Result<(CsvTable, usize), StudyError> {
    let infinite = |text: &str| {
        let bare = text.trim_start_matches(['-', '+']).to_ascii_lowercase();
        matches!(bare.as_str(), "inf" | "infinity")
    };
    let columns = table.header().map(|name| table.column(name)).collect::<Result<Vec<_>, _>>()?;
    let rows = 0..table.rows();
    let of_numbers = |column: &Column<'_>| {
        rows.clone().all(|row| column.text(row).is_empty() || column.text(row).parse::<f64>().is_ok())
    };
    let there = |column: &Column<'_>| rows.clone().any(|row| infinite(column.text(row)));
    let odd: Vec<bool> = columns.iter().map(|column| there(column) && of_numbers(column)).collect();
    if !odd.contains(&true) {
        return Ok((table, 0));
    }
    let (mut sheet, mut emptied) = (Sheet::default(), 0);
    for row in rows.clone() {
        sheet.begin();
        for (column, odd) in columns.iter().zip(&odd) {
            let text = column.text(row);
            let gone = *odd && infinite(text);
            emptied += usize::from(gone);
            sheet.put(column.name(), if gone { "" } else { text });
        }
    }
    Ok((sheet.table(table.path())?, emptied))
}

type Record = Map<String, Value>;

/// The records of a value, in whatever way it has them.
fn records(value: Value) -> Result<Vec<Record>, String> {
    let of_list = |rows: Vec<Value>| -> Result<Vec<Record>, String> {
        let record = |(i, value)| match value {
            Value::Object(record) => Ok(record),
            _ => Err(format!("entry {} is no record: `{{…}}` with names and values", i + 1)),
        };
        rows.into_iter().enumerate().map(record).collect()
    };
    let mut of = match value {
        Value::Array(rows) => return of_list(rows),
        Value::Object(of) => of,
        other => return Err(format!("`{other}` is neither a list of records nor a table")),
    };
    // `split`, and TensorBoard's page.
    for (header, rows) in [("columns", "data"), ("header", "rows")] {
        if let (Some(Value::Array(names)), Some(Value::Array(_))) = (of.get(header).cloned(), of.get(rows)) {
            let rows = of.remove(rows).and_then(|rows| rows.as_array().cloned()).unwrap_or_default();
            return rows.into_iter().enumerate().map(|(i, row)| row_of(&names, row, i)).collect();
        }
    }
    // `table`.
    if of.get("schema").is_some()
        && let Some(Value::Array(rows)) = of.remove("data")
    {
        return of_list(rows);
    }
    let objects = of.values().filter(|value| value.is_object()).count();
    match of.len() {
        0 => Ok(Vec::new()),
        // `columns`, where each column has the same rows; else `index`, where each row is a record.
        all if all == objects && by_columns(&of) => Ok(turned(of)),
        all if all == objects => of_list(of.into_iter().map(|(_, record)| record).collect()),
        _ if of.values().any(Value::is_array) => {
            let lists: Vec<&str> =
                of.iter().filter(|(_, v)| v.is_array()).map(|(name, _)| name.as_str()).collect();
            Err(format!(
                "it is one object, with lists in {}: write the list of records alone (`[{{…}}, {{…}}]`), or one record on each line",
                lists.join(", ")
            ))
        }
        // One record.
        _ => Ok(vec![of]),
    }
}

fn row_of(names: &[Value], row: Value, i: usize) -> Result<Record, String> {
    let Value::Array(cells) = row else { return Err(format!("row {} is no list", i + 1)) };
    if cells.len() != names.len() {
        return Err(format!(
            "row {} has {} values, and there are {} columns",
            i + 1,
            cells.len(),
            names.len()
        ));
    }
    let name = |name: &Value| name.as_str().map_or_else(|| name.to_string(), String::from);
    Ok(names.iter().map(name).zip(cells).collect())
}

/// Whether entries are columns: pandas numbers rows, and writes the same ones in each.
fn by_columns(of: &Record) -> bool {
    let mut columns = of.values().filter_map(Value::as_object);
    let Some(first) = columns.next() else { return false };
    let numbered = !of.keys().all(|name| name.parse::<u64>().is_ok());
    numbered
        && columns.all(|column| column.keys().eq(first.keys()))
        && first.keys().all(|row| row.parse::<u64>().is_ok())
}

fn turned(of: Record) -> Vec<Record> {
    let mut rows: Vec<(u64, Record)> = Vec::new();
    for (column, cells) in of {
        let Value::Object(cells) = cells else { continue };
        for (i, (row, cell)) in cells.into_iter().enumerate() {
            if rows.len() <= i {
                rows.push((row.parse().unwrap_or(u64::MAX), Record::new()));
            }
            rows[i].1.insert(column.clone(), cell);
        }
    }
    rows.sort_by_key(|(row, _)| *row);
    rows.into_iter().map(|(_, record)| record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_way_in_which_pandas_writes_a_frame_is_the_same_table() {
        let wanted = records(json!([{"op": "a", "acc": 1}, {"op": "b", "acc": 2}])).unwrap();
        for frame in [
            json!({"op": {"0": "a", "1": "b"}, "acc": {"0": 1, "1": 2}}),
            json!({"0": {"op": "a", "acc": 1}, "1": {"op": "b", "acc": 2}}),
            json!({"run-a": {"op": "a", "acc": 1}, "run-b": {"op": "b", "acc": 2}}),
            json!({"columns": ["op", "acc"], "index": [0, 1], "data": [["a", 1], ["b", 2]]}),
            json!({"schema": {"fields": []}, "data": [{"op": "a", "acc": 1}, {"op": "b", "acc": 2}]}),
            json!({"header": ["op", "acc"], "rows": [["a", 1], ["b", 2]]}),
        ] {
            assert_eq!(records(frame.clone()).unwrap(), wanted, "{frame}");
        }
        for (other, says) in [
            (json!([1]), "entry 1 is no record"),
            (json!(3), "neither a list of records nor a table"),
            (json!({"columns": ["a"], "data": [[1, 2]]}), "row 1 has 2 values, and there are 1 columns"),
            (json!({"name": "x", "trials": [{}]}), "with lists in trials"),
        ] {
            let said = records(other).unwrap_err();
            assert!(said.contains(says), "{said}");
        }
    }
}
