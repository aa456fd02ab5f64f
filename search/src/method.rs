//! What a search method is, and how one is named.

use crate::methods;
use hashbrown::HashSet;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use srnas_basics::names::did_you_mean;
use srnas_policy::Policy;
use srnas_predictor::{Prior, Untrained, WholeSpace};
use srnas_space::{Choices, SearchSpace};
use srnas_task::Count;
pub use srnas_task::{Fidelity, Training};
use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

/// A search: it asks for architectures, and is told what was measured.
pub trait Method: Send {
    /// The next architecture to measure; `None` when it has nothing left to ask. What was measured before is told again and
    /// costs nothing.
    ///
    /// # Errors
    /// When the method cannot go on; its search has then failed.
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError>;

    /// What a measurement found: one value for each objective, each to be maximised. The start is told before anything is
    /// asked.
    ///
    /// # Errors
    /// As [`Method::ask`].
    fn tell(&mut self, choices: &Choices, values: &[f32]) -> Result<(), MethodError>;

    /// As [`Method::ask`], and how long to train; full trainings are all that most methods know. While trainings are under way `None` means that it waits for a result: it is asked again when one
    /// has ended.
    ///
    /// # Errors
    /// As [`Method::ask`].
    fn ask_training(&mut self) -> Result<Option<Training>, MethodError> {
        Ok(self.ask()?.map(Training::full))
    }

    /// What a shorter training found, for methods that ask for some.
    ///
    /// # Errors
    /// As [`Method::ask`].
    fn tell_shorter(&mut self, _training: &Training, _value: f32) -> Result<(), MethodError> {
        Ok(())
    }

    /// A training that was paid for and has no value. `worst` are the worst values so far, which it counts as where a method
    /// makes nothing else of it; none where nothing has a value yet.
    ///
    /// # Errors
    /// As [`Method::ask`].
    fn tell_infeasible(&mut self, training: &Training, worst: Option<&[f32]>) -> Result<(), MethodError> {
        match (worst, training.fidelity) {
            (None, _) => Ok(()),
            (Some(worst), Fidelity::Full) => self.tell(&training.choices, worst),
            (Some(worst), Fidelity::Shorter(_)) => self.tell_shorter(training, worst[0]),
        }
    }

    /// Whether it asks again for what was asked for and not begun; else that is kept for it until it can be paid for.
    fn asks_again(&self) -> bool {
        false
    }

    /// A training has begun, and is told when it ends.
    fn begun(&mut self, _training: &Training) {}

    /// Whether it may be asked for more while trainings are under way. Where what is asked next follows from the last result it
    /// may not, and is given one worker.
    fn concurrent(&self) -> bool {
        false
    }
}

impl<M: Method + ?Sized> Method for &mut M {
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
        (**self).ask()
    }

    fn tell(&mut self, choices: &Choices, values: &[f32]) -> Result<(), MethodError> {
        (**self).tell(choices, values)
    }

    fn ask_training(&mut self) -> Result<Option<Training>, MethodError> {
        (**self).ask_training()
    }

    fn tell_shorter(&mut self, training: &Training, value: f32) -> Result<(), MethodError> {
        (**self).tell_shorter(training, value)
    }

    fn tell_infeasible(&mut self, training: &Training, worst: Option<&[f32]>) -> Result<(), MethodError> {
        (**self).tell_infeasible(training, worst)
    }

    fn asks_again(&self) -> bool {
        (**self).asks_again()
    }

    fn begun(&mut self, training: &Training) {
        (**self).begun(training);
    }

    fn concurrent(&self) -> bool {
        (**self).concurrent()
    }
}

/// Why a search failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct MethodError(pub String);

/// What a search begins with.
#[derive(Clone)]
pub struct Begin {
    /// The space.
    pub space: Arc<SearchSpace>,
    /// What counts as one architecture.
    pub count: Count,
    /// Number of objectives.
    pub objectives: usize,
    /// Number of limits. Where there are some, how far each is kept is told after the objectives: below 0 it is broken.
    pub limits: usize,
    /// Full trainings, or as many shorter ones as cost the same; the start is one.
    pub budget: usize,
    /// Costs of the shorter trainings there are, in full ones, the cheapest first.
    pub shorter: Arc<[f64]>,
    /// The first architecture, shared with every method of the same seed.
    pub start: Vec<u8>,
    /// Seed of everything random in the method.
    pub seed: u64,
    /// Seed that drew the start.
    pub start_seed: u64,
    /// Every encoding of the space, where there are few enough.
    pub whole: Option<Arc<Whole>>,
    /// What earlier tasks say; for methods that know a past.
    pub past: Past,
}

