//! Candidates, the actions of a step, and the pool in which the predictor looks for its proposals.

use super::{CandidateMode, Environment, predictors::Predictors};
use hashbrown::{HashMap, HashSet};
use rand::{Rng, seq::SliceRandom};
use srnas_predictor::{Beliefs, Kind, TwoPhase};
use srnas_space::SearchSpace;
use srnas_task::{Fidelity, Measurable};
use std::sync::Arc;

/// Where a candidate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateKind {
    /// A neighbour of the current architecture.
    Edit,
    /// Back to the incumbent, free.
    Return,
    /// What a posterior would measure next.
    Proposal,
    /// A random architecture.
    Random,
}

/// An architecture that the policy may move to next.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Rank of its encoding.
    pub rank: u64,
    /// Key by which it is paid for.
    pub key: u64,
    /// Where it comes from.
    pub kind: CandidateKind,
    /// Already measured in this episode: moving there is free.
    pub measured: bool,
    /// How long it is to be trained. After a shorter training the walk stays where it is.
    pub fidelity: Fidelity,
    /// What it costs, in full trainings, if it is not measured.
    pub cost: f64,
    /// Its slot in the predictor, if it has one.
    pub(super) slot: Option<usize>,
}

impl Candidate {
    fn full(rank: u64, key: u64, kind: CandidateKind, measured: bool, slot: Option<usize>) -> Self {
        Self { rank, key, kind, measured, fidelity: Fidelity::Full, cost: 1.0, slot }
    }
}

/// The architectures in the predictor's slots, and the candidates made from them.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    layout: Layout,
    /// u8 [slots, decisions]; empty where slot = rank.
    choices: Vec<u8>,
    ranks: Vec<u64>,
    keys: Vec<u64>,
    edits: Vec<usize>,
    scratch: Vec<u8>,
}

/// Which slots hold what.
#[derive(Clone, Debug)]
enum Layout {
    Whole { slots: usize },
    Sampled { fixed: usize, around: usize, edits: usize },
}

/// Where a walk stands: what candidates are made from.
#[derive(Clone, Copy)]
pub(super) struct Standing<'a> {
    pub env: &'a Environment,
    pub what: &'a Measurable,
    pub current: &'a [u8],
    /// Rank and key of the incumbent; `None` while the walk stands there.
    pub incumbent: Option<(u64, u64)>,
    /// Values of full trainings by key.
    pub measured: &'a HashMap<u64, f32>,
    /// Keys of what is under way, or has no value.
    pub closed: &'a HashSet<u64>,
}

impl Standing<'_> {
    /// Whether an architecture may be trained so long, by its rank and key.
    fn is_open(&self, fidelity: Fidelity, rank: u64, key: u64) -> bool {
        self.env.is_valid(rank) && self.what.has(fidelity, rank) && !self.closed.contains(&key)
    }
}

/// At most so many neighbours are looked at before [`super::EnvironmentConfig::max_edits`] of them become candidates.
const LOOKED_AT: usize = 4;

impl Pool {
    pub(super) fn new(env: &Environment) -> Self {
        let space = &env.space;
        let neighbours: usize = (0..space.len()).map(|d| space.arity(d) as usize - 1).sum();
        let edits = neighbours.min(LOOKED_AT * env.config.max_edits);
        let whole = env.whole.as_ref().map(|_| space.size().expect("enumerable") as usize);
        let layout = match whole {
            Some(slots) => Layout::Whole { slots },
            None => {
                let around = if env.config.posteriors { 2 * neighbours.min(env.config.max_edits) } else { 0 };
                // One slot more for the random candidate.
                let fixed = if env.config.posteriors {
                    env.config.pool.saturating_sub(around + edits).max(16) + 1
                } else {
                    1
                };
                Layout::Sampled { fixed, around, edits }
            }
        };
        let slots = match layout {
            Layout::Whole { .. } => 0,
            Layout::Sampled { fixed, around, edits } => fixed + around + edits,
        };
        Self {
            layout,
            choices: vec![0; slots * space.len()],
            ranks: vec![0; slots],
            keys: vec![0; slots],
            edits: Vec::with_capacity(neighbours),
            scratch: vec![0; space.len()],
        }
    }

    /// Number of slots that the predictor must have.
    pub(super) fn slots(&self) -> usize {
        match self.layout {
            Layout::Whole { slots } => slots,
            Layout::Sampled { .. } => self.ranks.len(),
        }
    }

