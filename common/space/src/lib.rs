//! Search spaces: an ordered list of decisions, each with its choices, plus rules (validity, activity, canonical key).
//!
//! One type serves every space. The policy sees candidates and never decisions, so a new space is a new constructor
//! here and nothing else.

// Printing is for src/print.rs and for logs: the macros of std end the program where stdout or stderr is gone.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod conditional;
mod configspace;
mod custom;
pub mod darts;
mod file;
mod formula;
pub mod graph;
mod listed;
pub mod nb101;
mod nb201;
mod notation;
mod part;
mod range;
mod survey;
pub mod wrn;

pub use conditional::{Condition, Conditional};
pub use configspace::read as read_configspace;
pub use custom::{Constraint, Custom};
pub use file::{SpaceFileError, load, load_as, read};
pub use formula::Formula;
pub use listed::ListedBy;
pub use part::Restriction;
pub use survey::{listed_or_drawn, unreachable_choices};

use std::{fmt, sync::Arc};

/// An architecture: one choice index per decision.
pub type Choices = [u8];

/// One decision of a search space and the names of its choices.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Name of the decision, such as `0>1` or `depth`.
    pub name: String,
    /// Names of its choices; a choice is named by its index everywhere else.
    pub choices: Vec<String>,
    /// Whether the names are numbers or truth values, in JSON's notation, rather than words.
    pub literal: bool,
    /// Whether a choice is the nearer to another the nearer it stands to it in the list, as sizes are.
    pub ordered: bool,
}

/// An ordered decision of more choices is a number, and not some sizes: what matters is how far along it is.
const SIZES: usize = 6;
/// From one end to the other such a decision is as far as so many counts (docs/results.md says what others made of it).
const SPAN: usize = 8;
/// And a count has so many parts then; counts above 15 are no longer told apart.
const PARTS: u8 = 16;

impl Decision {
    /// Whether it is a number with so many levels that how far apart two of them are matters, and not which they are.
    pub fn is_fine(&self) -> bool {
        self.ordered && self.choices.len() > SIZES
    }

    /// A decision from its name and the names of its choices.
    pub fn new(name: impl Into<String>, choices: &[&str]) -> Self {
        Self {
            name: name.into(),
            choices: choices.iter().map(|c| (*c).to_string()).collect(),
            literal: false,
            ordered: false,
        }
    }
}

/// What a space knows beyond its list of decisions.
pub trait Rules: Send + Sync + fmt::Debug {
    /// Whether this combination of choices is an architecture of the space.
    fn is_valid(&self, choices: &Choices) -> bool;

    /// The constraints that choices of the space break, in the words of who wrote them.
    fn broken(&self, _space: &SearchSpace, _choices: &Choices) -> Vec<String> {
        Vec::new()
    }

    /// Turns `choices` into the active form: every inactive decision gets one fixed choice.
    fn activate(&self, choices: &mut Choices);

    /// Whether a decision does not count, whatever its choice.
    fn is_inactive(&self, _choices: &Choices, _decision: usize) -> bool {
        false
    }

    /// By what rule combinations of choices count as one architecture, in words.
    fn counting(&self) -> &'static str {
        "what does not count left out"
    }

    /// The space of which this one has only some of the encodings.
    fn whole(&self) -> Option<&Arc<SearchSpace>> {
        None
    }

    /// The canonical key where the space's published rule is more than "inactive decisions dropped".
    fn published_key(&self, _space: &SearchSpace, _choices: &Choices) -> Option<u64> {
        None
    }

    /// The space's own notation, if it has one.
    fn format(&self, _space: &SearchSpace, _choices: &Choices) -> Option<String> {
        None
    }

    /// Reads the space's own form of a JSON object; `None` means that it is not in it.
    fn parse_json(
        &self,
        _object: &serde_json::Map<String, serde_json::Value>,
    ) -> Option<Result<Vec<u8>, String>> {
        None
    }

    /// Reads the space's own notation; `None` means that the space has none.
    fn parse(&self, _space: &SearchSpace, _text: &str) -> Option<Result<Vec<u8>, SpaceError>> {
        None
    }
}

/// What can be wrong with a space or an architecture written down by somebody.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum SpaceError {
    /// No space has this name.
    #[error("unknown search space `{name}`{hint}")]
    UnknownSpace {
        /// The name as given.
        name: String,
        /// The nearest known names, ready to print.
        hint: String,
    },
    /// The decisions themselves cannot be a space.
    #[error("search space `{space}`: {reason}")]
    Malformed {
        /// The space.
        space: String,
        /// What is wrong.
        reason: String,
    },
    /// The text is not an architecture.
    #[error("`{text}` is not an architecture of {space}: {reason}")]
    NotAnArchitecture {
        /// The space.
        space: String,
        /// What was given.
        text: String,
        /// What is wrong with it, and what is expected.
        reason: String,
    },
}