impl Begin {
    /// The key by which an architecture is paid for.
    pub fn key(&self, choices: &Choices) -> u64 {
        self.count.key(&self.space, choices, self.space.rank(choices))
    }

    /// A generator of random numbers for the method.
    pub fn rng(&self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.seed)
    }
}

/// What earlier tasks say of each objective.
#[derive(Clone, Debug, Default)]
pub struct Past {
    priors: Vec<Option<Arc<Prior>>>,
    favourites: Vec<Vec<u8>>,
    untrained: Option<Arc<Untrained>>,
}

impl Past {
    /// What is said of the first objective, if something is.
    pub fn one(prior: Option<Arc<Prior>>) -> Self {
        Self { priors: vec![prior], ..Self::default() }
    }

    /// What is said of each objective, and architectures that were good for earlier tasks: where a space is too large to be listed they
    /// are looked at again, and what is near them.
    pub fn several(priors: Vec<Option<Arc<Prior>>>, favourites: Vec<Vec<u8>>) -> Self {
        Self { priors, favourites, untrained: None }
    }

    /// The same, and what is known of architectures without training them.
    pub fn describing(self, untrained: Option<Arc<Untrained>>) -> Self {
        Self { untrained, ..self }
    }

    /// What is known of architectures without training them.
    pub fn untrained(&self) -> Option<&Arc<Untrained>> {
        self.untrained.as_ref()
    }

    /// What is said of an objective, by its place; nothing where nothing is known.
    pub fn of(&self, objective: usize) -> Option<&Arc<Prior>> {
        self.priors.get(objective)?.as_ref()
    }

    /// Whether there is neither a past task nor anything that is known without training.
    pub fn is_empty(&self) -> bool {
        !self.is_known() && self.untrained.is_none()
    }

    /// Whether a past task says something of any objective.
    pub fn is_known(&self) -> bool {
        self.priors.iter().any(Option::is_some)
    }

    /// The best of earlier tasks.
    pub fn favourites(&self) -> &[Vec<u8>] {
        &self.favourites
    }
}

/// Every valid encoding of a small space.
pub struct Whole {
    /// u8 [encodings, decisions], by rank; also of encodings that are not valid.
    pub choices: Vec<u8>,
    /// Key of each encoding.
    pub keys: Vec<u64>,
    /// Whether each encoding is valid.
    pub valid: Vec<bool>,
    /// What the posteriors see of them.
    pub forms: WholeSpace,
}

impl Whole {
    /// All encodings of a space; `None` if they are too many.
    pub fn new(space: &SearchSpace, count: Count) -> Option<Self> {
        let forms = WholeSpace::new(space).ok()?;
        let size = space.size()?;
        let mut all = Self { choices: Vec::new(), keys: Vec::new(), valid: Vec::new(), forms };
        let mut choices = vec![0; space.len()];
        for rank in 0..size {
            space.unrank(rank, &mut choices);
            let valid = space.is_valid(&choices);
            all.valid.push(valid);
            all.keys.push(match count {
                Count::Classes if valid => space.canonical_key(&choices),
                _ => rank,
            });
            all.choices.extend_from_slice(&choices);
        }
        Some(all)
    }

    /// Number of distinct keys among valid encodings.
    pub fn distinct(&self) -> usize {
        let keys: HashSet<u64> =
            self.keys.iter().zip(&self.valid).filter(|(_, valid)| **valid).map(|(key, _)| *key).collect();
        keys.len()
    }
}

/// Why a text names no method.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum SpecError {
    /// No method has this name.
    #[error("unknown method `{name}`{hint}")]
    Unknown {
        /// The name as given.
        name: String,
        /// Known names, ready to print.
        hint: String,
    },
    /// The method has no such option.
    #[error("method `{method}` has no option `{option}`{hint}")]
    Option {
        /// The method.
        method: String,
        /// The option as given.
        option: String,
        /// Known options, ready to print.
        hint: String,
    },
    /// The option cannot have this value.
    #[error("method `{method}`: option `{option}` {reason}")]
    Value {
        /// The method.
        method: String,
        /// The option.
        option: String,
        /// What is wrong.
        reason: String,
    },
    /// The method cannot be used on this.
    #[error("method `{method}` {reason}")]
    Unfit {
        /// The method.
        method: String,
        /// Why not.
        reason: String,
    },
}