    /// New random architectures and the training tasks' best (of the tasks that are not left out) for an episode.
    pub(super) fn restart(
        &mut self,
        env: &Environment,
        what: &Measurable,
        weights: &[f32],
        predictor: Option<&mut Predictors>,
        rng: &mut impl Rng,
    ) {
        let Layout::Sampled { fixed, .. } = self.layout else { return };
        let d = env.space.len();
        let best = fixed / 3;
        let mut filled = 0;
        for (t, choices) in &env.prior_best {
            if filled == best {
                break;
            }
            if weights[*t] > 0.0 && !self.ranks[..filled].contains(&env.space.rank(choices)) {
                self.choices[filled * d..(filled + 1) * d].copy_from_slice(choices);
                self.enter(filled, &env.space, what);
                filled += 1;
            }
        }
        for slot in filled..fixed {
            env.space.sample(rng, &mut self.choices[slot * d..(slot + 1) * d]);
            self.enter(slot, &env.space, what);
        }
        // Places that are not filled yet repeat the first slot: duplicates are harmless, empty slots would not be.
        for slot in fixed..self.ranks.len() {
            self.choices.copy_within(0..d, slot * d);
            self.enter(slot, &env.space, what);
        }
        if let Some(p) = predictor {
            p.place(0, &self.choices, &self.ranks);
        }
    }

    fn enter(&mut self, slot: usize, space: &SearchSpace, what: &Measurable) {
        let d = space.len();
        let choices = &self.choices[slot * d..(slot + 1) * d];
        self.ranks[slot] = space.rank(choices);
        self.keys[slot] = what.key(space, choices, self.ranks[slot]);
    }

    /// The incumbent's neighbours and as many of their mutations take their slots.
    pub(super) fn move_incumbent(
        &mut self,
        env: &Environment,
        what: &Measurable,
        incumbent: &[u8],
        predictor: Option<&mut Predictors>,
        rng: &mut impl Rng,
    ) {
        let Layout::Sampled { fixed, around, .. } = self.layout else { return };
        if around == 0 {
            return;
        }
        let d = env.space.len();
        let near = self.fill_neighbours(env, what, incumbent, fixed, around / 2, rng);
        for k in 0..around / 2 {
            // A mutation of a neighbour: one more edit.
            let (from, to) = (fixed + k % near.max(1), fixed + around / 2 + k);
            self.choices.copy_within(from * d..(from + 1) * d, to * d);
            let choices = &mut self.choices[to * d..(to + 1) * d];
            let decision = rng.random_range(0..d);
            let before = choices[decision];
            choices[decision] = rng.random_range(0..env.space.arity(decision));
            if !env.space.is_valid(choices) {
                choices[decision] = before;
            }
            self.enter(to, &env.space, what);
        }
        if let Some(p) = predictor {
            self.place(p, d, fixed, around);
        }
    }

    fn place(&self, predictor: &mut Predictors, d: usize, start: usize, n: usize) {
        predictor.place(start, &self.choices[start * d..(start + n) * d], &self.ranks[start..start + n]);
    }

    /// Writes up to `n` neighbours (a random subset of them if there are more) into the slots from `start` on, the rest
    /// repeats the first. Returns how many are different.
    fn fill_neighbours(
        &mut self,
        env: &Environment,
        what: &Measurable,
        of: &[u8],
        start: usize,
        n: usize,
        rng: &mut impl Rng,
    ) -> usize {
        let (space, d) = (&env.space, env.space.len());
        self.scratch.copy_from_slice(of);
        let all: usize = (0..d).map(|i| space.arity(i) as usize - 1).sum();
        let own_rank = space.rank(of);
        let mut written = 0;
        let mut offered = 0;
        let (choices, ranks) = (&mut self.choices, &mut self.ranks);
        space.for_each_edit(&mut self.scratch, |edited, decision, to| {
            offered += 1;
            // Reservoir sampling keeps a uniform subset where there are more neighbours than places.
            let place = if written < n {
                written += 1;
                written - 1
            } else {
                let k = rng.random_range(0..offered);
                if k >= n {
                    return;
                }
                k
            };
            let slot = start + place;
            choices[slot * d..(slot + 1) * d].copy_from_slice(edited);
            ranks[slot] =
                space.rank_after(own_rank, decision, of[decision], to).unwrap_or_else(|| space.rank(edited));
        });
        debug_assert!(offered <= all);
        for slot in start..start + written {
            self.keys[slot] = what.key(space, &self.choices[slot * d..(slot + 1) * d], self.ranks[slot]);
        }
        for slot in start + written..start + n {
            // Without any neighbour the architecture itself stands in; it is measured and so never proposed.
            if written == 0 {
                self.choices[slot * d..(slot + 1) * d].copy_from_slice(of);
            } else {
                self.choices.copy_within(start * d..(start + 1) * d, slot * d);
            }
            self.enter(slot, space, what);
        }
        written
    }

