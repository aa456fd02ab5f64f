//! A first descriptor of a table, and a first space, guessed from header and data. What is uncertain is marked, what is left out is
//! listed, and what is suggested can be imported: it was tried.

mod columns;
mod decisions;
mod exporters;
mod meaning;
mod plan;
mod text;
mod vocabulary;
mod written;

#[cfg(test)]
mod tests;

use super::{
    Descriptor, Domain, Known, Said, Source, TableError, cells, descriptor,
    numbers::Notation,
    of_cells,
    source::{in_words, tally},
};
use crate::{
    benchmark::{SpaceDefinition, SpaceFormat},
    catalog::Catalog,
    importers::csv::{CsvError, CsvTable},
};
use columns::{Contents, MOST_CHOICES, Role};
use exporters::Exporter;
use plan::{Counting, GivenSpace, Plan, Planned};
use std::{path::Path, sync::Arc};

/// What was guessed, as the text of two files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// The descriptor; it names [`Self::space_file`].
    pub descriptor: String,
    /// The space; empty where the descriptor names one that srnas knows.
    pub space: String,
    /// Name of the space's file, beside the descriptor's; or of the space that srnas knows.
    pub space_file: String,
    /// Columns that are neither decisions nor metrics, and why not.
    pub left_out: Vec<(String, String)>,
}

/// Guesses from a table.
///
/// # Errors
/// A table that cannot be read, or in which nothing looks like an architecture or like a metric.
pub fn suggest(file: &Path) -> Result<Suggestion, TableError> {
    let (table, delimiter) = read(file)?;
    suggest_of(Source { delimiter, ..Source::of(table) })
}

/// Guesses from a table what is not known of it.
///
/// # Errors
/// As [`suggest`].
pub fn suggest_of(source: Source) -> Result<Suggestion, TableError> {
    let Source { mut table, name, delimiter, by, known, only, space, notes } = source;
    let file = table.path().to_path_buf();
    let header: Vec<String> = table.header().map(str::to_string).collect();
    let exporter = exporters::known(&header.iter().map(String::as_str).collect::<Vec<_>>());
    let state = exporter.and_then(|exporter| exporter.state).filter(|_| only.is_empty());
    let mut counting = Vec::new();
    for (column, word) in only.iter().map(|(c, w)| (c.as_str(), w.as_str())).chain(state) {
        counting.extend(ended_well(&mut table, column, word)?);
    }
    if table.rows() < 2 {
        return Err(TableError::Nothing(format!(
            "{} has one row that counts, and a benchmark has at least two: there is nothing to search in one",
            file.display()
        )));
    }
    let (notation, notation_doubt) = notation_of(&table);
    let space = space.and_then(|space| GivenSpace::read(space, &known));
    let column = |name: &str| {
        let contents = Contents::of(&table, table.header().find(|column| *column == name)?, notation)?;
        let known = known.get(name);
        let (name, role) = role(&contents, exporter, known, space.as_ref());
        let mut domain = known.and_then(|known| known.domain.clone());
        if domain.is_none() && matches!(role, Role::Decision(_)) && contents.distinct.len() > MOST_CHOICES {
            domain = drawn(&contents);
        }
        if contents.values.is_ok() {
            let (low, high) = contents.range();
            domain = domain.map(|domain| domain.including(low, high));
        }
        let minimised = known.and_then(|known| known.minimised);
        Some(Planned { contents, name, role, mixed: false, domain, minimised })
    };
    let columns = header.iter().filter_map(|name| column(name)).collect();
    let mut plan = Plan {
        file: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        name: name.map_or_else(|| stem(&file), |name| allowed(&name)),
        delimiter,
        notation,
        notation_doubt,
        exporter,
        by,
        counting,
        notes,
        space,
        seeds: false,
        columns,
    };
    one_architecture(&mut plan.columns);
    plan.limit();
    settle(&mut plan, &table, &file)
}

