//! What is in a column, and what it may be.

use super::{
    super::numbers::{self, Notation},
    meaning::{self, Meaning},
    written::{self, Written},
};
use crate::importers::csv::CsvTable;
use std::collections::BTreeSet;

/// A column of numbers with more different values than this is no decision, unless its name says so.
const FEW: usize = 12;
/// A decision has no more choices than this.
pub(super) const MOST_CHOICES: usize = 255;

/// The cells of a column.
pub(super) struct Contents<'t> {
    pub name: &'t str,
    pub texts: Vec<&'t str>,
    pub distinct: BTreeSet<&'t str>,
    /// Its numbers, NaN where there is none, if it has numbers alone; else the first cell that is none.
    pub values: Result<Vec<f64>, String>,
    /// Whether numbers have percent signs.
    pub signs: bool,
}

/// What a column may be.
pub(super) enum Role {
    /// A decision, and what is doubtful about it.
    Decision(Option<&'static str>),
    /// A metric.
    Metric,
    /// The whole architecture.
    Written(Written),
    /// Neither, and why.
    Neither(String),
}

impl<'t> Contents<'t> {
    pub fn of(table: &'t CsvTable, name: &'t str, notation: Notation) -> Option<Self> {
        let column = table.column(name).ok()?;
        let texts: Vec<&str> = (0..table.rows()).map(|row| column.text(row)).collect();
        let distinct = texts.iter().copied().filter(|text| !text.is_empty()).collect();
        let signs = texts.iter().any(|text| text.ends_with('%'));
        let read = numbers::read(&column, table.rows(), notation, if signs { "%" } else { "" }, true);
        let values = read.map_err(|e| e.to_string()).and_then(|values| {
            let some = values.iter().any(|v| !v.is_nan());
            some.then_some(values).ok_or_else(|| "no number".into())
        });
        Some(Self { name, texts, distinct, values, signs })
    }