/// A search space. Cheap to share behind an [`Arc`]; construction refuses what is not a space.
#[derive(Debug)]
pub struct SearchSpace {
    name: String,
    decisions: Vec<Decision>,
    rules: Box<dyn Rules>,
    /// Vocabulary of each decision.
    vocabularies: Vec<usize>,
    /// First count feature of each decision's vocabulary.
    count_offsets: Vec<usize>,
    counts: usize,
    /// Mixed-radix weight of each decision; wraps where the space is larger than 2^64.
    strides: Vec<u64>,
    size: Option<u64>,
    log_size: f64,
    /// The architectures there are, where that is not all that the decisions allow.
    list: Option<Arc<listed::List>>,
    /// What was read otherwise than it is written, in a line for a person.
    notice: Option<String>,
    /// What is known of an architecture without training it.
    descriptors: Vec<Formula>,
}

/// Names of the spaces that [`SearchSpace::named`] knows.
pub const SPACES: &[&str] =
    &["darts", "graph", "nb101", "nb201", wrn::TEACHERS[0], wrn::TEACHERS[1], wrn::TEACHERS[2]];

/// Whether [`SearchSpace::named`] knows a space of this name: one of [`SPACES`], or of another teacher of [`wrn`].
pub fn is_known(name: &str) -> bool {
    SPACES.contains(&name) || matches!(wrn::Teacher::named(name), Some(Ok(_)))
}

impl SearchSpace {
    /// Most decisions that a space may have.
    pub const MOST_DECISIONS: usize = 512;

    /// Builds a space.
    ///
    /// # Errors
    /// Refuses a space without decisions or with more than [`Self::MOST_DECISIONS`], a decision without choices or with
    /// more than 255, and equal names.
    pub fn new(
        name: impl Into<String>,
        decisions: Vec<Decision>,
        rules: Box<dyn Rules>,
    ) -> Result<Self, SpaceError> {
        let name = name.into();
        check_decisions(&decisions)
            .map_err(|reason| SpaceError::Malformed { space: name.clone(), reason })?;
        // Decisions that list the same choices share a vocabulary.
        let mut lists: Vec<(&Decision, usize)> = Vec::new();
        let (mut vocabularies, mut count_offsets, mut counts) = (Vec::new(), Vec::new(), 0);
        for d in &decisions {
            // How many there are of a number says nothing: each range is one of its own.
            let known = lists
                .iter()
                .position(|(list, _)| list.choices == d.choices && list.ordered == d.ordered)
                .filter(|_| !d.is_fine());
            let vocabulary = known.unwrap_or_else(|| {
                lists.push((d, counts));
                counts += if d.is_fine() { 1 } else { d.choices.len() };
                lists.len() - 1
            });
            vocabularies.push(vocabulary);
            count_offsets.push(lists[vocabulary].1);
        }
        let mut strides = vec![1u64; decisions.len()];
        let mut size = Some(1u64);
        for i in (0..decisions.len()).rev() {
            let n = decisions[i].choices.len() as u64;
            size = size.and_then(|s| s.checked_mul(n));
            if i > 0 {
                strides[i - 1] = strides[i].wrapping_mul(n);
            }
        }
        let log_size = decisions.iter().map(|d| (d.choices.len() as f64).ln()).sum();
        Ok(Self {
            name,
            decisions,
            rules,
            vocabularies,
            count_offsets,
            counts,
            strides,
            size,
            log_size,
            list: None,
            notice: None,
            descriptors: Vec::new(),
        })
    }

    /// A space by its name.
    ///
    /// # Errors
    /// An unknown name is refused with the nearest known ones.
    pub fn named(name: &str) -> Result<Arc<Self>, SpaceError> {
        match name {
            "darts" => Ok(darts::space()),
            "graph" => Ok(graph::space()),
            "nb101" => Ok(nb101::space()),
            "nb201" => Ok(nb201::space()),
            _ => match wrn::Teacher::named(name) {
                Some(Ok(teacher)) => teacher.space(),
                Some(Err(reason)) => Err(SpaceError::Malformed { space: name.into(), reason }),
                None => Err(SpaceError::UnknownSpace {
                    name: name.into(),
                    hint: srnas_basics::names::did_you_mean(name, SPACES.iter().copied()),
                }),
            },
        }
    }

    /// Name of the space.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same space, of which these formulas say what is known of an architecture without training it.
    pub fn described_by(self, descriptors: Vec<Formula>) -> Self {
        Self { descriptors, ..self }
    }

    /// What is known of an architecture without training it: of its active form.
    pub fn descriptors(&self) -> &[Formula] {
        &self.descriptors
    }