    /// Makes the candidates of a step.
    pub(super) fn candidates(
        &mut self,
        at: Standing,
        mut predictor: Option<&mut Predictors>,
        rng: &mut impl Rng,
        out: &mut Vec<Candidate>,
    ) {
        out.clear();
        self.edit_candidates(at, predictor.as_deref_mut(), rng, out);
        if let Some((rank, key)) = at.incumbent {
            out.push(Candidate::full(rank, key, CandidateKind::Return, true, None));
        }
        if at.env.config.candidates == CandidateMode::Proposals {
            if let Some(p) = predictor.as_deref_mut() {
                self.proposals(at, p, rng, out);
            }
            self.random_candidate(at, predictor, rng, out);
        }
    }

    fn edit_candidates(
        &mut self,
        at: Standing,
        mut predictor: Option<&mut Predictors>,
        rng: &mut impl Rng,
        out: &mut Vec<Candidate>,
    ) {
        let Standing { env, what, current, measured, .. } = at;
        let (space, d) = (&env.space, env.space.len());
        self.edits.clear();
        // For a whole space the slots of the edits are their ranks; for a pool they are placed.
        match self.layout {
            Layout::Whole { .. } => {
                self.scratch.copy_from_slice(current);
                let edits = &mut self.edits;
                space
                    .for_each_edit(&mut self.scratch, |edited, _, _| edits.push(space.rank(edited) as usize));
            }
            Layout::Sampled { fixed, around, edits } => {
                let start = fixed + around;
                let n = self.fill_neighbours(env, what, current, start, edits, rng);
                if let Some(p) = predictor.as_deref_mut() {
                    self.place(p, d, start, edits);
                }
                self.edits.extend(start..start + n);
            }
        }
        for &slot in &self.edits {
            let (rank, key) = self.rank_and_key(env, what, slot);
            if at.is_open(Fidelity::Full, rank, key) {
                let measured = measured.contains_key(&key);
                out.push(Candidate::full(rank, key, CandidateKind::Edit, measured, Some(slot)));
            }
        }
        // Measured neighbours may be walked over again only where no other is left.
        if out.iter().any(|c| !c.measured) {
            out.retain(|c| !c.measured);
        }
        let most = env.config.max_edits;
        if out.len() > most {
            let ranked = match predictor {
                Some(p) => {
                    let (kind, beta) = p.rule();
                    let beliefs = p.full.beliefs();
                    let bound = |c: &Candidate| {
                        let (m, s) = beliefs.of(kind, c.slot.expect("edits have slots"));
                        m + beta * s
                    };
                    out.sort_by(|a, b| bound(b).total_cmp(&bound(a)).then(a.rank.cmp(&b.rank)));
                    most / 2
                }
                None => 0,
            };
            out[ranked..].shuffle(rng);
            out.truncate(most);
        }
    }

    fn rank_and_key(&self, env: &Environment, what: &Measurable, slot: usize) -> (u64, u64) {
        match self.layout {
            Layout::Whole { .. } => (slot as u64, env.whole_key(what.count(), slot as u64)),
            Layout::Sampled { .. } => (self.ranks[slot], self.keys[slot]),
        }
    }

