//! Short trainings first: what they say is a past task of the full ones ([`super::past`]), and one of two rules says which to
//! pay for. *Two-phase* ([`TwoPhase`]) spends a number of short trainings, then full ones only, each after the trainings of middle
//! length, if there are such. *Screen first* may be stopped at any time: it lets a full training in among the first short ones after
//! each few full trainings' worth of these, and then takes the highest upper bound among all architectures, and gives it a short training if
//! it has had none, else the full one.
//!
//! Both look at what the full trainings say about the short ones: where these are seen to say nothing, they are left alone and
//! paid for no more. Real past tasks count beside the short trainings as far as the evidence is for them.

use super::{
    Begin, MethodSpec, Past, Preparation, SLOPE_OF_PART, SpecError, Starter,
    gp::{Acquisition, Gp, universal},
    random::unmeasured,
    transfer::{NO_PAST, past_of},
};
use crate::method::{Method, MethodError};
use hashbrown::{HashMap, HashSet};
use rand_chacha::ChaCha8Rng;
use srnas_predictor::{Besides, Counted, Expectation, Joint, Kind, PosteriorSettings, Prior, Turn, TwoPhase};
use srnas_space::Choices;
use srnas_task::{Fidelity, Training};
use std::sync::Arc;

/// If so many short trainings in a row, the first ones, have no value, no more are paid for.
pub const HOPELESS: usize = 5;
/// Who screens makes so many short trainings to a full one, after the first ones.
const TO_A_FULL: usize = 3;
/// Short trainings at each level at most: what a posterior is conditioned on.
const MOST: usize = 320;

/// Which training to pay for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    TwoPhase,
    ScreenFirst,
}

/// A rule with its numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScreeningSettings {
    rule: Rule,
    /// Short trainings before anything else.
    first: usize,
    /// A full one is let in among them after each so many full trainings' worth; none where they come one after another.
    pace: Option<f64>,
    /// How far above the mean the bound lies; none goes by the evidence.
    beta: Option<f32>,
    /// What does not go by the evidence.
    counted: Counted,
    posterior: PosteriorSettings,
}

impl ScreeningSettings {
    /// What docs/results.md says was chosen, and on what.
    pub fn of(rule: Rule) -> Self {
        let pace = (rule == Rule::ScreenFirst).then_some(TwoPhase::PACE);
        Self { rule, first: 100, pace, beta: None, counted: Counted::default(), posterior: universal() }
    }
}

pub fn prepare(
    spec: &MethodSpec,
    p: &Preparation,
    rule: Rule,
) -> Result<(Starter, Option<Arc<Prior>>), SpecError> {
    let mut settings = ScreeningSettings::of(rule);
    let mut options = spec.options()?;
    let transfer = &mut settings.posterior.transfer;
    if p.known.is_known() {
        transfer.slope = SLOPE_OF_PART;
    }
    transfer.slope = options.number("slope", transfer.slope.into(), 0.0)? as f32;
    let past = options.word("past", &["none", "all"])? == "all";
    settings.beta = options.number_or("beta", "evidence")?.map(|beta| beta as f32);
    settings.counted.residual = options.number_or("residual", "evidence")?.map(|residual| residual as f32);
    settings.counted.share = options.number_or("share", "evidence")?.map(|share| share as f32);
    let first = if rule == Rule::TwoPhase { "short" } else { "first" };
    settings.first = options.whole(first, settings.first, 1)?;
    settings.pace =
        options.word_or_number("pace", "none", settings.pace.unwrap_or_default())?.filter(|pace| *pace > 0.0);
    options.end()?;
    if p.shorter == 0 {
        return Err(spec.unfit(super::NO_SHORTER));
    }
    let past = match past {
        false => None,
        true => Some(past_of(spec, p, None, universal())?.ok_or_else(|| spec.unfit(NO_PAST))?),
    };
    let known = past.clone();
    let start: Starter = Box::new(move |begin| {
        let past = Past::several(vec![known.clone()], begin.past.favourites().to_vec());
        let begin = Begin { past, ..begin.clone() };
        let favourites = begin.past.favourites().to_vec();
        Ok(Box::new(Screening::new(&begin, settings).near(favourites)))
    });
    Ok((start, past))
}