/// Methods that learn from past tasks, all but the first where they have the option `past=all`.
const PAST: [&str; 4] = ["transfer-gp", "two-phase", "screen", "mobo"];

/// A method by its name and options: `evolution`, `evolution:population=50,tournament=10`, `policy:runs/latest`,
/// `cmd:python3 solver.py`.
#[derive(Clone, Debug, PartialEq)]
pub struct MethodSpec {
    text: String,
    name: String,
    /// What follows the colon.
    rest: String,
}

/// Options of a method while they are read; what is left over is refused.
pub(crate) struct Options<'a> {
    method: &'a str,
    pairs: Vec<(&'a str, &'a str)>,
    known: Vec<&'static str>,
}

impl MethodSpec {
    /// The text that named it; also its label in reports.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its name without options.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What follows the colon: options, a policy's file, or a command.
    pub(crate) fn rest(&self) -> &str {
        &self.rest
    }

    /// The same method, that learns from the past tasks that it is given.
    ///
    /// # Errors
    /// A method that cannot.
    pub fn knowing_the_past(&self) -> Result<Self, SpecError> {
        let joint = if self.rest.is_empty() { ":" } else { "," };
        match self.knows_a_past() {
            true => Ok(self.clone()),
            false if self.rest.split(',').any(|option| option == "past=none") => {
                Err(self
                    .unfit("is to know no past (past=none), and --past gives it one; leave out one of them"))
            }
            false if PAST.contains(&self.name()) => format!("{}{joint}past=all", self.text).parse(),
            false => Err(self.unfit(format!("knows no earlier tasks; {} do", PAST.join(", ")))),
        }
    }

    /// The policy file of `policy:FILE` or `policy:DIR`, or of an agent that was trained.
    pub fn policy_file(&self) -> Option<PathBuf> {
        let of_agent = || self.rest.split(',').find_map(|option| option.strip_prefix("policy="));
        let file = match self.name() {
            "rc-nas" => of_agent()?,
            _ => self.policy()?.0,
        };
        Some(Policy::file(Path::new(file)))
    }

    /// The path of `policy:PATH,by=WORD`, and the word.
    pub(crate) fn policy(&self) -> Option<(&str, &str)> {
        (self.name == "policy").then(|| self.rest.rsplit_once(",by=").unwrap_or((&self.rest, "exported")))
    }

    /// Whether it learns from past tasks that it is given.
    pub fn knows_a_past(&self) -> bool {
        match self.name() {
            "transfer-gp" | "portfolio" => true,
            name => PAST.contains(&name) && self.rest.split(',').any(|option| option == "past=all"),
        }
    }

    /// Whether it makes something of what is known without training.
    pub fn knows_untrained(&self) -> bool {
        self.name() == "transfer-gp"
    }

    pub(crate) fn options(&self) -> Result<Options<'_>, SpecError> {
        let mut pairs = Vec::new();
        for part in self.rest.split(',').filter(|p| !p.is_empty()) {
            let (key, value) = part.split_once('=').ok_or_else(|| SpecError::Value {
                method: self.name.clone(),
                option: part.into(),
                reason: "needs a value: option=value".into(),
            })?;
            if pairs.iter().any(|(known, _)| *known == key) {
                let reason = "is given twice".into();
                return Err(SpecError::Value { method: self.name.clone(), option: key.into(), reason });
            }
            pairs.push((key, value));
        }
        Ok(Options { method: &self.name, pairs, known: Vec::new() })
    }

    pub(crate) fn unfit(&self, reason: impl Into<String>) -> SpecError {
        SpecError::Unfit { method: self.text.clone(), reason: reason.into() }
    }
}

impl FromStr for MethodSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        let known = || methods::METHODS.iter().map(|(known, _)| *known);
        if !known().any(|known| known == name) {
            let hint = did_you_mean(name, known());
            return Err(SpecError::Unknown { name: name.into(), hint });
        }
        Ok(Self { text: text.into(), name: name.into(), rest: rest.into() })
    }
}