    /// Lowest and highest number.
    pub fn range(&self) -> (f64, f64) {
        let values = self.values.iter().flatten();
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)))
    }

    /// What its name says of it as a metric.
    pub fn meaning(&self, name: &str) -> Option<Meaning> {
        let (lowest, highest) = self.range();
        meaning::meaning(name, lowest, highest, self.signs)
    }

    fn are(&self, what: fn(&str) -> bool) -> bool {
        !self.distinct.is_empty() && self.distinct.iter().all(|text| what(text))
    }

    /// Why it tells of a run and not of what was trained, whatever it is logged as: `name` is what it is called.
    pub fn of_the_run(&self, name: &str) -> Option<&'static str> {
        let times = |values: &Vec<f64>| values.iter().all(|v| v.is_nan() || is_timestamp(v));
        match () {
            () if self.are(is_date) => Some("dates"),
            () if self.values.as_ref().is_ok_and(times) => Some("times since 1970, it seems"),
            () => bookkeeping(name),
        }
    }

    /// What it may be, by its name and by what is in it.
    pub fn role(&self) -> Role {
        let neither = |why: &str| Role::Neither(why.into());
        let (rows, kinds) = (self.texts.len(), self.distinct.len());
        if kinds == 0 {
            return neither("empty");
        }
        if kinds == 1 {
            return neither("the same everywhere, or missing");
        }
        if self.are(is_date) {
            return neither("dates");
        }
        if self.are(is_duration) {
            return neither("durations in words; as plain numbers of one unit they would be a metric");
        }
        let hyper = meaning::is_hyper(self.name);
        let arch = meaning::words(self.name).iter().any(|word| {
            matches!(
                word.as_str(),
                "arch" | "architecture" | "genotype" | "cell" | "encoding" | "model" | "net"
            )
        });
        if !arch && let Some(why) = bookkeeping(self.name) {
            return neither(why);
        }
        match &self.values {
            Ok(values) => self.role_of_numbers(values, hyper, arch),
            Err(why) => {
                let numbers = self.texts.iter().filter(|text| text.parse::<f64>().is_ok()).count();
                let metric = !hyper && self.meaning(self.name).is_some();
                if 2 * numbers > rows && (metric || kinds > FEW) {
                    return Role::Neither(format!("not all numbers: {why}"));
                }
                // In a small table every architecture may be there once.
                let whole = written::skeleton(&self.distinct);
                match whole {
                    Some(whole) if arch || kinds == rows || kinds > FEW => Role::Written(whole),
                    _ if self.are(is_dictionary) => {
                        neither("a dictionary or a list: write one column for each of its entries")
                    }
                    _ if hyper && kinds <= MOST_CHOICES => Role::Decision(None),
                    _ if kinds <= FEW || (kinds <= MOST_CHOICES && rows >= 2 * kinds) => {
                        Role::Decision(Some("a decision, or a note?"))
                    }
                    _ => Role::Neither(format!("words, {kinds} different ones")),
                }
            }
        }
    }

    fn role_of_numbers(&self, values: &[f64], hyper: bool, arch: bool) -> Role {
        let (rows, kinds) = (self.texts.len(), self.distinct.len());
        let meant = self.meaning(self.name);
        // Digits in a row, all of one length, are an architecture and no number.
        if (arch || (kinds > FEW && meant.is_none()))
            && let Some(whole) = written::digits(&self.distinct)
        {
            return Role::Written(whole);
        }
        let counts = |from: usize| values.iter().enumerate().all(|(row, v)| *v == (row + from) as f64);
        if rows > 2 && !hyper && (counts(0) || counts(1)) {
            return Role::Neither("the numbers of the rows".into());
        }
        if values.iter().all(is_timestamp)
            && kinds > FEW
            && meant.as_ref().is_none_or(|m| m.unit.is_empty() && !m.way_sure)
        {
            return Role::Neither("times since 1970, it seems".into());
        }
        let whole = values.iter().all(|v| v.is_nan() || v.fract() == 0.0);
        match meant {
            Some(_) if !hyper => Role::Metric,
            Some(meant) if meant.way_sure => Role::Metric,
            _ if hyper && kinds <= MOST_CHOICES => match whole {
                true if kinds <= FEW => Role::Decision(None),
                true => Role::Decision(Some("a decision, or something measured?")),
                false => Role::Decision(Some(
                    "a decision? As one, it has the values that are in the table and no others",
                )),
            },
            _ if kinds > FEW => Role::Metric,
            // What was decided repeats.
            _ if whole && rows >= 2 * kinds => Role::Decision(Some("a decision, or something measured?")),
            _ if rows >= 3 * kinds => Role::Decision(Some("a decision, or something measured?")),
            _ => Role::Metric,
        }
    }
}

/// Why a column of this name tells of the table, not of architectures.
fn bookkeeping(name: &str) -> Option<&'static str> {
    let words = meaning::words(name);
    let is_place = |word: Option<&String>| {
        word.is_some_and(|word| matches!(word.as_str(), "dir" | "directory" | "path" | "folder" | "logdir"))
    };
    if is_place(words.last()) || (words.len() > 1 && is_place(words.first())) {
        return Some("where something is");
    }
    Some(match meaning::words(name).join("_").as_str() {
        "index" | "idx" | "id" | "uid" | "uuid" | "number" | "no" | "nr" | "unnamed_0" | "row" | "line"
        | "trial" | "trial_id" | "trial_number" | "run" | "run_id" | "experiment" | "experiment_id"
        | "exp_id" | "hash" | "arch_hash" | "" => "the number or the name of a row",
        "name" | "run_name" | "experiment_name" | "trial_name" | "label" | "title" => {
            "the number or the name of a row"
        }
        "seed" | "random_seed" | "rng_seed" | "random_state" | "repeat" | "repetition" | "replicate" => {
            "seeds; rows of one architecture are then measurements with other seeds"
        }
        "state" | "status" | "exit_code" | "done" | "finished" | "failed" => {
            "the state of a run; `only` can say which rows count"
        }
        "host" | "hostname" | "machine" | "worker" | "worker_id" | "pid" | "user" | "username" | "author"
        | "gpu_type" | "node_ip" => "where or by whom it was measured",
        "dataset" | "data_set" | "data" | "task" | "task_id" | "benchmark" | "device" | "hardware" => {
            "what it was measured on; `only` can say which rows count"
        }
        "tag" | "tags" | "note" | "notes" | "comment" | "comments" | "description" | "remark" | "remarks" => {
            "notes"
        }
        "created" | "updated" | "started" | "date" | "datetime" | "timestamp" | "start_time" | "end_time"
        | "created_at" | "updated_at" | "started_at" | "finished_at" => "a date",
        "path" | "checkpoint" | "ckpt" | "url" | "file" | "filename" | "log" | "logdir" | "log_dir"
        | "commit" | "version" | "source" | "git_hash" | "artifact_uri" => "where something is",
        "rank" | "ranking" => "a rank",
        // As `srnas export` and a search's report call them.
        "measurement" => "the number or the name of a row",
        "infeasible" => "why there is no value",
        "elsewhere" => "whether it was measured elsewhere",
        _ => return None,
    })
}

