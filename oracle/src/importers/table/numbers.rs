//! Numbers as people write them into tables.

use super::descriptor::Decimal;
use crate::importers::csv::{Column, CsvError};
use srnas_task::beyond_search;

/// What stands for no measurement.
const MISSING: &[&str] = &["", "nan", "na", "n/a", "null", "none", "-", "?"];

/// How numbers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Notation {
    /// Between a number's whole part and the rest.
    pub decimal: Decimal,
    /// Between each three digits of the whole part, if anything is.
    pub thousands: Option<char>,
}

/// What people put between thousands.
const SEPARATORS: &[char] = &[',', '.', ' ', '\u{a0}', '\u{202f}', '\'', '’', '_'];

/// The numbers of a column; NaN where there is none. `unit` is that of the metric; a percent sign is read where that is `%`,
/// then in all cells or in none. Unless `mixed`, percentages of which some look like fractions are refused.
///
/// # Errors
/// The first cell that is no finite number, one that a search cannot hold, or does not fit the others.
pub(super) fn read(
    column: &Column<'_>,
    rows: usize,
    notation: Notation,
    unit: &str,
    mixed: bool,
) -> Result<Vec<f64>, CsvError> {
    let mut values = Vec::with_capacity(rows);
    let mut signs: Option<bool> = None;
    for row in 0..rows {
        let text = column.text(row);
        if MISSING.contains(&text.to_ascii_lowercase().as_str()) {
            values.push(f64::NAN);
            continue;
        }
        let bare = text.strip_suffix('%').map(str::trim_end).filter(|_| unit == "%");
        match signs {
            Some(sign) if sign != bare.is_some() => {
                let reason = format!("`{text}`: some cells have a percent sign and some have none");
                return Err(column.error(row, reason));
            }
            _ => signs = Some(bare.is_some()),
        }
        let number = parse(bare.unwrap_or(text), notation).map_err(|reason| column.error(row, reason))?;
        values.push(number);
    }
    if unit == "%"
        && !mixed
        && let Some(row) = stray_fraction(&values)
    {
        let reason = format!(
            "`{}` looks like a fraction among percentages; if it is one percentage among the others, say so with \
             `mixed = true` in the metric's entry",
            column.text(row)
        );
        return Err(column.error(row, reason));
    }
    Ok(values)
}

pub(super) fn parse(text: &str, notation: Notation) -> Result<f64, String> {
    let ungrouped = match notation.thousands {
        Some(sign) => {
            ungrouped(text, sign, notation.decimal).ok_or_else(|| format!("`{text}` is not a number"))?
        }
        None => text.to_string(),
    };
    let (mark, other) = match notation.decimal {
        Decimal::Point => ('.', ','),
        Decimal::Comma => (',', '.'),
    };
    let plain = ungrouped.replace(mark, ".");
    if ungrouped.contains(other) || plain.parse::<f64>().is_err() {
        return Err(no_number(text, notation));
    }
    match plain.parse::<f64>() {
        // Digits that make infinity are a number that is too large.
        Ok(number) if number.is_infinite() && !text.contains(|c: char| c.is_ascii_digit()) => {
            Err(format!("`{text}` is not finite"))
        }
        Ok(number) => match beyond_search(number) {
            None => Ok(number),
            Some(reason) => Err(format!("`{text}` {reason}: give the metric in another unit")),
        },
        Err(_) => Err(format!("`{text}` is not a number")),
    }
}

/// A number without the signs between its thousands; none where they do not stand between each three digits.
fn ungrouped(text: &str, sign: char, decimal: Decimal) -> Option<String> {
    let mark = if decimal == Decimal::Comma { ',' } else { '.' };
    let end = text.find([mark, 'e', 'E']).filter(|_| mark != sign).unwrap_or(text.len());
    let (whole, rest) = text.split_at(end);
    let digits = whole.strip_prefix(['-', '+']).unwrap_or(whole);
    if !digits.contains(sign) {
        return Some(text.to_string());
    }
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let mut groups = digits.split(sign);
    let first = groups.next().is_some_and(|part| part.len() <= 3 && all_digits(part));
    (first && groups.all(|part| part.len() == 3 && all_digits(part)))
        .then(|| whole.chars().filter(|c| *c != sign).collect::<String>() + rest)
}