/// Changes a plan until what it suggests can be imported.
fn settle(plan: &mut Plan<'_>, table: &CsvTable, file: &Path) -> Result<Suggestion, TableError> {
    loop {
        complete(plan, file)?;
        let suggestion = plan.suggestion();
        let Err(problem) = attempt(&suggestion, table) else { return Ok(suggestion) };
        let Some(column) = problem.column.clone() else {
            return Err(TableError::Nothing(format!(
                "nothing that can be imported could be guessed from {}: {}",
                file.display(),
                problem.reason
            )));
        };
        let better = |plan: &Plan<'_>| match attempt(&plan.suggestion(), table) {
            Ok(()) => true,
            Err(other) => other != problem,
        };
        if !plan.seeds {
            plan.seeds = true;
            if better(plan) {
                continue;
            }
            plan.seeds = false;
        }
        let Some(at) = plan.columns.iter().position(|planned| planned.contents.name == column) else {
            return Err(TableError::Nothing(problem.reason));
        };
        if matches!(plan.columns[at].role, Role::Metric) && !plan.columns[at].mixed {
            plan.columns[at].mixed = true;
            if better(plan) {
                continue;
            }
        }
        plan.columns[at].role = Role::Neither(problem.reason);
    }
}

/// Why a suggestion cannot be imported.
#[derive(Debug, PartialEq)]
struct Problem {
    /// The column that it is about, where it is about one.
    column: Option<String>,
    reason: String,
}

/// Imports a suggestion, without writing anything.
fn attempt(suggestion: &Suggestion, table: &CsvTable) -> Result<(), Problem> {
    let general = |reason: String| Problem { column: None, reason };
    let descriptor = Descriptor::of_text(&suggestion.descriptor).map_err(general)?;
    Catalog::check_own_name(&descriptor.benchmark).map_err(|e| general(e.to_string()))?;
    let (space, definition) = match suggestion.space.as_str() {
        // One that srnas knows.
        "" => descriptor.space(Path::new("")).map_err(|e| general(e.to_string()))?,
        text => {
            let json = suggestion.space_file.ends_with(".json");
            let format = if json { SpaceFormat::Json } else { SpaceFormat::Toml };
            let definition = SpaceDefinition { format, text: text.into() };
            let space = definition.space(&descriptor.benchmark).map_err(general)?;
            (Arc::new(space), Some(definition))
        }
    };
    let imported = of_cells(table, &descriptor, &space, definition, Vec::new()).map_err(|e| match e {
        TableError::Csv(CsvError::Value { line, column, reason, .. }) => {
            Problem { column: Some(column), reason: format!("line {line}: {reason}") }
        }
        other => general(other.to_string()),
    })?;
    imported.benchmark.check().map_err(|e| general(e.to_string()))
}

/// Refuses a plan without decisions or metrics.
fn complete(plan: &Plan<'_>, file: &Path) -> Result<(), TableError> {
    let has = |what: fn(&Role) -> bool| plan.columns.iter().any(|column| what(&column.role));
    let nothing = |what: &str| {
        let left_out: Vec<String> = plan
            .suggestion()
            .left_out
            .iter()
            .take(8)
            .map(|(column, why)| format!("`{column}`: {why}"))
            .collect();
        let why = if left_out.is_empty() { String::new() } else { format!(" ({})", left_out.join("; ")) };
        let file = file.display();
        Err(TableError::Nothing(format!(
            "no column of {file} looks like {what}{why}; write the descriptor yourself"
        )))
    };
    if !has(|role| matches!(role, Role::Decision(_) | Role::Written(_))) {
        return nothing("a decision: one with at least 2 different values");
    }
    if !has(|role| matches!(role, Role::Metric)) {
        return nothing("a metric: numbers that differ");
    }
    Ok(())
}

