//! Prioritised replay (arXiv 1511.05952) of n-step transitions.
//!
//! Segments are kept as they came, half floats and all; a transition is a place in a segment. Old segments go when the
//! last of their transitions is overwritten.

mod snapshot;

pub(crate) use snapshot::{ReplaySnapshot, SnapshotError};

use crate::{sum_tree::SumTree, update::TransitionBatch};
use half::{f16, slice::HalfFloatSliceExt};
use rand::Rng;
use srnas_config::TimeLimit;
use srnas_network::ObservationBatch;
use srnas_wire::{Experience, TERMINATED};
use std::sync::Arc;

/// One segment of T steps and T + 1 observations.
#[derive(Debug)]
struct Segment {
    /// First candidate row of each observation, and their end: T + 2 entries.
    offsets: Box<[u32]>,
    candidates: Box<[f16]>,
    contexts: Box<[f16]>,
    identities: Box<[u8]>,
    actions: Box<[u16]>,
    rewards: Box<[f32]>,
    /// End flags of the last step; the steps before have none.
    end: u8,
}

/// How transitions are made and drawn.
#[derive(Clone, Copy, Debug)]
pub struct ReplayConfig {
    /// Transitions held.
    pub capacity: usize,
    /// Steps summed before bootstrapping.
    pub n_step: usize,
    /// Discount of a step, or of a full training where actions have costs.
    pub gamma: f32,
    /// Exponent of the priorities.
    pub alpha: f64,
    /// How a truncation counts.
    pub time_limit: TimeLimit,
    /// Candidate features.
    pub candidate_features: usize,
    /// The candidate feature that holds an action's cost, where not every action costs the same.
    pub cost_feature: Option<usize>,
    /// Context features.
    pub context_features: usize,
    /// Decisions of an architecture in `identities`; 0 without them.
    pub decisions: usize,
    /// Most candidates of an observation.
    pub width: usize,
}

/// The transitions a learner draws from.
#[derive(Debug)]
pub struct Replay {
    config: ReplayConfig,
    places: Vec<Option<(Arc<Segment>, u16)>>,
    priorities: SumTree,
    next: usize,
    held: usize,
    inserted: u64,
}

/// A draw of transitions, with the places to send their new priorities to.
#[derive(Debug, Default)]
pub struct Draw {
    /// The transitions, importance weights included.
    pub batch: TransitionBatch,
    places: Vec<usize>,
}

/// Added to every |TD error|, so that nothing is never drawn.
const LEAST_PRIORITY: f64 = 1e-3;

impl Replay {
    /// An empty replay.
    pub fn new(config: ReplayConfig) -> Self {
        Self {
            places: vec![None; config.capacity],
            priorities: SumTree::new(config.capacity),
            next: 0,
            held: 0,
            inserted: 0,
            config,
        }
    }