/// Why a text is no number, and as what it would be one.
fn no_number(text: &str, notation: Notation) -> String {
    let reads = |decimal, thousands| {
        let one = Notation { decimal, thousands };
        one != notation && text.contains(|c: char| c.is_ascii_digit()) && {
            let ungrouped = thousands.map_or(Some(text.to_string()), |sign| ungrouped(text, sign, decimal));
            let (mark, other) = if decimal == Decimal::Comma { (',', '.') } else { ('.', ',') };
            ungrouped.is_some_and(|t| !t.contains(other) && t.replace(mark, ".").parse::<f64>().is_ok())
        }
    };
    let mut ways = Vec::new();
    for (decimal, mark) in [(Decimal::Point, '.'), (Decimal::Comma, ',')] {
        let changed = (decimal != notation.decimal).then(|| format!("`decimal = \"{mark}\"`"));
        if changed.is_some() && reads(decimal, None) {
            ways.extend(changed.clone());
        }
        for &sign in SEPARATORS.iter().filter(|sign| **sign != mark && text.contains(**sign)) {
            if reads(decimal, Some(sign)) && !(notation.thousands.is_none() && reads(decimal, None)) {
                let both = changed.iter().map(String::as_str).chain([""]).collect::<Vec<_>>().join(" and ");
                ways.push(format!("{both}`thousands = \"{sign}\"`"));
            }
        }
    }
    match &ways[..] {
        [] => format!("`{text}` is not a number"),
        ways => format!(
            "`{text}` is not a number as the descriptor has it; it is one with {}",
            ways.join(", or with ")
        ),
    }
}