/// What a column is called, and what it may be.
fn role(
    contents: &Contents<'_>,
    exporter: Option<&Exporter>,
    known: Option<&Known>,
    space: Option<&GivenSpace>,
) -> (String, Role) {
    let kinds = contents.distinct.len();
    let neither = |why: &str| Role::Neither(why.into());
    let by_name = || exporter.map_or(Said::Nothing, |exporter| exporter.says(contents.name));
    match known.map_or_else(by_name, |known| known.said.clone()) {
        Said::Decision(name) => {
            let domain = known.and_then(|known| known.domain.as_ref());
            // What a search program calls a parameter is one; loggers call so what they are given.
            let logged = exporter.is_some_and(|exporter| exporter.logs) && known.is_none();
            let role = match kinds {
                0 => neither("empty"),
                _ if logged && contents.of_the_run(&name).is_some() => {
                    neither(contents.of_the_run(&name).unwrap_or_default())
                }
                _ if space.is_some_and(|space| space.has(&name)) => Role::Decision(None),
                _ if space.is_some() => neither("no decision of the space"),
                _ if domain.is_some() => match domain.map_or(0, size_of) {
                    0 | 1 => neither("it can have one value alone"),
                    n if n > MOST_CHOICES => {
                        Role::Neither(format!("a decision with {n} choices, and {MOST_CHOICES} are possible"))
                    }
                    _ => Role::Decision(None),
                },
                1 => neither("the same everywhere, or missing"),
                n if n > MOST_CHOICES && contents.values.is_ok() => Role::Decision(Some(
                    "continuous? Its values count as the nearest level; `levels = …` says how many there are",
                )),
                n if n > MOST_CHOICES => Role::Neither(format!(
                    "a decision with {n} different values, and {MOST_CHOICES} are possible: round them, and it is one"
                )),
                n if n > 16 && contents.values.is_ok() => {
                    Role::Decision(Some("continuous? It has the values that are in the table and no others"))
                }
                _ => Role::Decision(None),
            };
            (name, role)
        }
        Said::Metric(name) => {
            let role = match &contents.values {
                Ok(_) if kinds > 1 => Role::Metric,
                Ok(_) => neither("the same everywhere, or missing"),
                Err(_) if kinds == 0 => neither("empty"),
                Err(_) => neither("not numbers"),
            };
            (name, role)
        }
        Said::Neither(why) => (contents.name.into(), neither(why)),
        Said::Nothing => match parameter(contents.name).filter(|_| kinds > 1 && kinds <= MOST_CHOICES) {
            Some(name) => match contents.of_the_run(name) {
                Some(why) => (contents.name.into(), neither(why)),
                None => (name.into(), Role::Decision(Some("a parameter, by its name"))),
            },
            None => (contents.name.into(), contents.role()),
        },
    }
}

/// How many choices a domain has; numbers of a range have levels.
fn size_of(domain: &Domain) -> usize {
    match domain {
        Domain::Choices(values, _) => values.len(),
        Domain::Numbers { low, high, .. } if low == high => 1,
        Domain::Numbers { .. } => 2,
    }
}

/// The range that so many different numbers seem to be drawn from.
fn drawn(contents: &Contents<'_>) -> Option<Domain> {
    let values = contents.values.as_ref().ok()?;
    let (low, high) = contents.range();
    let whole = values.iter().all(|v| v.is_nan() || v.fract() == 0.0);
    let log = low > 0.0 && high / low >= 100.0;
    (low < high).then_some(Domain::Numbers { low, high, log, step: None, whole })
}

/// The name of a parameter in a column that begins as those of parameters do.
fn parameter(column: &str) -> Option<&str> {
    let starts = [
        "params_",
        "params.",
        "params/",
        "param_",
        "param.",
        "config.",
        "config/",
        "hparams/",
        "hparams.",
        "hp.",
        "parameter.",
        "parameters.",
        "hyperparameters.",
        "architecture.",
    ];
    let name = starts.iter().find_map(|start| column.strip_prefix(start))?;
    // A number of parameters is a metric.
    let counts =
        ["m", "k", "b", "mb", "count", "total", "number", "num", "size", "million", "millions", "trainable"];
    let counted = meaning::words(name).iter().any(|word| counts.contains(&word.as_str()));
    (!counted && !name.is_empty()).then_some(name)
}

/// Leaves the decisions that have columns of their own, or else the one column that has them all.
fn one_architecture(columns: &mut [Planned<'_>]) {
    let own = columns.iter().filter(|column| matches!(column.role, Role::Decision(_))).count();
    let whole = |column: &Planned<'_>| match &column.role {
        Role::Written(written) => written.decisions.len(),
        _ => 0,
    };
    let most = columns.iter().map(whole).max().unwrap_or(0);
    let chosen = columns.iter().position(|column| most > 0 && most >= own && whole(column) == most);
    for (at, column) in columns.iter_mut().enumerate() {
        let why = match &column.role {
            Role::Written(_) if chosen.is_none() => {
                "a whole architecture, it seems; its decisions are columns too"
            }
            Role::Written(_) if chosen != Some(at) => {
                "a whole architecture, it seems; another column has more decisions"
            }
            Role::Decision(_) if chosen.is_some() => "not in the column that has whole architectures",
            _ => continue,
        };
        column.role = Role::Neither(why.into());
    }
}

