//! What is suggested of a table, column by column, as the text of two files.

use super::{
    super::{Domain, Known, Said, SourceSpace, descriptor::Decimal, numbers::Notation},
    Suggestion,
    columns::{Contents, Role},
    decisions::{Decision, settle_empty_cells},
    exporters::Exporter,
    meaning::{Meaning, Way},
    text::{key, metric_part, quoted, unique},
};
use crate::benchmark::{SpaceDefinition, SpaceFormat};
use srnas_space::SearchSpace;
use std::{collections::HashMap, fmt::Write, sync::Arc};

/// What each column is taken for, and what is said of the whole table.
pub(super) struct Plan<'t> {
    /// The table's file, without its folder.
    pub file: String,
    /// The benchmark's name.
    pub name: String,
    /// What is between fields, where the file's ending does not say it.
    pub delimiter: Option<char>,
    pub notation: Notation,
    /// Whether numbers could be read otherwise.
    pub notation_doubt: bool,
    pub exporter: Option<&'static Exporter>,
    /// The program that wrote it, where its columns do not say it.
    pub by: Option<&'static str>,
    /// The rows that count.
    pub counting: Vec<Counting>,
    /// What is not taken over, a line each.
    pub notes: Vec<String>,
    /// The space, where it is known as a whole.
    pub space: Option<GivenSpace>,
    /// Whether rows of one architecture are seeds.
    pub seeds: bool,
    pub columns: Vec<Planned<'t>>,
}

/// A column.
pub(super) struct Planned<'t> {
    pub contents: Contents<'t>,
    /// What it is called, as far as it is a decision or a metric.
    pub name: String,
    pub role: Role,
    /// Whether what looks like a fraction among its percentages is one of them.
    pub mixed: bool,
    /// Of a parameter, where its values come from.
    pub domain: Option<Domain>,
    /// Of a metric, whether less is better.
    pub minimised: Option<bool>,
}

/// Rows that count: those with a word in a column.
pub(super) struct Counting {
    pub column: String,
    pub word: String,
    /// What the others have there, in words.
    pub gone: String,
}

/// A space that is known as a whole.
pub(super) struct GivenSpace {
    space: Arc<SearchSpace>,
    text: String,
    /// Its name, if srnas knows it, else the ending of its file.
    place: Result<String, &'static str>,
}

impl GivenSpace {
    /// Nothing where it is no space of srnas, or has decisions that are no columns.
    pub fn read(given: SourceSpace, known: &HashMap<String, Known>) -> Option<Self> {
        let given = match given {
            SourceSpace::Named(name) => {
                let space = SearchSpace::named(&name).ok()?;
                Self { space, text: String::new(), place: Ok(name) }
            }
            SourceSpace::Text(format, text) => {
                let definition = SpaceDefinition { format, text };
                let space = Arc::new(definition.space("space").ok()?);
                let ending = if format == SpaceFormat::Json { "json" } else { "toml" };
                Self { space, text: definition.text, place: Err(ending) }
            }
        };
        let column = |name: &str| known.values().any(|column| column.said == Said::Decision(name.into()));
        given.space.decisions().iter().all(|decision| column(&decision.name)).then_some(given)
    }

    /// Whether it has a decision of this name.
    pub fn has(&self, name: &str) -> bool {
        self.space.decisions().iter().any(|decision| decision.name == name)
    }
}

