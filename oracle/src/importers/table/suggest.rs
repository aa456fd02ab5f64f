//! A first descriptor of a table, and a first space, guessed from header and data; what is uncertain is marked.

use super::{TableError, cells, numbers};
use crate::importers::csv::CsvTable;
use std::{collections::BTreeSet, fmt::Write, path::Path};

/// A column with more distinct values than this is no decision.
const MOST_CHOICES: usize = 12;

/// What was guessed, as the text of two files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// The descriptor; it names [`Self::space_file`].
    pub descriptor: String,
    /// The space.
    pub space: String,
    /// Name of the space's file, beside the descriptor's.
    pub space_file: String,
}

/// Decisions with the words that the table has for their choices, in order.
type Decisions = Vec<(String, Vec<String>)>;

/// Guesses from a table.
///
/// # Errors
/// A table that cannot be read, or in which nothing looks like an architecture or like a metric.
pub fn suggest(file: &Path) -> Result<Suggestion, TableError> {
    let (table, delimiter) = read(file)?;
    let name = stem(file);
    let mut columns: Vec<Guess> = table.header().map(|column| Guess::of(&table, column)).collect();
    // In a small table a metric may have few values too: its name tells.
    let written = columns.iter().position(|guess| matches!(guess, Guess::Written { .. }));
    let mut architecture = String::new();
    let decisions: Decisions = match written {
        Some(at) => {
            let Guess::Written { column, pattern, decisions } = columns.swap_remove(at) else {
                unreachable!()
            };
            let _ = write!(
                architecture,
                "\n[architecture]\ncolumn = {}\npattern = {}  # check: what varies is a decision\n",
                quoted(&column),
                quoted(&pattern)
            );
            columns.retain(|guess| matches!(guess, Guess::Metric { .. }));
            decisions
        }
        None => columns
            .iter()
            .filter_map(|guess| match guess {
                Guess::Decision { column, choices } => Some((column.clone(), choices.clone())),
                _ => None,
            })
            .collect(),
    };
    let nothing =
        |what: &str| TableError::Architecture(format!("no column of {} looks like {what}", file.display()));
    if decisions.is_empty() {
        return Err(nothing("a decision: one with 2 to 12 different values"));
    }
    let metrics = seeds_together(columns);
    if metrics.is_empty() {
        return Err(nothing("a metric: numbers with more than 12 different values"));
    }
    let space_file = format!("{name}-space.toml");
    let mut descriptor = format!(
        "# Guessed by srnas from {}. Read it through; what is marked with \"check\" is uncertain.\nbenchmark = {}\nspace = {}\n\
         provenance = \"\"  # where the numbers come from\nlicence = \"\"\n",
        file.file_name().unwrap_or_default().to_string_lossy(),
        quoted(&name),
        quoted(&space_file)
    );
    if delimiter != ',' {
        let _ = writeln!(descriptor, "delimiter = {}", quoted(&delimiter.to_string()));
    }
    if table_has_commas(&table) {
        descriptor.push_str("decimal = \",\"\n");
    }
    descriptor.push_str("duplicates = \"refuse\"  # or \"seeds\"\n");
    descriptor.push_str(&architecture);
    let words: BTreeSet<&String> = decisions.iter().flat_map(|(_, choices)| choices).collect();
    let renamed: Vec<&&String> = words.iter().filter(|word| possible(word) != ***word).collect();
    if !renamed.is_empty() {
        descriptor.push_str("\n[architecture.names]\n");
        for word in renamed {
            let _ = writeln!(descriptor, "{} = {}", quoted(word), quoted(&possible(word)));
        }
    }
    for (columns, highest) in metrics {
        let (unit, direction, sure) = meaning(&columns[0], highest);
        let listed: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        let place = match &listed[..] {
            [one] => format!("column = {one}"),
            many => format!("columns = [{}]  # check: one for each seed", many.join(", ")),
        };
        let check = if sure { "" } else { "  # check" };
        let _ = write!(
            descriptor,
            "\n[[metrics]]\nname = {}\n{place}\nunit = {}\ndirection = {}{check}\ndescription = \"\"\n",
            quoted(&format!("{}/{}", plain(&name), plain(&shared_name(&columns)))),
            quoted(unit),
            quoted(direction),
        );
    }
    let mut space = format!("name = {}\n", quoted(&name));
    for (decision, choices) in decisions {
        let choices: Vec<String> = choices.iter().map(|choice| possible(choice)).collect();
        let numbers = choices.iter().all(|choice| is_plain_number(choice));
        let shown: Vec<String> =
            choices.iter().map(|c| if numbers { c.clone() } else { quoted(c) }).collect();
        let _ = write!(
            space,
            "\n[[decisions]]\nname = {}\nchoices = [{}]\n",
            quoted(&decision),
            shown.join(", ")
        );
    }
    Ok(Suggestion { descriptor, space, space_file })
}