/// The first value that looks like a fraction among percentages: its hundredfold is about an ordinary value of the column
/// (from a fifth below the lowest twentieth of those above 1 to a fifth above the highest), and it has no company: nothing
/// lies between 1 and its tenfold, as there would for a true percentage as low as that.
fn stray_fraction(values: &[f64]) -> Option<usize> {
    let mut others: Vec<f64> = values.iter().copied().filter(|v| *v > 1.0).collect();
    others.sort_by(f64::total_cmp);
    let lowest = *others.first()?;
    let quantile = |share: f64| others[((others.len() - 1) as f64 * share) as usize];
    let ordinary = 0.8 * quantile(0.05)..=1.2 * quantile(0.95);
    values.iter().position(|&v| v > 0.0 && v <= 1.0 && ordinary.contains(&(100.0 * v)) && 10.0 * v < lowest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::importers::csv::CsvTable;
    use std::fs;

    fn column(cells: &[&str], decimal: Decimal, unit: &str) -> Result<Vec<f64>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        let quoted: Vec<String> = cells.iter().map(|c| format!("\"{c}\"")).collect();
        fs::write(&path, format!("a\n{}\n", quoted.join("\n"))).unwrap();
        let table = CsvTable::read(&path).unwrap();
        let column = table.column("a").unwrap();
        read(&column, cells.len(), Notation { decimal, thousands: None }, unit, false)
            .map_err(|e| e.to_string())
    }

    #[test]
    fn missing_cells_signs_and_commas_are_read() {
        let read = column(&["1.5", "NA", "-", "", "1e3", "nan"], Decimal::Point, "s").unwrap();
        assert_eq!(
            read.iter().map(|v| v.is_nan()).collect::<Vec<_>>(),
            [false, true, true, true, false, true]
        );
        assert_eq!((read[0], read[4]), (1.5, 1000.0));
        assert_eq!(column(&["93,5 %", "94%"], Decimal::Comma, "%").unwrap(), [93.5, 94.0]);
        let exact = ["39974282", "0.1234567890123", "-1e30", "1e-30", "0", "0e-99"];
        let read = column(&exact, Decimal::Point, "").unwrap();
        assert_eq!(read, [39_974_282.0, 0.123_456_789_012_3, -1e30, 1e-30, 0.0, 0.0], "none is rounded");
    }

    #[test]
    fn what_does_not_fit_is_refused_where_it_stands() {
        for (cells, decimal, unit, expected) in [
            (
                &["1.5", "1,5"][..],
                Decimal::Point,
                "",
                "t.csv:3: column 1, `a`: `1,5` is not a number as the descriptor has it; it is one with `decimal = \",\"`",
            ),
            (&["1,5", "1.5"], Decimal::Comma, "", "it is one with `decimal = \".\"`"),
            (&["1.5", "inf"], Decimal::Point, "", "is not finite"),
            (&["1.5", "-Infinity"], Decimal::Point, "", "`-Infinity` is not finite"),
            (
                &["1.5", "1e39"],
                Decimal::Point,
                "",
                "t.csv:3: column 1, `a`: `1e39` is more than a search can",
            ),
            (&["1.5", "-1e400"], Decimal::Point, "", "`-1e400` is more than a search can hold (1e30)"),
            (&["1.5", "3e38"], Decimal::Point, "", "give the metric in another unit"),
            (&["1.5", "1e-50"], Decimal::Point, "", "`1e-50` is nearer to 0 than a search can hold (1e-30)"),
            (&["-1e-39"], Decimal::Point, "", "t.csv:2: column 1, `a`: `-1e-39` is nearer to 0"),
            (&["1.5", "low"], Decimal::Point, "", "`low` is not a number"),
            (&["1.5", "2%"], Decimal::Point, "", "`2%` is not a number"),
            (&["94.5", "93.1%"], Decimal::Point, "%", "some cells have a percent sign"),
            (
                &["94.5", "93.1", "0.92", "91"],
                Decimal::Point,
                "%",
                "t.csv:4: column 1, `a`: `0.92` looks like a fraction",
            ),
        ] {
            let said = column(cells, decimal, unit).unwrap_err();
            assert!(said.contains(expected), "{cells:?}: {said}");
        }
        // A very bad architecture has a very small percentage, and so have tables of fractions.
        assert!(column(&["94.5", "93.1", "0.05", "91"], Decimal::Point, "%").is_ok());
        assert!(column(&["60", "20", "3", "0.4", "1.2", "35"], Decimal::Point, "%").is_ok());
        assert!(column(&["0.945", "0.931", "1", "0"], Decimal::Point, "%").is_ok());
    }

    #[test]
    fn signs_between_thousands_are_read_where_the_descriptor_says_so_and_named_where_not() {
        let read = |text: &str, decimal, thousands| parse(text, Notation { decimal, thousands });
        for (text, decimal, sign, number) in [
            ("1,234,567", Decimal::Point, ',', 1_234_567.0),
            ("-1,234.5e2", Decimal::Point, ',', -123_450.0),
            ("999.25", Decimal::Point, ',', 999.25),
            ("1.234,5", Decimal::Comma, '.', 1234.5),
            ("12 345,5", Decimal::Comma, ' ', 12_345.5),
            ("1'000", Decimal::Point, '\'', 1000.0),
        ] {
            assert_eq!(read(text, decimal, Some(sign)), Ok(number), "{text}");
        }
        for text in ["1,23", "12,3456", ",123", "1,,234", "1234,567", "1.234,567"] {
            assert!(read(text, Decimal::Point, Some(',')).is_err(), "{text}");
        }
        let said = |text: &str| read(text, Decimal::Point, None).unwrap_err();
        assert!(said("1,234,567").ends_with("it is one with `thousands = \",\"`"), "{}", said("1,234,567"));
        // Two readings.
        let both = said("1,234");
        assert!(both.contains("`thousands = \",\"`") && both.contains("`decimal = \",\"`"), "{both}");
        assert!(
            said("1.234.567,5").ends_with("`decimal = \",\"` and `thousands = \".\"`"),
            "{}",
            said("1.234.567,5")
        );
        assert!(said("1 234").contains("`thousands = \" \"`"), "{}", said("1 234"));
        assert_eq!(said("low"), "`low` is not a number");
    }
}