/// What is known at one shorter training.
struct Level {
    gp: Gp,
    known: HashMap<u64, f32>,
    told: Vec<(Vec<u8>, f32)>,
    /// Trainings that had no value.
    failed: HashSet<u64>,
    /// Trainings under way.
    running: HashSet<u64>,
}

impl Level {
    fn new(begin: &Begin) -> Self {
        // Room for as many as are ever asked for; a short training costs little, so there may be many.
        let begin = Begin { budget: MOST, past: Past::default(), ..begin.clone() };
        let gp = Gp::new(&begin, universal(), Kind::Plain, Acquisition::Bound(TwoPhase::BETA));
        Self { gp, known: HashMap::new(), told: Vec::new(), failed: HashSet::new(), running: HashSet::new() }
    }

    /// Whether an architecture had its training here.
    fn has(&self, key: u64) -> bool {
        self.known.contains_key(&key) || self.failed.contains(&key) || self.running.contains(&key)
    }

    /// The architectures that had their training here, or have it now.
    fn tried(&self) -> HashSet<u64> {
        self.known.keys().chain(&self.failed).chain(&self.running).copied().collect()
    }

    /// Whether nothing of what was tried here had a value.
    fn is_hopeless(&self) -> bool {
        self.known.is_empty() && self.failed.len() >= HOPELESS
    }

    fn learn(&mut self, key: u64, choices: &Choices, value: f32) {
        if self.told.len() < MOST && self.known.insert(key, value).is_none() {
            self.gp.learn(choices, value);
            self.told.push((choices.to_vec(), value));
        }
    }
}

/// A search that pays for shorter trainings. The past of its `Begin` is real past tasks.
pub(crate) struct Screening {
    begin: Begin,
    rng: ChaCha8Rng,
    settings: ScreeningSettings,
    two_phase: TwoPhase,
    levels: Vec<Level>,
    full: Vec<(Vec<u8>, f32)>,
    /// Full trainings under way.
    running: Vec<Vec<u8>>,
    measured: HashSet<u64>,
    /// Whether the full trainings are against what is known besides.
    says_nothing: bool,
    /// Never to be trained again.
    excluded: Vec<Vec<u8>>,
    /// Where a space is too large to be listed, it is looked near these too.
    favourites: Vec<Vec<u8>>,
}

impl Screening {
    pub fn new(begin: &Begin, settings: ScreeningSettings) -> Self {
        let cheapest = begin.shorter.first().copied().unwrap_or(1.0);
        let two_phase = TwoPhase::new(settings.first.min(MOST), cheapest, begin.budget);
        Self {
            two_phase: settings.pace.map_or(two_phase, |pace| two_phase.interleaved(pace, cheapest)),
            rng: begin.rng(),
            levels: begin.shorter.iter().map(|_| Level::new(begin)).collect(),
            begin: begin.clone(),
            settings,
            full: Vec::new(),
            running: Vec::new(),
            measured: HashSet::new(),
            says_nothing: false,
            excluded: Vec::new(),
            favourites: Vec::new(),
        }
    }

    /// Looks near these too, in a space that is too large to be listed.
    pub fn near(self, favourites: Vec<Vec<u8>>) -> Self {
        Self { favourites, ..self }
    }

    /// A shorter training of which nothing is expected yet: it counts as done.
    pub fn tell_running(&mut self, training: &Training) -> Result<(), MethodError> {
        let key = self.begin.key(&training.choices);
        let level = level(&mut self.levels, training.fidelity.place().unwrap_or(usize::MAX))?;
        level.running.insert(key);
        level.gp.skip(&training.choices);
        Ok(())
    }

    /// Never asks for this architecture again, and says nothing of it.
    pub fn exclude(&mut self, choices: &Choices) {
        self.excluded.push(choices.to_vec());
    }