impl fmt::Display for MethodSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'a> Options<'a> {
    fn take(&mut self, option: &'static str) -> Option<&'a str> {
        self.known.push(option);
        let at = self.pairs.iter().position(|(key, _)| *key == option)?;
        Some(self.pairs.remove(at).1)
    }

    fn wrong(&self, option: &str, reason: String) -> SpecError {
        SpecError::Value { method: self.method.into(), option: option.into(), reason }
    }

    /// A whole number within bounds.
    pub fn whole(&mut self, option: &'static str, default: usize, least: usize) -> Result<usize, SpecError> {
        let Some(text) = self.take(option) else { return Ok(default) };
        match text.parse() {
            Ok(number) if (least..=1_000_000).contains(&number) => Ok(number),
            _ => Err(self.wrong(option, format!("is `{text}`, not a whole number from {least} to 1000000"))),
        }
    }

    /// A finite number within bounds.
    pub fn number(&mut self, option: &'static str, default: f64, least: f64) -> Result<f64, SpecError> {
        let Some(text) = self.take(option) else { return Ok(default) };
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() && number >= least => Ok(number),
            _ => Err(self.wrong(option, format!("is `{text}`, not a number from {least} on"))),
        }
    }

    /// One of some words; the first is the default.
    pub fn word(&mut self, option: &'static str, words: &[&'static str]) -> Result<&'static str, SpecError> {
        let Some(text) = self.take(option) else { return Ok(words[0]) };
        words
            .iter()
            .find(|word| **word == text)
            .copied()
            .ok_or_else(|| self.wrong(option, format!("is `{text}`, not one of {}", words.join(", "))))
    }

    /// A text as it is; none where it is not given.
    pub fn text(&mut self, option: &'static str) -> Option<&'a str> {
        self.take(option)
    }

    /// A word, or a number.
    pub fn word_or_number(
        &mut self,
        option: &'static str,
        word: &str,
        default: f64,
    ) -> Result<Option<f64>, SpecError> {
        if self.has_word(option, word) { Ok(None) } else { self.number(option, default, 0.0).map(Some) }
    }

    /// A number, or a word, which is the default.
    pub fn number_or(&mut self, option: &'static str, word: &str) -> Result<Option<f64>, SpecError> {
        if self.has_word(option, word) || !self.pairs.iter().any(|(key, _)| *key == option) {
            self.known.push(option);
            return Ok(None);
        }
        self.number(option, 0.0, 0.0).map(Some)
    }

    /// A word, or a whole number.
    pub fn word_or_whole(
        &mut self,
        option: &'static str,
        word: &str,
        default: usize,
    ) -> Result<Option<usize>, SpecError> {
        if self.has_word(option, word) { Ok(None) } else { self.whole(option, default, 0).map(Some) }
    }

    /// Takes an option if it is this word.
    fn has_word(&mut self, option: &'static str, word: &str) -> bool {
        let has = self.pairs.iter().any(|(key, value)| *key == option && *value == word);
        if has {
            self.take(option);
        }
        has
    }

    /// Refuses what no method asked for.
    pub fn end(self) -> Result<(), SpecError> {
        let Some((option, _)) = self.pairs.first() else { return Ok(()) };
        let hint = did_you_mean(option, self.known.iter().copied());
        Err(SpecError::Option { method: self.method.into(), option: (*option).into(), hint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_options_are_read_and_refused_by_name() {
        let spec: MethodSpec = "evolution:population=50,tournament=10".parse().unwrap();
        let mut options = spec.options().unwrap();
        assert_eq!(options.whole("population", 100, 1).unwrap(), 50);
        assert_eq!(options.whole("tournament", 10, 1).unwrap(), 10);
        options.end().unwrap();

        let unknown = "evolutoin".parse::<MethodSpec>().unwrap_err().to_string();
        assert!(unknown.contains("`evolution`"), "{unknown}");
        let refused = |text: &str| {
            let spec: MethodSpec = text.parse().unwrap();
            let mut options = spec.options()?;
            options.whole("population", 100, 1)?;
            options.end()
        };
        for (text, says) in [
            ("evolution:populaton=5", "did you mean `population`"),
            ("evolution:population", "needs a value"),
            ("evolution:population=0", "not a whole number from 1"),
            ("evolution:population=x", "not a whole number"),
            ("evolution:population=5,population=6", "given twice"),
        ] {
            let error = refused(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