    /// For each β the unmeasured architecture with the highest bound in each posterior and in their mixture.
    fn proposals(
        &self,
        at: Standing,
        predictor: &mut Predictors,
        rng: &mut impl Rng,
        out: &mut Vec<Candidate>,
    ) {
        let Standing { env, what, measured, .. } = at;
        let slots = predictor.full.slots();
        // Many bounds are equal while little is measured, and neighbouring ranks are alike: start anywhere.
        let first = rng.random_range(0..slots);
        // The slot of the random candidate is about to be overwritten.
        let volatile = match self.layout {
            Layout::Whole { .. } => None,
            Layout::Sampled { fixed, .. } => Some(fixed - 1),
        };
        let has_prior = predictor.full.has_prior();
        // Where there are shorter trainings the rule's own bound moves with the evidence.
        let own = (!predictor.levels.is_empty()).then(|| predictor.rule());
        let beliefs = predictor.full.beliefs();
        let share = 1.0 / (1.0 + (-beliefs.evidence).exp());
        let sources = [Source::Transfer, Source::Plain, Source::Mixture];
        let asked = env.config.betas.iter().flat_map(|&beta| sources.map(|source| (source, beta)));
        let own = own.map(
            |(kind, beta)| if kind == Kind::Plain { (Source::Plain, beta) } else { (Source::Transfer, beta) },
        );
        for (source, beta) in asked.chain(own) {
            if !has_prior && source != Source::Plain {
                continue;
            }
            let mut best: Option<(f32, Candidate)> = None;
            for slot in (first..slots).chain(0..first) {
                let bound = source.bound(beliefs, slot, beta, share);
                if best.is_some_and(|(b, _)| bound <= b) || volatile == Some(slot) {
                    continue;
                }
                let (rank, key) = self.rank_and_key(env, what, slot);
                if !measured.contains_key(&key) && at.is_open(Fidelity::Full, rank, key) {
                    let kind = CandidateKind::Proposal;
                    best = Some((bound, Candidate::full(rank, key, kind, false, Some(slot))));
                }
            }
            if let Some((_, candidate)) = best
                && !out.iter().any(|c| c.kind == CandidateKind::Proposal && c.rank == candidate.rank)
            {
                out.push(candidate);
            }
        }
    }

    /// What the base rule measures next, without the other candidates; nothing where these are needed to tell, or where nothing is left.
    pub(super) fn rule_candidate(
        &self,
        at: Standing,
        predictor: &mut Predictors,
        rng: &mut impl Rng,
    ) -> Option<Candidate> {
        let Layout::Whole { slots } = self.layout else { return None };
        let (kind, beta) = predictor.rule();
        let beliefs = predictor.full.beliefs();
        let first = rng.random_range(0..slots);
        let mut best: Option<(f32, Candidate)> = None;
        for slot in (first..slots).chain(0..first) {
            let (mean, deviation) = beliefs.of(kind, slot);
            let bound = mean + beta * deviation;
            if best.is_some_and(|(highest, _)| bound <= highest) {
                continue;
            }
            let (rank, key) = self.rank_and_key(at.env, at.what, slot);
            if !at.measured.contains_key(&key) && at.is_open(Fidelity::Full, rank, key) {
                let kind = CandidateKind::Proposal;
                best = Some((bound, Candidate::full(rank, key, kind, false, Some(slot))));
            }
        }
        best.map(|(_, candidate)| candidate)
    }

    /// Shorter trainings, where a full one can still be paid after them with what is `left`: for each length what its own
    /// posterior promises most, what that of the full trainings does, and a random one.
    pub(super) fn shorter_candidates(
        &self,
        at: Standing,
        left: f64,
        predictors: &mut Predictors,
        rng: &mut impl Rng,
        out: &mut Vec<Candidate>,
    ) {
        let Standing { env, what, measured, .. } = at;
        let (kind, beta) = predictors.rule();
        let Predictors { full, levels, .. } = predictors;
        let slots = full.slots();
        let beliefs = full.beliefs();
        // Random architectures stand in the first slots, the last of them is about to be overwritten.
        let random = match self.layout {
            Layout::Whole { slots } => slots,
            Layout::Sampled { fixed, .. } => fixed - 1,
        };
        let first = rng.random_range(0..slots);
        for (place, level) in levels.iter_mut().enumerate() {
            if !level.is_open(env) || left - level.cost < 1.0 - super::ROUNDING {
                continue;
            }
            let before = out.len();
            let (known, fidelity, cost) = (&level.known, Fidelity::Shorter(place), level.cost);
            let open = |slot: usize, kind: CandidateKind| {
                let (rank, key) = self.rank_and_key(env, what, slot);
                let new = !known.contains_key(&key) && !measured.contains_key(&key);
                (new && at.is_open(fidelity, rank, key)).then_some(Candidate {
                    fidelity,
                    cost,
                    ..Candidate::full(rank, key, kind, false, Some(slot))
                })
            };
            let own = level.predictor.beliefs();
            let bounds: [&dyn Fn(usize) -> f32; 3] = [
                &|slot| own.plain_mean[slot] + TwoPhase::BETA * own.plain_deviation[slot],
                &|slot| {
                    let (mean, deviation) = beliefs.of(kind, slot);
                    mean + beta * deviation
                },
                &|slot| {
                    let (mean, deviation) = beliefs.of(kind, slot);
                    mean + 0.5 * deviation
                },
            ];
            for bound in bounds {
                let mut best: Option<(f32, Candidate)> = None;
                for slot in (first..slots).chain(0..first) {
                    let bound = bound(slot);
                    if best.is_none_or(|(b, _)| bound > b)
                        && let Some(candidate) = open(slot, CandidateKind::Proposal)
                    {
                        best = Some((bound, candidate));
                    }
                }
                if let Some((_, candidate)) = best
                    && !out[before..].iter().any(|c| c.rank == candidate.rank)
                {
                    out.push(candidate);
                }
            }
            const DRAWS: usize = 20;
            let drawn = (0..DRAWS).find_map(|_| open(rng.random_range(0..random), CandidateKind::Random));
            out.extend(drawn);
        }
    }