    /// Whether the shorter trainings are given up because none of the first had a value.
    pub fn is_hopeless(&self) -> bool {
        self.levels.first().is_some_and(Level::is_hopeless)
    }

    /// What a shorter training is expected to say, in units of what is maximised; of full ones [`Self::posterior`] knows.
    pub fn shorter_mean(&mut self, choices: &Choices, place: usize) -> Result<f32, MethodError> {
        Ok(level(&mut self.levels, place)?.gp.mean_of(choices))
    }

    /// One of the first short trainings.
    fn first_short(&mut self) -> Option<Training> {
        let level = self.levels.first_mut().filter(|level| !level.is_hopeless())?;
        let known = level.tried();
        let choices = match self.two_phase.turn(known.len(), self.full.len() + self.running.len()) {
            Turn::Random => unmeasured(&self.begin, &known, &mut self.rng),
            Turn::Bound => level.gp.ask_next(),
            Turn::Full => None,
        };
        choices.map(|choices| Training::shorter(choices, 0))
    }

    /// What the shorter trainings say, each level as a task; none where there is nothing.
    fn said_by_shorter(&mut self) -> Result<Option<Prior>, MethodError> {
        let (mut rows, mut names, mut expected) = (Vec::new(), Vec::new(), Vec::new());
        for (place, level) in self.levels.iter_mut().enumerate().filter(|(_, level)| !level.told.is_empty()) {
            let name = format!("shorter {place}");
            match &self.begin.whole {
                Some(whole) => {
                    rows.extend(level.gp.completed(whole, &level.known));
                    names.push(name);
                }
                None => {
                    let told: Vec<(&[u8], f32)> =
                        level.told.iter().map(|(c, value)| (&c[..], *value)).collect();
                    expected.push((name, Expectation::new(&self.begin.space, &universal().plain, &told)));
                }
            }
        }
        match (&self.begin.whole, names.is_empty() && expected.is_empty()) {
            (_, true) => Ok(None),
            (None, _) => Ok(Some(Prior::expected(expected))),
            (Some(whole), _) => {
                let prior = Prior::new(names.clone(), names, whole.keys.len(), rows);
                Ok(Some(prior.map_err(|e| MethodError(e.to_string()))?))
            }
        }
    }

    /// Everything that says something about full trainings, and how much of it counts: what the evidence is for.
    pub fn posterior(&mut self) -> Result<Gp, MethodError> {
        let shorter = self.said_by_shorter()?;
        let past = self.begin.past.of(0).cloned().map(|past| (past.all(), past));
        let past = past.as_ref().map(|(weights, past)| (past, &weights[..]));
        let (space, settings) = (&self.begin.space, &self.settings.posterior);
        let besides = Besides::new(shorter, past);
        let joint = besides.weighed(space, settings, &self.full, self.settings.counted);
        let settings = joint.settings(settings);
        let points = self.full.len() + self.running.len() + 1;
        let begin = Begin { past: Past::one(besides.prior().cloned()), budget: points, ..self.begin.clone() };
        let bound = Acquisition::Bound(self.settings.beta.unwrap_or(3.0));
        let mut gp = Gp::new(&begin, settings, Kind::Transfer, bound).near(self.favourites.clone());
        if besides.prior().is_some() {
            gp = gp.weighing(&joint.weights);
        }
        self.full.iter().for_each(|(choices, value)| gp.learn(choices, *value));
        // Nothing of what has failed short, unless they all have.
        for level in self.levels.iter().filter(|level| !level.is_hopeless()) {
            level.failed.iter().for_each(|key| gp.skip_key(*key));
        }
        self.excluded.iter().for_each(|choices| gp.skip(choices));
        let (over_plain, transfer) = gp.evidence();
        self.says_nothing = joint.says_nothing(over_plain, transfer);
        if self.full.is_empty() {
            // The scale and sign of what is known are open, and an upper bound likes best what was worst.
            gp.bound_by(0.0);
        } else if self.settings.beta.is_none() {
            gp.bound_by(Joint::beta(over_plain));
        }
        // A longer training waits for what the shorter one says.
        self.levels.iter().flat_map(|level| &level.running).for_each(|key| gp.skip_key(*key));
        for choices in &self.running {
            match self.full.is_empty() {
                true => gp.skip(choices),
                false => {
                    let mean = gp.mean_of(choices);
                    gp.learn(choices, mean);
                }
            }
        }
        Ok(gp)
    }
}