/// What a column may be.
enum Guess {
    Decision {
        column: String,
        choices: Vec<String>,
    },
    Metric {
        column: String,
        highest: f64,
    },
    /// The whole architecture.
    Written {
        column: String,
        pattern: String,
        decisions: Decisions,
    },
    Nothing,
}

impl Guess {
    fn of(table: &CsvTable, name: &str) -> Self {
        let Ok(column) = table.column(name) else { return Self::Nothing };
        let texts: Vec<&str> = (0..table.rows()).map(|row| column.text(row)).collect();
        let distinct: BTreeSet<&str> = texts.iter().copied().filter(|text| !text.is_empty()).collect();
        let decimals = if texts.iter().any(|t| t.contains(',')) {
            super::descriptor::Decimal::Comma
        } else {
            Default::default()
        };
        let unit = if texts.iter().any(|t| t.ends_with('%')) { "%" } else { "" };
        let values = numbers::read(&column, table.rows(), decimals, unit, true);
        let named = meaning(name, 0.0).2;
        let column = name.to_string();
        match values {
            Ok(values) if distinct.len() > MOST_CHOICES || named => {
                // Digits in a row, all of one length, are an architecture and no number.
                if !named && let Some((pattern, decisions)) = digits(&distinct) {
                    return Self::Written { column, pattern, decisions };
                }
                let whole =
                    values.iter().enumerate().all(|(row, v)| *v == row as f64 || *v == row as f64 + 1.0);
                if whole {
                    return Self::Nothing;
                }
                Self::Metric { column, highest: values.into_iter().fold(f64::MIN, f64::max) }
            }
            // In a small table every architecture may be there once.
            _ if distinct.len() == table.rows()
                && let Some((pattern, decisions)) = skeleton(&distinct) =>
            {
                Self::Written { column, pattern, decisions }
            }
            _ if (2..=MOST_CHOICES).contains(&distinct.len()) => {
                let mut choices: Vec<String> = distinct.into_iter().map(str::to_string).collect();
                if choices.iter().all(|choice| is_plain_number(choice)) {
                    choices.sort_by(|a, b| number(a).total_cmp(&number(b)));
                }
                Self::Decision { column, choices }
            }
            _ => match skeleton(&distinct) {
                Some((pattern, decisions)) => Self::Written { column, pattern, decisions },
                None => Self::Nothing,
            },
        }
    }
}