/// Leaves the rows of runs that ended well, where there are others.
///
/// # Errors
/// Where none did.
fn ended_well(table: &mut CsvTable, name: &str, well: &str) -> Result<Option<Counting>, TableError> {
    let Ok(column) = table.column(name) else { return Ok(None) };
    let ended: Vec<&str> = (0..table.rows()).map(|row| column.text(row)).collect();
    let Some(word) = ended.iter().find(|word| word.eq_ignore_ascii_case(well)).map(ToString::to_string)
    else {
        if ended.iter().all(|word| word.is_empty()) {
            return Ok(None);
        }
        return Err(TableError::Nothing(format!(
            "nothing in {} counts: no row has `{well}` as its `{name}` (there is {})",
            table.path().display(),
            in_words(&tally(&column, table.rows(), |_| true))
        )));
    };
    let counts: Vec<bool> = ended.iter().map(|other| *other == word).collect();
    let gone = tally(&column, table.rows(), |row| !counts[row]);
    if gone.is_empty() {
        return Ok(None);
    }
    table.retain(|row| counts[row]);
    Ok(Some(Counting { column: name.into(), word, gone: in_words(&gone) }))
}

/// How the numbers of a table are written: as makes the most columns numbers. Whether another way makes as many.
fn notation_of(table: &CsvTable) -> (Notation, bool) {
    use descriptor::Decimal::{Comma, Point};
    let ways = [
        (Point, None),
        (Comma, None),
        (Point, Some(',')),
        (Comma, Some('.')),
        (Point, Some(' ')),
        (Comma, Some(' ')),
        (Point, Some('\u{a0}')),
        (Comma, Some('\u{a0}')),
        (Point, Some('\'')),
    ];
    let numbers = |(decimal, thousands)| {
        let notation = Notation { decimal, thousands };
        let numeric = |name: &&str| Contents::of(table, name, notation).is_some_and(|c| c.values.is_ok());
        (table.header().filter(numeric).count(), notation)
    };
    let plain = numbers(ways[0]);
    // Almost all tables are written plainly; the others are looked at where commas, points or spaces stand in what is no number.
    let odd = table.header().filter_map(|name| Contents::of(table, name, plain.1)).any(|contents| {
        contents.values.is_err()
            && contents.distinct.iter().any(|text| text.starts_with(|c: char| c.is_ascii_digit() || c == '-'))
    });
    if !odd {
        return (plain.1, false);
    }
    let counted: Vec<(usize, Notation)> = ways.into_iter().map(numbers).collect();
    let most = counted.iter().map(|(count, _)| *count).max().unwrap_or(0);
    let mut best = counted.iter().filter(|(count, _)| *count == most);
    let first = best.next().map_or(plain.1, |(_, notation)| *notation);
    // More than one sign between thousands says nothing new of a comma that could be one.
    let doubt = first != plain.1
        && first.thousands.is_none()
        && best.any(|(_, other)| other.decimal != first.decimal);
    (first, doubt)
}

/// The program whose export has these columns, if one is known.
pub(in crate::importers) fn exporter_of(header: &[&str]) -> Option<&'static str> {
    exporters::known(header).map(|exporter| exporter.name)
}

/// The table, and what is between its fields where its ending does not say it: what makes more columns.
pub(in crate::importers) fn read(file: &Path) -> Result<(CsvTable, Option<char>), TableError> {
    let usual = cells(file, None);
    if let Ok(table) = &usual
        && table.header().count() > 1
    {
        return usual.map(|table| (table, None));
    }
    for delimiter in [';', '\t', '|', ','] {
        if let Ok(table) = cells(file, Some(delimiter))
            && table.header().count() > 1
        {
            return Ok((table, Some(delimiter)));
        }
    }
    usual.map(|table| (table, None))
}

/// A file's name without its endings, as a benchmark and a space may be called.
fn stem(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    allowed(name.split('.').find(|part| !part.is_empty()).unwrap_or("table"))
}

/// A name as a benchmark and a space may have it.
fn allowed(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
    let name: String = name.chars().map(plain).collect();
    let name = if name.is_empty() { "table".into() } else { name };
    let reserved = Catalog::check_own_name(&name).is_err() || srnas_space::is_known(&name);
    if reserved { format!("{name}-table") } else { name }
}
