//! Edits of the current network, chosen by a policy that reads it.
//!
//! * `eas`: Cai et al., "Efficient Architecture Search by Network Transformation" (arXiv 1707.04873). A bidirectional LSTM reads the network, and
//!   two actors make it grow: the wider actor says of each layer whether it becomes wider, the deeper actor where one is inserted. Here both act
//!   on all decisions with an order, one step up.
//! * `path-level`: Cai et al., "Path-Level Network Transformation for Efficient Architecture Search" (arXiv 1806.02639): an actor says where, and
//!   what becomes of the path there. Here: which decision without an order, and what it is then.
//!
//! Where a space has no decisions of the one kind, both use those that there are. An episode is a few edits, its network is measured at its
//! end, and all of its edits learn by REINFORCE from that. Nothing here inherits weights: that is up to the oracle.

use super::{
    Begin, MethodSpec, SpecError, Starter,
    controller::Shape,
    measured::{Drawing, Measured, Policy},
    prefixes::{Made, Prefixes},
    random::mutate,
    reader::{Reader, Reading},
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use srnas_network::{
    Baseline,
    lstm::{Affine, Parameters, draw, log_softmax, softmax_gradient},
};
use srnas_space::{Choices, SearchSpace};
use std::sync::{Arc, OnceLock};

/// Actions that lead to something invalid, or nowhere, before an episode ends where it is.
const TRIES: usize = 20;
/// The tangent of a share is infinite at 1.
const HIGHEST: f64 = 0.999;

/// Which decisions are edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edits {
    /// Those with an order.
    Growth,
    /// Those without.
    Paths,
}

/// What a value is, of which the reward is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reward {
    /// tan(π/2 · value) where it is from 0 to 1; else as it is.
    Share,
    /// The same of a hundredth.
    Percent,
    /// As it is.
    Value,
}

impl Reward {
    fn of(self, value: f64) -> f64 {
        let share = match self {
            Self::Value => return value,
            Self::Share => value,
            Self::Percent => value / 100.0,
        };
        match (0.0..=1.0).contains(&share) {
            true => (share.min(HIGHEST) * std::f64::consts::FRAC_PI_2).tan(),
            false => value,
        }
    }
}

#[derive(Clone, Copy)]
struct Settings {
    edits: Edits,
    /// Edits of an episode.
    length: usize,
    /// Share of the budget whose episodes begin from the start.
    first: f64,
    shape: Shape,
    rate: f32,
    entropy: f32,
    keep: f64,
    reward: Reward,
}

pub fn prepare(spec: &MethodSpec, edits: Edits) -> Result<Starter, SpecError> {
    let mut options = spec.options()?;
    let words = match edits {
        Edits::Growth => ["share", "percent", "value"],
        Edits::Paths => ["value", "share", "percent"],
    };
    let settings = Settings {
        edits,
        length: options.whole("edits", 2, 1)?,
        first: options.number("first", 0.25, 0.0)?,
        shape: Shape {
            layers: 1,
            hidden: options.whole("hidden", 50, 1)?,
            bound: options.number("init", 0.08, 0.0)? as f32,
        },
        rate: options.number("rate", 0.002, 0.0)? as f32,
        entropy: options.number("entropy", 1e-5, 0.0)? as f32,
        keep: options.number("baseline", 0.95, 0.0)?,
        reward: match options.word("reward", &words)? {
            "share" => Reward::Share,
            "percent" => Reward::Percent,
            _ => Reward::Value,
        },
    };
    options.end()?;
    let prefixes = OnceLock::new();
    Ok(Box::new(move |begin| {
        let prefixes = prefixes.get_or_init(|| Arc::new(Prefixes::new(&begin.space)));
        let mut rng = begin.rng();
        let policy = Editing {
            actors: Actors::new(&begin.space, prefixes.clone(), settings, &mut rng),
            from_start: (settings.first * begin.budget as f64) as usize,
            told: 0,
            best: None,
            baseline: Baseline::new(settings.keep),
            begin: begin.clone(),
            settings,
        };
        Ok(Box::new(Drawing::new(begin, rng, policy)))
    }))
}

/// What an actor did.
#[derive(Clone, Debug, PartialEq)]
struct Action {
    /// The network that it read.
    read: Vec<u8>,
    /// Whether it said of each decision whether it changes; else it picked one.
    each: bool,
    /// Places among the decisions that count, and what was chosen there.
    changes: Vec<(usize, u8)>,
}