    /// Transitions held now.
    pub fn len(&self) -> usize {
        self.held
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Transitions that ever came in.
    pub fn inserted(&self) -> u64 {
        self.inserted
    }

    /// Takes a checked batch in and returns the number of its transitions. First priorities come from the actor's
    /// values.
    pub fn insert(&mut self, experience: &Experience) -> usize {
        let mut observation = 0;
        for segment in self.segments(experience) {
            let length = segment.actions.len();
            for t in 0..length {
                let (returns, discount, ahead) = self.n_step(&segment, t);
                let chosen = experience.chosen_values[observation + t];
                let best = experience.best_values[observation + ahead];
                let error = f64::from((returns + discount * best - chosen).abs());
                self.priorities.set(self.next, (error + LEAST_PRIORITY).powf(self.config.alpha));
                self.places[self.next] = Some((segment.clone(), t as u16));
                self.next = (self.next + 1) % self.config.capacity;
                self.held = (self.held + 1).min(self.config.capacity);
                self.inserted += 1;
            }
            observation += length + 1;
        }
        experience.steps()
    }

    /// The segments of a checked batch.
    fn segments(&self, experience: &Experience) -> Vec<Arc<Segment>> {
        let (cf, xf, d) =
            (self.config.candidate_features, self.config.context_features, self.config.decisions);
        let (mut row, mut observation, mut step) = (0usize, 0usize, 0usize);
        let cut = |&length: &u16| {
            let length = usize::from(length);
            let counts = &experience.counts[observation..observation + length + 1];
            let mut offsets = Vec::with_capacity(length + 2);
            let mut rows = 0;
            offsets.push(0);
            for &c in counts {
                rows += usize::from(c);
                offsets.push(rows as u32);
            }
            let steps = step..step + length;
            let segment = Segment {
                offsets: offsets.into(),
                candidates: experience.candidates[row * cf..(row + rows) * cf].into(),
                contexts: experience.contexts[observation * xf..(observation + length + 1) * xf].into(),
                identities: if d > 0 {
                    experience.identities[row * d..(row + rows) * d].into()
                } else {
                    Box::default()
                },
                actions: experience.actions[steps.clone()].into(),
                rewards: experience.rewards[steps.clone()].into(),
                end: experience.ends[steps].last().copied().unwrap_or(0),
            };
            (row, observation, step) = (row + rows, observation + length + 1, step + length);
            Arc::new(segment)
        };
        experience.lengths.iter().map(cut).collect()
    }

    /// Discounted rewards from step `t`, the discount of what follows (0 at an end), and the observation that follows.
    fn n_step(&self, segment: &Segment, t: usize) -> (f32, f32, usize) {
        let last = segment.actions.len();
        let ahead = (t + self.config.n_step).min(last);
        let (mut returns, mut discount) = (0.0, 1.0);
        for (step, &reward) in segment.rewards[t..ahead].iter().enumerate() {
            returns += discount * reward;
            discount *= match self.config.cost_feature {
                // A short training delays what follows by less than a full one: γ to the power of what was paid.
                Some(feature) => self.config.gamma.powf(self.cost(segment, t + step, feature)),
                None => self.config.gamma,
            };
        }
        let over = segment.end & TERMINATED != 0
            || (segment.end != 0 && self.config.time_limit == TimeLimit::Terminal);
        if ahead == last && over {
            discount = 0.0;
        }
        (returns, discount, ahead)
    }

    /// What the action of a step cost.
    fn cost(&self, segment: &Segment, step: usize, feature: usize) -> f32 {
        let row = segment.offsets[step] as usize + usize::from(segment.actions[step]);
        segment.candidates[row * self.config.candidate_features + feature].to_f32()
    }

    /// Draws `n` transitions, one from each of `n` equal slices of the priority mass, into `draw`. `beta` is the exponent
    /// of the importance weights, which are scaled to a highest of 1.
    ///
    /// # Panics
    /// When there is nothing to draw from.
    pub fn draw(&self, n: usize, beta: f64, rng: &mut impl Rng, draw: &mut Draw) {
        assert!(!self.is_empty(), "nothing to draw from");
        let Draw { batch, places } = draw;
        places.clear();
        for side in [&mut batch.now, &mut batch.next] {
            if self.config.decisions > 0 {
                side.identities.get_or_insert_default();
            }
            side.clear();
        }
        batch.actions.clear();
        batch.returns.clear();
        batch.discounts.clear();
        batch.weights.clear();
        let slice = self.priorities.total() / n as f64;
        let held = self.len() as f64;
        for k in 0..n {
            let place = self.priorities.find((k as f64 + rng.random::<f64>()) * slice);
            let (segment, t) = self.places[place].as_ref().expect("a place with a priority is filled");
            let t = *t as usize;
            let (returns, discount, ahead) = self.n_step(segment, t);
            self.push(segment, t, &mut batch.now);
            self.push(segment, ahead, &mut batch.next);
            batch.actions.push(u32::from(segment.actions[t]));
            batch.returns.push(returns);
            batch.discounts.push(discount);
            let chance = self.priorities.get(place) / self.priorities.total();
            batch.weights.push((held * chance).powf(-beta) as f32);
            places.push(place);
        }
        let highest = batch.weights.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        batch.weights.iter_mut().for_each(|w| *w /= highest);
    }

    fn push(&self, segment: &Segment, observation: usize, side: &mut ObservationBatch) {
        let (cf, xf, d) =
            (self.config.candidate_features, self.config.context_features, self.config.decisions);
        let rows = segment.offsets[observation] as usize..segment.offsets[observation + 1] as usize;
        let (candidates, context, choices) = side.push(rows.len(), cf, xf, d);
        segment.candidates[rows.start * cf..rows.end * cf].convert_to_f32_slice(candidates);
        segment.contexts[observation * xf..(observation + 1) * xf].convert_to_f32_slice(context);
        choices.copy_from_slice(&segment.identities[rows.start * d..rows.end * d]);
    }

    /// Takes the new |TD errors| of a draw. A place that was overwritten since gets the priority of another transition,
    /// which its next draw corrects.
    pub fn reprioritise(&mut self, draw: &Draw, td_errors: &[f32]) {
        for (&place, &error) in draw.places.iter().zip(td_errors) {
            self.priorities.set(place, (f64::from(error.abs()) + LEAST_PRIORITY).powf(self.config.alpha));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use srnas_wire::TRUNCATED;

    pub(super) fn config(capacity: usize, time_limit: TimeLimit) -> ReplayConfig {
        ReplayConfig {
            capacity,
            n_step: 3,
            gamma: 0.5,
            alpha: 1.0,
            time_limit,
            candidate_features: 2,
            cost_feature: None,
            context_features: 1,
            decisions: 0,
            width: 4,
        }
    }

    /// One segment whose observation `t` has (t mod 3) + 1 candidates and context t; reward t + 1.
    pub(super) fn segment(steps: usize, end: u8) -> Experience {
        let mut e = Experience { lengths: vec![steps as u16], tasks: vec![0], ..Experience::default() };
        for t in 0..=steps {
            let count = t % 3 + 1;
            e.counts.push(count as u16);
            for c in 0..count {
                e.candidates.extend([f16::from_f32(t as f32), f16::from_f32(c as f32)]);
            }
            e.contexts.push(f16::from_f32(t as f32));
            e.chosen_values.push(0.0);
            e.best_values.push(0.0);
            if t < steps {
                e.actions.push((t % count) as u16);
                e.log_probabilities.push(0.0);
                e.rewards.push(t as f32 + 1.0);
                e.ends.push(if t + 1 == steps { end } else { 0 });
            }
        }
        e
    }

    fn all(replay: &Replay) -> Vec<(f32, f32, f32, f32)> {
        let mut draw = Draw::default();
        replay.draw(400, 0.0, &mut ChaCha8Rng::seed_from_u64(1), &mut draw);
        let b = &draw.batch;
        let mut seen: Vec<(f32, f32, f32, f32)> =
            (0..400).map(|i| (b.now.contexts[i], b.next.contexts[i], b.returns[i], b.discounts[i])).collect();
        seen.sort_by(|a, b| a.partial_cmp(b).unwrap());
        seen.dedup();
        seen
    }

    #[test]
    fn transitions_sum_n_rewards_and_stop_at_the_end_of_the_episode() {
        let mut replay = Replay::new(config(16, TimeLimit::Terminal));
        assert_eq!(replay.insert(&segment(5, TRUNCATED)), 5);
        let expected = [
            (0.0, 3.0, 1.0 + 1.0 + 0.75, 0.125),
            (1.0, 4.0, 2.0 + 1.5 + 1.0, 0.125),
            (2.0, 5.0, 3.0 + 2.0 + 1.25, 0.0),
            (3.0, 5.0, 4.0 + 2.5, 0.0),
            (4.0, 5.0, 5.0, 0.0),
        ];
        assert_eq!(all(&replay), expected);
    }

    #[test]
    fn a_time_limit_may_be_bootstrapped_but_a_termination_never() {
        let mut replay = Replay::new(config(16, TimeLimit::Bootstrap));
        replay.insert(&segment(2, TRUNCATED));
        assert_eq!(all(&replay), [(0.0, 2.0, 2.0, 0.25), (1.0, 2.0, 2.0, 0.5)]);
        let mut replay = Replay::new(config(16, TimeLimit::Bootstrap));
        replay.insert(&segment(2, TERMINATED));
        assert!(all(&replay).iter().all(|t| t.3 == 0.0));
        // A segment cut in the middle of an episode always bootstraps.
        let mut replay = Replay::new(config(16, TimeLimit::Terminal));
        replay.insert(&segment(2, 0));
        assert!(all(&replay).iter().all(|t| t.3 > 0.0));
    }

    #[test]
    fn old_transitions_are_overwritten_and_draws_are_packed() {
        let mut replay = Replay::new(config(4, TimeLimit::Terminal));
        replay.insert(&segment(3, 0));
        replay.insert(&segment(3, 0));
        assert_eq!((replay.len(), replay.inserted()), (4, 6));
        let mut draw = Draw::default();
        replay.draw(64, 1.0, &mut ChaCha8Rng::seed_from_u64(2), &mut draw);
        let now = &draw.batch.now;
        assert_eq!((now.batch(), now.candidates.len()), (64, 2 * now.offsets[64]));
        for i in 0..64 {
            let (t, rows) = (now.contexts[i], now.rows(i));
            assert_eq!(rows.len(), t as usize % 3 + 1);
            for (c, row) in rows.enumerate() {
                assert_eq!(now.candidates[row * 2..][..2], [t, c as f32]);
            }
        }
        assert!(draw.batch.weights.iter().all(|&w| w > 0.0 && w <= 1.0));
    }

    #[test]
    fn larger_errors_are_drawn_more_often_and_weigh_less() {
        let mut replay = Replay::new(config(4, TimeLimit::Terminal));
        replay.insert(&segment(2, 0));
        let mut draw = Draw::default();
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        replay.draw(2, 1.0, &mut rng, &mut draw);
        let errors: Vec<f32> =
            draw.batch.now.contexts.iter().map(|&t| if t == 0.0 { 9.0 } else { 1.0 }).collect();
        replay.reprioritise(&draw, &errors);
        replay.draw(1000, 1.0, &mut rng, &mut draw);
        let first = draw.batch.now.contexts.iter().filter(|&&t| t == 0.0).count();
        assert!((880..=920).contains(&first), "{first}");
        let weight = |t: f32| {
            let i = draw.batch.now.contexts.iter().position(|&c| c == t).unwrap();
            draw.batch.weights[i]
        };
        assert!((weight(0.0) * 9.0 - weight(1.0)).abs() < 0.05);
    }
}
