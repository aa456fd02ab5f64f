//! Short trainings first: what they say is a past task of the full ones ([`super::past`]), and one of two rules says which to
//! pay for. *Two-phase* spends a fixed number of short trainings, then full ones only. *Screen first* takes the highest upper
//! bound among all architectures, and gives it a short training if it has had none, else the full one.
//!
//! Both look at what the full trainings say about the short ones: where these are seen to say nothing, they are left alone and
//! paid for no more.

use super::{
    Begin, MethodSpec, Preparation, SpecError, Starter, Whole,
    gp::{Acquisition, Gp, universal},
    past::completed,
    random::unmeasured,
};
use crate::method::{Method, MethodError, Training};
use hashbrown::{HashMap, HashSet};
use rand_chacha::ChaCha8Rng;
use srnas_common::{
    posterior::{Kind, PosteriorSettings, Prior},
    space::Choices,
};
use std::sync::Arc;

/// Full trainings after which short ones can be seen to say nothing.
const JUDGED_AFTER: usize = 4;

/// Which training to pay for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    TwoPhase,
    ScreenFirst,
}

pub fn prepare(spec: &MethodSpec, p: &Preparation, rule: Rule) -> Result<Starter, SpecError> {
    let mut options = spec.options()?;
    let first = match rule {
        Rule::TwoPhase => options.whole("short", 100, 1)?,
        Rule::ScreenFirst => options.whole("first", 64, 1)?,
    };
    // What short trainings say leaves less to explore than a past does: chosen on two of nb201's data sets (docs/results.md).
    let beta = options.number("beta", if rule == Rule::TwoPhase { 1.5 } else { 1.0 }, 0.0)? as f32;
    let mut settings = universal();
    settings.transfer.slope = options.number("slope", settings.transfer.slope.into(), 0.0)? as f32;
    settings.transfer.residual = options.number("residual", settings.transfer.residual.into(), 0.0)? as f32;
    options.end()?;
    if p.shorter == 0 {
        return Err(spec.unfit(super::NO_SHORTER));
    }
    Ok(Box::new(move |begin| {
        let whole =
            begin.whole.clone().ok_or_else(|| MethodError("the space is too large to be listed".into()))?;
        Ok(Box::new(Screening {
            rng: begin.rng(),
            levels: begin.shorter.iter().map(|_| Level::new(begin)).collect(),
            begin: begin.clone(),
            whole,
            rule,
            first,
            beta,
            settings,
            full: Vec::new(),
            measured: HashSet::new(),
        }))
    }))
}

/// What is known at one shorter training.
struct Level {
    gp: Gp,
    known: HashMap<u64, f32>,
}

impl Level {
    fn new(begin: &Begin) -> Self {
        // Room for as many as are ever asked for; a short training costs little, so there may be many.
        let begin = Begin { budget: MOST, ..begin.clone() };
        Self { gp: Gp::new(&begin, universal(), Kind::Plain, Acquisition::Bound(3.0)), known: HashMap::new() }
    }
}

/// Short trainings at each level at most: what a posterior is conditioned on.
const MOST: usize = 320;

struct Screening {
    begin: Begin,
    rng: ChaCha8Rng,
    whole: Arc<Whole>,
    rule: Rule,
    /// Short trainings before anything else.
    first: usize,
    beta: f32,
    settings: PosteriorSettings,
    levels: Vec<Level>,
    full: Vec<(Vec<u8>, f32)>,
    measured: HashSet<u64>,
}

impl Screening {
    /// The cheapest training: half of the first ones uniform, half by the upper bound of their own posterior.
    fn first_short(&mut self) -> Option<Training> {
        let level = &mut self.levels[0];
        let known: HashSet<u64> = level.known.keys().copied().collect();
        let choices = match known.len() < self.first.div_ceil(2) {
            true => unmeasured(&self.begin, &known, &mut self.rng),
            false => level.gp.ask_for(1).pop(),
        };
        choices.map(|choices| Training { choices, shorter: Some(0) })
    }

    /// What the short trainings and the full ones say together.
    fn posterior(&mut self) -> Result<Gp, MethodError> {
        let mut rows = Vec::new();
        let mut names = Vec::new();
        for (place, level) in self.levels.iter_mut().enumerate().filter(|(_, level)| !level.known.is_empty())
        {
            rows.extend(completed(&mut level.gp, &self.whole, &level.known));
            names.push(format!("shorter {place}"));
        }
        let prior = Prior::new(names.clone(), names, self.whole.keys.len(), rows)
            .map_err(|e| MethodError(e.to_string()))?;
        let past = (!prior.tasks().is_empty()).then(|| Arc::new(prior));
        let begin = Begin { past, budget: self.full.len() + 1, ..self.begin.clone() };
        let mut gp = Gp::new(&begin, self.settings, Kind::Transfer, Acquisition::Bound(self.beta));
        self.full.iter().for_each(|(choices, value)| gp.learn(choices, *value));
        Ok(gp)
    }
}

impl Method for Screening {
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
        Ok(self.ask_training()?.map(|training| training.choices))
    }

    fn ask_training(&mut self) -> Result<Option<Training>, MethodError> {
        let beginning = self.levels[0].known.len() < self.first.min(MOST);
        if let Some(training) = beginning.then(|| self.first_short()).flatten() {
            return Ok(Some(training));
        }
        let mut posterior = self.posterior()?;
        let says_nothing = self.full.len() >= JUDGED_AFTER && posterior.evidence().0 < 0.0;
        if says_nothing {
            posterior.follow(Kind::Plain);
        }
        let Some(choices) = posterior.ask_for(1).pop() else { return Ok(None) };
        let key = self.begin.key(&choices);
        let open =
            self.levels.iter().position(|level| !level.known.contains_key(&key) && level.known.len() < MOST);
        let shorter = open.filter(|_| self.rule == Rule::ScreenFirst && !says_nothing);
        Ok(Some(Training { choices, shorter }))
    }

    fn tell(&mut self, choices: &Choices, values: &[f32]) -> Result<(), MethodError> {
        if self.measured.insert(self.begin.key(choices)) {
            self.full.push((choices.to_vec(), values[0]));
        }
        Ok(())
    }

    fn tell_shorter(&mut self, training: &Training, value: f32) -> Result<(), MethodError> {
        let level = training.shorter.and_then(|place| self.levels.get_mut(place));
        let level = level.ok_or_else(|| MethodError("was told of a training that there is not".into()))?;
        if level.known.insert(self.begin.key(&training.choices), value).is_none() {
            level.gp.learn(&training.choices, value);
        }
        Ok(())
    }
}