/// The encoder and the actors.
struct Actors {
    space: Arc<SearchSpace>,
    edits: Edits,
    /// By decision: whether it is edited.
    edited: Vec<bool>,
    parameters: Parameters,
    reader: Reader,
    /// Whether a decision changes, whatever the others do.
    each: Affine,
    /// How much a decision should be the one that changes.
    one: Affine,
    /// By decision: to what.
    what: Vec<Affine>,
}

impl Actors {
    fn new(
        space: &Arc<SearchSpace>,
        prefixes: Arc<Prefixes>,
        settings: Settings,
        rng: &mut impl Rng,
    ) -> Self {
        let (shape, edits) = (settings.shape, settings.edits);
        let wanted = edits == Edits::Growth;
        let of_kind: Vec<bool> = space.decisions().iter().map(|d| d.ordered == wanted).collect();
        let edited = if of_kind.contains(&true) { of_kind } else { vec![true; space.len()] };
        let mut p = Parameters::default();
        let reader = Reader::new(&mut p, space, prefixes, shape, rng);
        let both = 2 * shape.hidden;
        let each = Affine::new(&mut p, both, 1, shape.bound, rng);
        let one = Affine::new(&mut p, both, 1, shape.bound, rng);
        let what = |d| Affine::new(&mut p, both, space.arity(d).into(), shape.bound, rng);
        let what = (0..space.len()).map(what).collect();
        Self { space: space.clone(), edits, edited, parameters: p, reader, each, one, what }
    }

    /// What a decision may become: with an order the next choice, and none after the last; anything else without.
    fn open(&self, Made { step, choice }: &Made) -> Vec<bool> {
        let d = step.decision;
        let (choice, ordered) = (usize::from(*choice), self.space.decisions()[d].ordered);
        let may = |c: usize| if ordered { c == choice + 1 } else { c != choice };
        (0..usize::from(self.space.arity(d))).map(|c| self.edited[d] && may(c)).collect()
    }

    /// By place, whether anything may become of it.
    fn places(&self, reading: &Reading) -> Vec<bool> {
        reading.path.iter().map(|made| self.open(made).contains(&true)).collect()
    }

    /// Logarithms of the probabilities that a decision stays and that it changes.
    fn changes(&self, reading: &Reading, place: usize) -> Vec<f32> {
        let score = self.each.forward(&self.parameters, &reading.said[place])[0];
        log_softmax(&[0.0, score], &[true, true])
    }

    /// Logarithms of the probabilities that each is the one.
    fn which(&self, reading: &Reading) -> Vec<f32> {
        let score = |said: &Vec<f32>| self.one.forward(&self.parameters, said)[0];
        let scores: Vec<f32> = reading.said.iter().map(score).collect();
        log_softmax(&scores, &self.places(reading))
    }

    /// Logarithms of the probabilities of what it becomes.
    fn what(&self, reading: &Reading, place: usize) -> Vec<f32> {
        let made = &reading.path[place];
        let logits = self.what[made.step.decision].forward(&self.parameters, &reading.said[place]);
        log_softmax(&logits, &self.open(made))
    }

    /// An action on a network, and what comes of it; none where nothing valid does.
    fn act(&self, network: &Choices, each: bool, rng: &mut impl Rng) -> Option<(Vec<u8>, Action)> {
        let reading = self.reader.read(&self.parameters, network);
        let open = self.places(&reading);
        if !open.contains(&true) {
            return None;
        }
        for _ in 0..TRIES {
            let places: Vec<usize> = match each {
                true => (0..open.len())
                    .filter(|&place| open[place] && draw(&self.changes(&reading, place), rng) == 1)
                    .collect(),
                false => vec![draw(&self.which(&reading), rng)],
            };
            let mut child = network.to_vec();
            let mut changes = Vec::with_capacity(places.len());
            for place in places {
                let choice = draw(&self.what(&reading, place), rng) as u8;
                child[reading.path[place].step.decision] = choice;
                changes.push((place, choice));
            }
            if self.space.is_valid(&child) {
                return Some((child, Action { read: network.to_vec(), each, changes }));
            }
        }
        None
    }

    /// Some edits one after another; the two actors of growth take turns.
    fn episode(&self, from: &Choices, length: usize, rng: &mut impl Rng) -> (Vec<u8>, Vec<Action>) {
        let (mut network, mut actions) = (from.to_vec(), Vec::with_capacity(length));
        for step in 0..length {
            let each = self.edits == Edits::Growth && step % 2 == 0;
            let Some((child, action)) = self.act(&network, each, rng) else { break };
            network = child;
            actions.push(action);
        }
        (network, actions)
    }