    /// What of the space was read otherwise than it is written, such as ranges as levels: a line for a person.
    pub fn notice(&self) -> Option<&str> {
        self.notice.as_deref()
    }

    /// Its decisions, in order.
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// Number of decisions.
    pub fn len(&self) -> usize {
        self.decisions.len()
    }

    /// Never true: a space has decisions.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Number of choices of a decision.
    pub fn arity(&self, decision: usize) -> u8 {
        self.decisions[decision].choices.len() as u8
    }

    /// Vocabulary of a decision: decisions with the same list of choices share one.
    pub fn vocabulary(&self, decision: usize) -> usize {
        self.vocabularies[decision]
    }

    /// Number of count features: one per choice of each vocabulary.
    pub fn count_features(&self) -> usize {
        self.counts
    }

    /// Number of encodings (combinations of choices, valid or not), where it fits 64 bits; of a listed space, those that are listed.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Natural logarithm of the number of encodings.
    pub fn log_size(&self) -> f64 {
        self.log_size
    }

    /// Whether these are choices of this space and together valid.
    pub fn is_valid(&self, choices: &Choices) -> bool {
        choices.len() == self.len()
            && choices.iter().enumerate().all(|(d, &c)| c < self.arity(d))
            && self.rules.is_valid(choices)
    }