/// Whether a number may be a time in seconds or milliseconds since 1970.
fn is_timestamp(value: &f64) -> bool {
    (1e9..3e9).contains(value) || (1e12..3e12).contains(value)
}

fn is_dictionary(text: &str) -> bool {
    [('{', '}'), ('[', ']'), ('(', ')')]
        .iter()
        .any(|(open, close)| text.starts_with(*open) && text.ends_with(*close))
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// Whether a text is a date, with or without a time.
fn is_date(text: &str) -> bool {
    let text = text.trim();
    let digits = |part: &str| !part.is_empty() && part.len() <= 4 && part.bytes().all(|b| b.is_ascii_digit());
    let day_month =
        |part: &str| digits(part) && part.len() <= 2 && part.parse().is_ok_and(|n: u8| (1..=31).contains(&n));
    let day = text.split([' ', 'T', ',']).next().unwrap_or(text);
    for sign in ['-', '/', '.'] {
        let parts: Vec<&str> = day.split(sign).collect();
        if let [a, b, c] = parts[..] {
            let year = |part: &str| {
                digits(part) && part.len() == 4 && (part.starts_with("19") || part.starts_with("20"))
            };
            return day_month(b) && ((year(a) && day_month(c)) || (day_month(a) && year(c)));
        }
    }
    let words: Vec<String> =
        text.split(|c: char| !c.is_alphanumeric()).map(str::to_ascii_lowercase).collect();
    let month =
        words.iter().any(|word| word.len() >= 3 && MONTHS.iter().any(|month| word.starts_with(month)));
    month
        && words.iter().any(|word| digits(word) && word.len() == 4)
        && words.iter().any(|word| day_month(word))
}

/// Whether a text is a duration that is no plain number: `0 days 00:00:12.5`, `1:02:03`, `2.3min`.
fn is_duration(text: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let clock = text.rsplit(' ').next().unwrap_or(text);
    let parts: Vec<&str> = clock.split(':').collect();
    if (2..=3).contains(&parts.len()) && parts.iter().all(|part| number(part)) {
        let before = text.strip_suffix(clock).unwrap_or("").trim_end_matches([' ', ',', '+']);
        return before.is_empty() || before.ends_with("day") || before.ends_with("days");
    }
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    unit.len() < text.len()
        && matches!(
            unit.trim(),
            "s" | "sec" | "ms" | "min" | "m" | "h" | "d" | "days" | "hours" | "minutes" | "seconds"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_durations_are_told_from_architectures() {
        for text in [
            "2024-01-02",
            "2024-01-02 10:11:12.5",
            "2024-01-02T10:11:12Z",
            "02.01.2024",
            "1/2/2024",
            "2024/1/2 3:04",
            "Jan 2, 2024",
            "Mon, 02 Jan 2024 10:11:12 GMT",
        ] {
            assert!(is_date(text), "{text}");
        }
        for text in
            ["3x3", "1.2.3", "2024", "0-1-2", "conv-3-16", "1-2-64", "may_conv", "2024-13-64-2", "99/99/2024"]
        {
            assert!(!is_date(text), "{text}");
        }
        for text in ["0 days 00:00:12.5", "1 day, 2:03:04", "00:12", "2.3min", "12 s", "1:02:03"] {
            assert!(is_duration(text), "{text}");
        }
        for text in ["12", "s", "conv:3:1", "1:2:3:4", "3x3", "a 1:2"] {
            assert!(!is_duration(text), "{text}");
        }
    }
}