    /// Architectures in the slots and their ranks; nothing for a whole space.
    pub(super) fn architectures(&self) -> (&[u8], &[u64]) {
        (&self.choices, &self.ranks)
    }

    fn random_candidate(
        &mut self,
        at: Standing,
        predictor: Option<&mut Predictors>,
        rng: &mut impl Rng,
        out: &mut Vec<Candidate>,
    ) {
        let Standing { env, what, measured, .. } = at;
        // A few draws: in a space that is nearly exhausted there may be nothing new to find.
        const DRAWS: usize = 20;
        let d = env.space.len();
        for _ in 0..DRAWS {
            env.space.sample(rng, &mut self.scratch);
            let rank = env.space.rank(&self.scratch);
            let key = what.key(&env.space, &self.scratch, rank);
            if measured.contains_key(&key) || !at.is_open(Fidelity::Full, rank, key) {
                continue;
            }
            let slot = match self.layout {
                Layout::Whole { .. } => rank as usize,
                Layout::Sampled { fixed, .. } => {
                    let slot = fixed - 1;
                    self.choices[slot * d..(slot + 1) * d].copy_from_slice(&self.scratch);
                    (self.ranks[slot], self.keys[slot]) = (rank, key);
                    if let Some(p) = predictor {
                        self.place(p, d, slot, 1);
                    }
                    slot
                }
            };
            out.push(Candidate::full(rank, key, CandidateKind::Random, false, Some(slot)));
            return;
        }
    }

    /// The slot of an architecture, in a sampled pool that of the random candidate: its mean can be asked for until the next
    /// candidates are made.
    pub(super) fn hold(
        &mut self,
        env: &Environment,
        what: &Measurable,
        choices: &[u8],
        predictor: &mut Predictors,
    ) -> usize {
        let d = env.space.len();
        match self.layout {
            Layout::Whole { .. } => env.space.rank(choices) as usize,
            Layout::Sampled { fixed, .. } => {
                let slot = fixed - 1;
                self.choices[slot * d..(slot + 1) * d].copy_from_slice(choices);
                self.enter(slot, &env.space, what);
                self.place(predictor, d, slot, 1);
                slot
            }
        }
    }

    /// Choices of a candidate, written into `out`.
    pub(super) fn choices_of(&self, space: &Arc<SearchSpace>, candidate: &Candidate, out: &mut [u8]) -> bool {
        match (&self.layout, candidate.slot) {
            (Layout::Whole { .. }, _) => space.unrank(candidate.rank, out),
            (Layout::Sampled { .. }, Some(slot)) => {
                out.copy_from_slice(&self.choices[slot * space.len()..(slot + 1) * space.len()]);
            }
            // The return: the episode knows its incumbent itself.
            (Layout::Sampled { .. }, None) => return false,
        }
        true
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Source {
    Plain,
    Transfer,
    Mixture,
}

impl Source {
    /// Upper bound of a slot in standard deviations of the measured values.
    fn bound(self, beliefs: &Beliefs, slot: usize, beta: f32, share: f32) -> f32 {
        let bound = |kind| {
            let (mean, deviation) = beliefs.of(kind, slot);
            mean + beta * deviation
        };
        match self {
            Self::Plain => bound(Kind::Plain),
            Self::Transfer => bound(Kind::Transfer),
            Self::Mixture => {
                share * bound(Kind::Transfer) / beliefs.scale + (1.0 - share) * bound(Kind::Plain)
            }
        }
    }
}