fn level(levels: &mut [Level], place: usize) -> Result<&mut Level, MethodError> {
    levels.get_mut(place).ok_or_else(|| MethodError("was told of a training that there is not".into()))
}

impl Method for Screening {
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
        Ok(self.ask_training()?.map(|training| training.choices))
    }

    fn ask_training(&mut self) -> Result<Option<Training>, MethodError> {
        if let Some(training) = self.first_short() {
            return Ok(Some(training));
        }
        let mut posterior = self.posterior()?;
        let says_nothing = self.is_hopeless() || self.says_nothing;
        if self.says_nothing {
            posterior.follow(Kind::Plain);
        }
        // Of what is new there is always something that promises more.
        let (tried, first) = (self.levels[0].tried().len(), self.two_phase.first());
        let enough = tried < first || tried - first >= TO_A_FULL * (self.full.len() + self.running.len() + 1);
        let enough = enough && self.settings.rule == Rule::ScreenFirst && !says_nothing;
        let known = enough.then(|| self.levels[0].told.iter().map(|(choices, _)| choices.clone()).collect());
        let known = known.and_then(|known| posterior.ask_among(known));
        let Some(choices) = known.or_else(|| posterior.ask_for(1).pop()) else { return Ok(None) };
        let key = self.begin.key(&choices);
        let is_open = |place: usize| !self.levels[place].has(key) && self.levels[place].told.len() < MOST;
        let fidelity = match self.settings.rule {
            _ if says_nothing => Fidelity::Full,
            Rule::ScreenFirst if is_open(0) => Fidelity::Shorter(0),
            _ => TwoPhase::length(self.levels.len(), is_open),
        };
        Ok(Some(Training { choices, fidelity }))
    }

    fn tell(&mut self, choices: &Choices, values: &[f32]) -> Result<(), MethodError> {
        self.running.retain(|running| running != choices);
        if self.measured.insert(self.begin.key(choices)) {
            self.full.push((choices.to_vec(), values[0]));
        }
        Ok(())
    }

    fn tell_shorter(&mut self, training: &Training, value: f32) -> Result<(), MethodError> {
        let key = self.begin.key(&training.choices);
        let place = training.fidelity.place().unwrap_or(usize::MAX);
        let level = level(&mut self.levels, place)?;
        level.running.remove(&key);
        level.learn(key, &training.choices, value);
        Ok(())
    }

    /// The worst that its kind has had so far. What fails when it is short is not trained longer.
    fn tell_infeasible(&mut self, training: &Training, _worst: Option<&[f32]>) -> Result<(), MethodError> {
        let key = self.begin.key(&training.choices);
        let Fidelity::Shorter(place) = training.fidelity else {
            self.running.retain(|running| *running != training.choices);
            match self.full.iter().map(|(_, value)| *value).reduce(f32::min) {
                Some(worst) => self.tell(&training.choices, &[worst])?,
                None => self.exclude(&training.choices),
            }
            return Ok(());
        };
        let level = level(&mut self.levels, place)?;
        level.running.remove(&key);
        level.failed.insert(key);
        level.gp.skip(&training.choices);
        if let Some(worst) = level.told.iter().map(|(_, value)| *value).reduce(f32::min) {
            level.learn(key, &training.choices, worst);
        }
        Ok(())
    }

    fn begun(&mut self, training: &Training) {
        let level = training.fidelity.place().and_then(|place| self.levels.get_mut(place));
        match level {
            Some(level) => {
                level.running.insert(self.begin.key(&training.choices));
                level.gp.begun(training);
            }
            None => self.running.push(training.choices.clone()),
        }
    }

    fn concurrent(&self) -> bool {
        true
    }
}