    /// Adds to the gradient that of `weight` · log p of an action + `entropy` · H.
    fn add_gradient(&mut self, action: &Action, weight: f32, entropy: f32) {
        let reading = self.reader.read(&self.parameters, &action.read);
        let open = self.places(&reading);
        let mut upstream = self.reader.nothing(&reading);
        let changed = |place: usize| action.changes.iter().any(|(changed, _)| *changed == place);
        if action.each {
            for place in (0..open.len()).filter(|&place| open[place]) {
                let logs = self.changes(&reading, place);
                let to_score = softmax_gradient(&logs, changed(place).into(), weight, entropy)[1];
                let said = &reading.said[place];
                self.each.backward(&mut self.parameters, said, &[to_score], &mut upstream[place]);
            }
        } else if let Some((picked, _)) = action.changes.first() {
            let to_scores = softmax_gradient(&self.which(&reading), *picked, weight, entropy);
            for ((said, to_score), upstream) in reading.said.iter().zip(to_scores).zip(&mut upstream) {
                self.one.backward(&mut self.parameters, said, &[to_score], upstream);
            }
        }
        for &(place, choice) in &action.changes {
            let to_what = softmax_gradient(&self.what(&reading, place), choice.into(), weight, entropy);
            let head = &self.what[reading.path[place].step.decision];
            head.backward(&mut self.parameters, &reading.said[place], &to_what, &mut upstream[place]);
        }
        self.reader.backward(&mut self.parameters, &reading, &upstream);
    }
}

/// The search: episodes from the start, then from the best.
struct Editing {
    begin: Begin,
    settings: Settings,
    actors: Actors,
    /// Measurements whose episodes begin from the start.
    from_start: usize,
    told: usize,
    best: Option<(Vec<u8>, f32)>,
    baseline: Baseline,
}

impl Policy for Editing {
    type Drawn = Vec<Action>;

    fn draw(&mut self, measured: &Measured, rng: &mut ChaCha8Rng) -> Option<(Vec<u8>, Option<Vec<Action>>)> {
        let best = self.best.as_ref().filter(|_| self.told >= self.from_start);
        let from = best.map_or(&self.begin.start, |(best, _)| best);
        let (choices, actions) = measured.draw(rng, |rng| {
            let (choices, actions) = self.actors.episode(from, self.settings.length, rng);
            // Where the policy finds nothing new a neighbour at random leads on.
            match measured.has(&choices) {
                true => (mutate(&self.begin, from, rng), Vec::new()),
                false => (choices, actions),
            }
        })?;
        Some((choices, actions.filter(|actions| !actions.is_empty())))
    }