impl Plan<'_> {
    /// The two files.
    pub fn suggestion(&self) -> Suggestion {
        let written = self.columns.iter().find_map(|column| match &column.role {
            Role::Written(written) => Some((column.contents.name, written)),
            _ => None,
        });
        let decisions = match written {
            Some((_, written)) => {
                written.decisions.iter().map(|(name, words)| Decision::of_words(name, words)).collect()
            }
            None => self.decisions(),
        };
        let space_file = match self.space.as_ref().map(|space| &space.place) {
            Some(Ok(known)) => known.clone(),
            Some(Err(ending)) => format!("{}-space.{ending}", self.name),
            None => format!("{}-space.toml", self.name),
        };
        let mut descriptor = self.head(&space_file);
        if let Some((column, written)) = written {
            let _ = write!(
                descriptor,
                "\n[architecture]\ncolumn = {}\npattern = {}  # check: what varies is a decision\n",
                quoted(column),
                quoted(&written.pattern)
            );
        } else {
            let elsewhere: Vec<String> = decisions
                .iter()
                .filter(|d| d.name != d.column)
                .map(|d| format!("{} = {}\n", key(&d.name), quoted(&d.column)))
                .collect();
            if !elsewhere.is_empty() {
                let _ = write!(descriptor, "\n[architecture.columns]\n{}", elsewhere.concat());
            }
        }
        let names: String = decisions.iter().filter_map(Decision::names).collect();
        if !names.is_empty() {
            let _ = write!(descriptor, "\n[architecture.names]\n{names}");
        }
        let nearest: String = decisions.iter().filter_map(Decision::nearest).collect();
        if !nearest.is_empty() {
            let _ = write!(
                descriptor,
                "\n[architecture.nearest]  # their numbers count as the nearest choice\n{nearest}"
            );
        }
        descriptor.push_str(&self.metrics());
        let left_out = self.left_out();
        if !left_out.is_empty() {
            descriptor.push_str("\n# Left out:\n");
            for (column, why) in &left_out {
                let _ =
                    writeln!(descriptor, "#   {}: {}", quoted(column), why.replace(char::is_control, " "));
            }
        }
        for note in &self.notes {
            let _ = write!(descriptor, "\n# Not taken over: {}\n", note.replace(char::is_control, " "));
        }
        let space = self.space.as_ref().map_or_else(
            || {
                let entries: String = decisions.iter().map(Decision::entry).collect();
                format!("name = {}\n{entries}", quoted(&self.name))
            },
            |space| space.text.clone(),
        );
        Suggestion { descriptor, space, space_file, left_out }
    }

    fn head(&self, space_file: &str) -> String {
        let mut head = format!(
            "# Guessed by srnas from {}. Read it through; what is marked with \"check\" is uncertain.\n",
            quoted(&self.file)
        );
        if let Some(exporter) = self.exporter {
            let _ = writeln!(head, "# Its columns are those of an export of {}.", exporter.name);
        } else if let Some(by) = self.by {
            let _ = writeln!(head, "# It was written by {by}.");
        }
        let _ = write!(
            head,
            "benchmark = {}\nspace = {}\nprovenance = \"\"  # where the numbers come from\nlicence = \"\"\n",
            quoted(&self.name),
            quoted(space_file)
        );
        if let Some(delimiter) = self.delimiter {
            let _ = writeln!(head, "delimiter = {}", quoted(&delimiter.to_string()));
        }
        let check = if self.notation_doubt { "  # check: or are these signs between thousands?" } else { "" };
        if self.notation.decimal == Decimal::Comma {
            let _ = writeln!(head, "decimal = \",\"{check}");
        }
        if let Some(sign) = self.notation.thousands {
            let _ = writeln!(
                head,
                "thousands = {}{}",
                quoted(&sign.to_string()),
                check.replace("signs between thousands", "decimal points")
            );
        }
        if !self.counting.is_empty() {
            let words = self.counting.iter().map(|c| format!("{} = {}", key(&c.column), quoted(&c.word)));
            let gone: Vec<String> =
                self.counting.iter().map(|c| format!("{} in {}", c.gone, quoted(&c.column))).collect();
            let _ = writeln!(
                head,
                "only = {{ {} }}  # rows with anything else there do not count: {}",
                words.collect::<Vec<_>>().join(", "),
                gone.join("; ").replace(char::is_control, " ")
            );
        }
        head.push_str(match self.seeds {
            false => "duplicates = \"refuse\"  # or \"seeds\"\n",
            true => {
                "duplicates = \"seeds\"  # check: rows of one architecture differ; are they seeds, or is a decision left out?\n"
            }
        });
        head
    }

    fn decisions(&self) -> Vec<Decision> {
        let (mut decisions, mut contents): (Vec<Decision>, Vec<&Contents<'_>>) = (Vec::new(), Vec::new());
        for column in &self.columns {
            let Role::Decision(doubt) = column.role else { continue };
            let (contents_of, name) = (&column.contents, column.name.as_str());
            let known = self
                .space
                .as_ref()
                .and_then(|given| given.space.decisions().iter().find(|decision| decision.name == name));
            let mut decision = match (known, &column.domain) {
                (Some(known), domain) => Decision::of_space(known, contents_of, domain.as_ref()),
                (None, Some(domain)) => Decision::of_domain(contents_of, name, domain, doubt),
                (None, None) => Decision::of_column(contents_of, name, doubt, self.notation),
            };
            decision.name = unique(decision.name, |name| decisions.iter().any(|other| other.name == name));
            decisions.push(decision);
            contents.push(&column.contents);
        }
        if self.space.is_none() {
            settle_empty_cells(&mut decisions, &contents);
        }
        decisions
    }

    /// Leaves out the decisions with the most choices until there are no more combinations than a benchmark can look up.
    pub fn limit(&mut self) {
        if self.space.is_some() {
            return;
        }
        loop {
            // One more for an empty cell.
            let size = |column: &Planned<'_>| match column.role {
                Role::Decision(_) => column.contents.distinct.len() as u64 + 1,
                _ => 1,
            };
            let sizes: Vec<u64> = self.columns.iter().map(size).collect();
            let all = sizes.iter().try_fold(1u64, |all, size| all.checked_mul(*size));
            let many = sizes.iter().filter(|size| **size > 1).count() > SearchSpace::MOST_DECISIONS;
            if all.is_some() && !many {
                return;
            }
            let largest = (0..sizes.len()).max_by_key(|&i| sizes[i]).unwrap_or(0);
            self.columns[largest].role = Role::Neither(format!(
                "a decision with {} choices, left out so that there are no more than 2^64 combinations and {} decisions",
                self.columns[largest].contents.distinct.len(),
                SearchSpace::MOST_DECISIONS
            ));
        }
    }

    /// The metrics, each with its columns: those whose names differ in a seed alone are one.
    fn metrics(&self) -> String {
        let mut metrics: Vec<(Option<String>, Vec<&Planned<'_>>)> = Vec::new();
        for column in self.columns.iter().filter(|column| matches!(column.role, Role::Metric)) {
            let shared = without_seed(&column.name);
            match metrics.iter_mut().find(|(other, _)| shared.is_some() && *other == shared) {
                Some((_, columns)) => columns.push(column),
                None => metrics.push((shared, vec![column])),
            }
        }
        let (mut text, mut taken): (String, Vec<String>) = (String::new(), Vec::new());
        for (shared, columns) in metrics {
            let name = match (shared, columns.len()) {
                (Some(shared), 2..) => shared,
                _ => columns[0].name.clone(),
            };
            let full = unique(format!("{}/{}", metric_part(&self.name), metric_part(&name)), |name| {
                taken.iter().any(|other| other == name)
            });
            taken.push(full.clone());
            text.push_str(&self.metric(&full, &name, &columns));
        }
        text
    }

    fn metric(&self, full: &str, name: &str, columns: &[&Planned<'_>]) -> String {
        let listed: Vec<String> = columns.iter().map(|column| quoted(column.contents.name)).collect();
        let place = match &listed[..] {
            [one] => format!("column = {one}"),
            many => format!("columns = [{}]  # check: one for each seed", many.join(", ")),
        };
        let Meaning { unit, unit_sure, way, way_sure } = self.meaning(name, columns);
        let check = |sure: bool| if sure { "" } else { "  # check" };
        let mixed = if columns.iter().any(|column| column.mixed) {
            "mixed = true  # check: some values look like fractions among percentages\n"
        } else {
            ""
        };
        format!(
            "\n[[metrics]]\nname = {}\n{place}\nunit = {}{}\ndirection = {}{}\n{mixed}description = \"\"\n",
            quoted(full),
            quoted(unit),
            check(unit_sure),
            quoted(way.text()),
            check(way_sure),
        )
    }

    /// Unit and direction that a metric's columns may have.
    pub fn meaning(&self, name: &str, columns: &[&Planned<'_>]) -> Meaning {
        let said: Vec<Option<Meaning>> = columns.iter().map(|column| column.contents.meaning(name)).collect();
        let nothing = Meaning { unit: "", unit_sure: false, way: Way::Maximise, way_sure: false };
        // The one with the largest values tells fractions from percentages.
        let largest = (0..columns.len())
            .max_by(|&a, &b| columns[a].contents.range().1.total_cmp(&columns[b].contents.range().1))
            .unwrap_or(0);
        let mut meaning = said[largest].clone().unwrap_or(nothing);
        if columns.iter().any(|column| column.contents.signs) {
            (meaning.unit, meaning.unit_sure) = ("%", true);
        }
        meaning.way_sure &= said.iter().flatten().all(|other| other.way_sure);
        if let Some(minimised) = columns.first().and_then(|column| column.minimised) {
            meaning.way = if minimised { Way::Minimise } else { Way::Maximise };
            meaning.way_sure = true;
            return meaning;
        }
        // What nobody said the direction of is what the exporter minimises by default.
        let objective = name.parse::<u32>().is_ok() || name == "value";
        if objective && self.exporter.is_some_and(|exporter| exporter.minimises) {
            meaning.way = Way::Minimise;
        }
        meaning
    }

    fn left_out(&self) -> Vec<(String, String)> {
        let left_out = |column: &Planned<'_>| match &column.role {
            Role::Neither(why) => Some((column.contents.name.to_string(), why.clone())),
            _ => None,
        };
        self.columns.iter().filter_map(left_out).collect()
    }
}

/// A name without its seed, if it has one: `acc` of `acc_seed1`, `acc-s0`, `acc (run 2)`.
pub(super) fn without_seed(name: &str) -> Option<String> {
    let bare = name.trim_end_matches([')', ']']);
    let word = bare.trim_end_matches(|c: char| c.is_ascii_digit());
    if word.len() == bare.len() {
        return None;
    }
    let signs = ['_', '-', '.', ' ', '(', '[', '/'];
    let word = word.trim_end_matches(['_', '-', '.', ' ']);
    let lower = word.to_ascii_lowercase();
    let seed =
        ["seed", "run", "repeat", "rep", "fold", "trial", "s"].iter().find(|seed| lower.ends_with(*seed))?;
    let before = &word[..word.len() - seed.len()];
    let apart = before.ends_with(signs);
    let shared = before.trim_end_matches(signs);
    (apart && !shared.is_empty()).then(|| shared.to_string())
}

#[cfg(test)]
mod tests {
    use super::without_seed;

    #[test]
    fn seeds_are_told_from_numbers_in_names() {
        for name in ["acc_seed1", "acc-s0", "acc (run 2)", "acc.fold_3", "acc Seed 12"] {
            assert_eq!(without_seed(name).as_deref(), Some("acc"), "{name}");
        }
        for name in ["loss1", "class1", "top5", "s1", "seed1", "acc", "params2", "acc1", "epochs12"] {
            assert_eq!(without_seed(name), None, "{name}");
        }
    }
}