fn is_plain_number(text: &str) -> bool {
    // Leading zeros are words.
    let digits = text.trim_start_matches('-');
    text.parse::<f64>().is_ok_and(f64::is_finite)
        && !(digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0."))
        && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
        && !digits.ends_with('.')
        && !digits.starts_with('.')
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or(f64::NAN)
}

/// A pattern of as many one-digit decisions as all texts have digits.
fn digits(distinct: &BTreeSet<&str>) -> Option<(String, Decisions)> {
    let length = distinct.first()?.len();
    let fit = |text: &&str| text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
    // Numbers of one length do not begin with 0.
    if length < 2 || !distinct.iter().all(fit) || !distinct.iter().any(|text| text.starts_with('0')) {
        return None;
    }
    let at = |i: usize| -> BTreeSet<String> { distinct.iter().map(|text| text[i..=i].to_string()).collect() };
    written((0..length).map(|i| Piece::Word(at(i))).collect())
}

enum Piece {
    Text(String),
    Word(BTreeSet<String>),
}

/// A pattern of the words that vary between texts of the same punctuation.
fn skeleton(distinct: &BTreeSet<&str>) -> Option<(String, Decisions)> {
    let split = |text: &str| -> (Vec<String>, Vec<String>) {
        let (mut words, mut between, mut word, mut rest) = (vec![], vec![], String::new(), String::new());
        for c in text.chars() {
            if c.is_alphanumeric() || c == '_' || c == '.' {
                if word.is_empty() {
                    between.push(std::mem::take(&mut rest));
                }
                word.push(c);
            } else {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                rest.push(c);
            }
        }
        if !word.is_empty() {
            words.push(word);
        }
        between.push(rest);
        (words, between)
    };
    let mut all = distinct.iter().map(|text| split(text));
    let (words, between) = all.next()?;
    let mut seen: Vec<BTreeSet<String>> = words.into_iter().map(|word| BTreeSet::from([word])).collect();
    for (words, other) in all {
        if other != between || words.len() != seen.len() {
            return None;
        }
        seen.iter_mut().zip(words).for_each(|(seen, word)| {
            seen.insert(word);
        });
    }
    let mut pieces = Vec::new();
    for (text, word) in between.iter().zip(seen) {
        pieces.push(Piece::Text(text.clone()));
        pieces.push(if word.len() == 1 { Piece::Text(word.into_iter().next()?) } else { Piece::Word(word) });
    }
    pieces.push(Piece::Text(between.last()?.clone()));
    written(pieces)
}

/// The pattern of pieces, if what varies has few words each.
fn written(pieces: Vec<Piece>) -> Option<(String, Decisions)> {
    let (mut pattern, mut decisions) = (String::new(), Vec::new());
    for piece in pieces {
        match piece {
            // A brace would be read as a decision.
            Piece::Text(text) if text.contains(['{', '}']) => return None,
            Piece::Text(text) => pattern.push_str(&text),
            Piece::Word(words) if words.len() <= MOST_CHOICES => {
                let name = format!("d{}", decisions.len() + 1);
                let _ = write!(pattern, "{{{name}}}");
                decisions.push((name, words.into_iter().collect()));
            }
            Piece::Word(_) => return None,
        }
    }
    // One choice is no decision.
    decisions.retain(|(_, words): &(String, Vec<String>)| words.len() > 1);
    (decisions.len() > 1).then_some((pattern, decisions))
}

/// Columns whose names differ in a number alone, as seeds do.
fn seeds_together(columns: Vec<Guess>) -> Vec<(Vec<String>, f64)> {
    let mut metrics: Vec<(Vec<String>, f64)> = Vec::new();
    for guess in columns {
        let Guess::Metric { column, highest } = guess else { continue };
        let bare = |name: &str| name.trim_end_matches(|c: char| c.is_ascii_digit()).to_string();
        let seed = |name: &str| {
            let bare = bare(name).to_ascii_lowercase();
            bare.len() < name.len() && ["s", "seed", "seed_", "run", "run_"].iter().any(|w| bare.ends_with(w))
        };
        let together = |(others, _): &&mut (Vec<String>, f64)| {
            seed(&column) && seed(&others[0]) && bare(&others[0]) == bare(&column)
        };
        match metrics.iter_mut().find(together) {
            Some((others, top)) => {
                others.push(column);
                *top = top.max(highest);
            }
            None => metrics.push((vec![column], highest)),
        }
    }
    metrics
}

fn shared_name(columns: &[String]) -> String {
    match columns {
        [one] => one.clone(),
        [first, ..] => {
            let bare = first.trim_end_matches(|c: char| c.is_ascii_digit());
            let bare = ["seed_", "seed", "run_", "run", "s"]
                .iter()
                .find_map(|w| bare.strip_suffix(w))
                .unwrap_or(bare);
            bare.trim_end_matches(['_', '.', '-', ' ']).to_string()
        }
        [] => String::new(),
    }
}

/// Unit and direction that a column's name suggests, and whether it does.
fn meaning(column: &str, highest: f64) -> (&'static str, &'static str, bool) {
    let name = column.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    let percent = if highest > 1.5 { "%" } else { "" };
    if has(&["latency", "_ms"]) {
        ("ms", "minimise", true)
    } else if has(&["time", "seconds"]) {
        ("s", "minimise", true)
    } else if has(&["loss", "perplexity", "param", "flops", "macs", "memory", "energy", "std"]) {
        ("", "minimise", true)
    } else if has(&["error", "err_"]) {
        (percent, "minimise", true)
    } else if has(&["acc", "precision", "recall", "f1", "auc", "top1", "top5", "iou"]) {
        (percent, "maximise", true)
    } else {
        ("", "maximise", false)
    }
}

fn table_has_commas(table: &CsvTable) -> bool {
    let mut cells = table.header().filter_map(|name| table.column(name).ok());
    let number = |text: &str| {
        let parts: Vec<&str> = text.trim_end_matches('%').trim().splitn(2, ',').collect();
        parts.len() == 2
            && parts
                .iter()
                .all(|p| !p.is_empty() && p.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit()))
    };
    cells.any(|column| (0..table.rows()).any(|row| number(column.text(row))))
}

/// The table, and what is between its fields: what its ending says, or what makes more columns.
fn read(file: &Path) -> Result<(CsvTable, char), TableError> {
    let usual = cells(file, None);
    if let Ok(table) = &usual
        && table.header().count() > 1
    {
        // What the ending says need not be said again.
        return usual.map(|table| (table, ','));
    }
    for delimiter in [';', '\t', '|'] {
        if let Ok(table) = cells(file, Some(delimiter))
            && table.header().count() > 1
        {
            return Ok((table, delimiter));
        }
    }
    usual.map(|table| (table, ','))
}

/// A file's name without its endings, as a benchmark may be called.
fn stem(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let bare = name.split('.').find(|part| !part.is_empty()).unwrap_or("table").to_string();
    bare.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' }).collect()
}

/// As a choice may be called: commas are between the decisions of an architecture.
fn possible(choice: &str) -> String {
    choice.trim().replace([',', '\n', '\r'], ";")
}

/// As a part of a metric's name may be.
fn plain(name: &str) -> String {
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    if name.is_empty() { "metric".into() } else { name }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.into()).to_string()
}