    /// By what rule combinations of choices count as one architecture (see [`Self::canonical_key`]), in words.
    pub fn counting(&self) -> &'static str {
        self.rules.counting()
    }

    /// The space of which this one has only some of the encodings, see [`Self::listed`].
    pub fn whole(&self) -> Option<&Arc<Self>> {
        self.rules.whole()
    }

    /// The constraints that choices of this space break, such as `require depth * width <= 96`, where it has any to name.
    pub fn broken(&self, choices: &Choices) -> Vec<String> {
        self.rules.broken(self, choices)
    }

    /// Turns choices into the active form: every inactive decision gets one fixed choice.
    pub fn activate(&self, choices: &mut Choices) {
        self.rules.activate(choices);
    }

    /// Whether a decision does not count, whatever its choice.
    pub fn is_inactive(&self, choices: &Choices, decision: usize) -> bool {
        self.rules.is_inactive(choices, decision)
    }

    /// Counts, for each choice of each vocabulary, how often it occurs, in units of [`Self::count_unit`]: u8
    /// [`Self::count_features`]. Where choices are ordered, how often it or a later one does: the counts of neighbours differ less
    /// than those of the two ends. A [fine](Decision::is_fine) decision has one count instead, how far along its order it is.
    pub fn count_choices(&self, choices: &Choices, counts: &mut [u8]) {
        counts.fill(0);
        let unit = self.count_unit();
        for ((&choice, &offset), decision) in choices.iter().zip(&self.count_offsets).zip(&self.decisions) {
            if decision.is_fine() {
                let last = decision.choices.len() - 1;
                counts[offset] = ((usize::from(choice) * SPAN * usize::from(unit) + last / 2) / last) as u8;
                continue;
            }
            let (first, last) = (if decision.ordered { 0 } else { choice }, choice);
            for count in &mut counts[offset + first as usize..=offset + last as usize] {
                *count = count.saturating_add(unit);
            }
        }
    }

    /// What a count of one is: more than one where some decisions are [fine](Decision::is_fine), whose places are parts of it.
    pub fn count_unit(&self) -> u8 {
        if self.decisions.iter().any(Decision::is_fine) { PARTS } else { 1 }
    }

    /// No two architectures have counts further apart than this, squared, and none is further from having none at all.
    pub fn most_squared_count_distance(&self) -> usize {
        let vocabularies = self.vocabularies.iter().max().map_or(0, |last| last + 1);
        let unit = usize::from(self.count_unit());
        let of = |vocabulary: usize| {
            let mut decisions =
                self.decisions.iter().zip(&self.vocabularies).filter(|(_, v)| **v == vocabulary);
            let Some((first, _)) = decisions.next() else { return 0 };
            let n = 1 + decisions.count();
            // All decisions moved from one choice to another; where they are ordered the last choice counts as every one, which is
            // nowhere further than from nothing.
            unit * unit
                * match (first.is_fine(), first.ordered) {
                    (true, _) => SPAN * SPAN,
                    (false, true) => n * n * first.choices.len(),
                    (false, false) => n * n * 2,
                }
        };
        (0..vocabularies).map(of).sum()
    }

    /// Mixed-radix rank of the encoding. Distinct for distinct encodings while [`Self::size`] is known; beyond that a
    /// 64-bit hash. In a listed space the place in the list, and the highest number for what is not listed.
    pub fn rank(&self, choices: &Choices) -> u64 {
        if let Some(list) = &self.list {
            list.rank(choices).unwrap_or(u64::MAX)
        } else if self.size.is_some() {
            choices.iter().zip(&self.strides).map(|(&c, &s)| u64::from(c) * s).sum()
        } else {
            // FNV-1a with a final mix: two encodings of a space this large never meet in a run.
            let h = choices.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, &c| {
                (h ^ u64::from(c)).wrapping_mul(0x0000_0100_0000_01b3)
            });
            (h ^ (h >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        }
    }

    /// Rank after one edit, given the rank before it; `None` where ranks are hashes or places in a list.
    pub fn rank_after(&self, rank: u64, decision: usize, from: u8, to: u8) -> Option<u64> {
        self.size.filter(|_| self.list.is_none())?;
        let stride = self.strides[decision];
        Some(rank.wrapping_add(u64::from(to).wrapping_sub(u64::from(from)).wrapping_mul(stride)))
    }

    /// The encoding of a rank, written into `choices`. The rank must be below [`Self::size`].
    pub fn unrank(&self, rank: u64, choices: &mut Choices) {
        if let Some(list) = &self.list {
            return list.unrank(rank, choices);
        }
        for (d, choice) in choices.iter_mut().enumerate() {
            *choice = (rank / self.strides[d] % u64::from(self.arity(d))) as u8;
        }
    }

    /// The canonical key: equal for architectures that count as the same, by the space's published rule where there is
    /// one, else by the active form.
    pub fn canonical_key(&self, choices: &Choices) -> u64 {
        self.rules.published_key(self, choices).unwrap_or_else(|| {
            let mut active = choices.to_vec();
            self.activate(&mut active);
            self.rank(&active)
        })
    }

    /// Whether encodings are one class by a published rule, and not because their active forms are the same.
    pub fn has_published_classes(&self) -> bool {
        self.rules.published_key(self, &vec![0; self.len()]).is_some()
    }

    /// Calls `visit(decision, choice)` for each edit that leads to a valid neighbour. `choices` is restored.
    pub fn for_each_edit(&self, choices: &mut Choices, mut visit: impl FnMut(&Choices, usize, u8)) {
        for d in 0..self.len() {
            let from = choices[d];
            for to in (0..self.arity(d)).filter(|&to| to != from) {
                choices[d] = to;
                if self.rules.is_valid(choices) {
                    visit(choices, d, to);
                }
            }
            choices[d] = from;
        }
    }

    /// Draws a valid architecture, by rejection: every valid combination of choices is as likely, those of inactive
    /// decisions included, so that of two depths the shallow one is not drawn less for having fewer active forms.
    pub fn sample(&self, rng: &mut impl rand::Rng, choices: &mut Choices) {
        if let (Some(list), Some(size)) = (&self.list, self.size) {
            return list.unrank(rng.random_range(0..size), choices);
        }
        loop {
            self.draw(rng, choices);
            if self.rules.is_valid(choices) {
                return;
            }
        }
    }

    /// Draws a combination of choices, valid or not.
    fn draw(&self, rng: &mut impl rand::Rng, choices: &mut Choices) {
        for (d, choice) in choices.iter_mut().enumerate() {
            *choice = rng.random_range(0..self.arity(d));
        }
    }

    /// The share of all combinations of choices that are valid: exact in a small space, else an estimate.
    pub fn valid_share(&self) -> f64 {
        custom::valid_share(self).unwrap_or(0.0)
    }
}

/// Whether these can be the decisions of a space; if not, why.
fn check_decisions(decisions: &[Decision]) -> Result<(), String> {
    if decisions.is_empty() {
        return Err("it has no decisions".into());
    }
    if decisions.len() > SearchSpace::MOST_DECISIONS {
        let (has, most) = (decisions.len(), SearchSpace::MOST_DECISIONS);
        return Err(format!("it has {has} decisions; {most} are possible"));
    }
    for (i, d) in decisions.iter().enumerate() {
        if d.choices.is_empty() || d.choices.len() > 255 {
            return Err(format!(
                "decision `{}` has {} choices; 1 to 255 are possible",
                d.name,
                d.choices.len()
            ));
        }
        if decisions[..i].iter().any(|other| other.name == d.name) {
            return Err(format!("decision `{}` occurs twice", d.name));
        }
        for (k, c) in d.choices.iter().enumerate() {
            if d.choices[..k].contains(c) {
                return Err(format!("choice `{c}` of decision `{}` occurs twice", d.name));
            }
        }
    }
    Ok(())
}

/// Number of decisions in which two architectures differ.
pub fn edit_distance(a: &Choices, b: &Choices) -> usize {
    a.iter().zip(b).filter(|(x, y)| x != y).count()
}