    fn learn(&mut self, choices: &Choices, values: &[f32], drawn: Option<Vec<Action>>, _: &mut ChaCha8Rng) {
        let value = values[0];
        self.told += 1;
        if self.best.as_ref().is_none_or(|(_, best)| value > *best) {
            self.best = Some((choices.to_vec(), value));
        }
        let advantage = self.baseline.advantage(self.settings.reward.of(value.into())) as f32;
        if let Some(actions) = drawn {
            for action in &actions {
                self.actors.add_gradient(action, advantage, self.settings.entropy);
            }
            self.actors.parameters.ascend(self.settings.rate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use srnas_network::lstm::check_gradient;
    use srnas_space::{Conditional, Decision};

    fn settings(edits: Edits, hidden: usize, bound: f32) -> Settings {
        Settings {
            edits,
            length: 2,
            first: 0.0,
            shape: Shape { layers: 1, hidden, bound },
            rate: 0.002,
            entropy: 0.0,
            keep: 0.9,
            reward: Reward::Value,
        }
    }

    /// Two decisions with an order and two without.
    fn actors(edits: Edits, hidden: usize, bound: f32) -> Actors {
        let decision =
            |d: usize| Decision { ordered: d < 2, ..Decision::new(format!("d{d}"), &["a", "b", "c"]) };
        let space = Arc::new(Conditional::space("made-up", (0..4).map(decision).collect(), vec![]).unwrap());
        let prefixes = Arc::new(Prefixes::new(&space));
        Actors::new(&space, prefixes, settings(edits, hidden, bound), &mut ChaCha8Rng::seed_from_u64(2))
    }

    /// Log p + half the entropies.
    fn value(actors: &Actors, action: &Action) -> f32 {
        let reading = actors.reader.read(&actors.parameters, &action.read);
        let entropy = |logs: &[f32]| -logs.iter().filter(|l| l.is_finite()).map(|l| l.exp() * l).sum::<f32>();
        let of = |logs: Vec<f32>, chosen: usize| logs[chosen] + 0.5 * entropy(&logs);
        let whats = action.changes.iter().map(|&(place, c)| of(actors.what(&reading, place), c.into()));
        let places: f32 = match action.each {
            true => (0..reading.path.len())
                .filter(|&place| actors.places(&reading)[place])
                .map(|place| {
                    let changed = action.changes.iter().any(|(changed, _)| *changed == place);
                    of(actors.changes(&reading, place), changed.into())
                })
                .sum(),
            false => of(actors.which(&reading), action.changes[0].0),
        };
        places + whats.sum::<f32>()
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let action = |each, changes| Action { read: vec![0, 1, 2, 0], each, changes };
        for (edits, actions) in [
            (Edits::Growth, vec![action(true, vec![(0, 1)]), action(false, vec![(1, 2)])]),
            (Edits::Paths, vec![action(false, vec![(3, 1)]), action(false, vec![(2, 0)])]),
        ] {
            let mut actors = actors(edits, 3, 0.8);
            actions.iter().for_each(|action| actors.add_gradient(action, 1.0, 0.5));
            let gradient = actors.parameters.gradient.clone();
            let at = |i: usize, by: f32| {
                let before = actors.parameters.values[i];
                actors.parameters.values[i] += by;
                let value = actions.iter().map(|action| value(&actors, action)).sum();
                actors.parameters.values[i] = before;
                value
            };
            check_gradient(at, &gradient);
        }
    }

    #[test]
    fn growth_goes_up_and_paths_go_anywhere_and_both_use_what_there_is() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (growth, paths) = (actors(Edits::Growth, 4, 0.1), actors(Edits::Paths, 4, 0.1));
        let from = [0, 1, 1, 2];
        let mut both_at_once = 0;
        for _ in 0..100 {
            let (child, _) = growth.act(&from, true, &mut rng).unwrap();
            assert!(child[0] <= 1 && (1..=2).contains(&child[1]) && child[2..] == from[2..], "{child:?}");
            both_at_once += usize::from(child[..2] == [1, 2]);
            let (child, action) = growth.act(&from, false, &mut rng).unwrap();
            assert_eq!((child[0] + child[1], action.changes.len()), (2, 1));
            let (child, _) = paths.act(&from, false, &mut rng).unwrap();
            let changed = (0..4).filter(|&d| child[d] != from[d]).collect::<Vec<_>>();
            assert!(changed == [2] || changed == [3], "{child:?}");
        }
        assert!((10..50).contains(&both_at_once), "{both_at_once}");
        // At the top there is nothing to grow.
        assert_eq!(growth.act(&[2, 2, 0, 0], true, &mut rng), None);
        assert_eq!(growth.episode(&[2, 2, 0, 0], 3, &mut rng), (vec![2, 2, 0, 0], vec![]));
        let space = srnas_space::SearchSpace::named("nb201").unwrap();
        let of = |edits| {
            let prefixes = Arc::new(Prefixes::new(&space));
            Actors::new(&space, prefixes, settings(edits, 4, 0.1), &mut ChaCha8Rng::seed_from_u64(2))
        };
        assert!(of(Edits::Growth).act(&[0; 6], true, &mut rng).is_some());
        assert!(of(Edits::Paths).act(&[0; 6], false, &mut rng).is_some());
    }

    #[test]
    fn what_is_rewarded_is_done_again() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let mut actors = actors(Edits::Paths, 8, 0.08);
        let good = Action { read: vec![0, 1, 2, 0], each: false, changes: vec![(3, 1)] };
        for _ in 0..80 {
            actors.add_gradient(&good, 1.0, 0.0);
            actors.parameters.ascend(0.01);
        }
        let again = (0..100).filter(|_| actors.act(&good.read, false, &mut rng).unwrap().1 == good).count();
        assert!(again > 90, "{again}");
    }

    #[test]
    fn the_reward_of_a_share_grows_towards_one_and_other_values_are_as_they_are() {
        assert!((Reward::Share.of(0.5) - 1.0).abs() < 1e-12);
        assert_eq!(Reward::Share.of(0.5), Reward::Percent.of(50.0));
        let gain = |at: f64| Reward::Share.of(at + 0.01) - Reward::Share.of(at);
        assert!(gain(0.95) > 10.0 * gain(0.5) && Reward::Share.of(1.0).is_finite());
        assert_eq!(
            [Reward::Share.of(-2.5), Reward::Share.of(91.0), Reward::Value.of(0.5)],
            [-2.5, 91.0, 0.5]
        );
    }
}
