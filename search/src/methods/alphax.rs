//! Monte Carlo tree search over the decisions of an architecture, with a network that expects accuracies: Wang et al., "Neural Architecture
//! Search using Deep Neural Networks and Monte Carlo Tree Search" (AlphaX, arXiv 1805.07440, 1903.11059).
//!
//! A node is a beginning of an encoding. Down the tree goes whoever has the highest Q/n + 2 c √(2 ln N / n) (UCT, c = 0.5); from the first
//! node that is new, one random way to go on is trained and `rollouts` others are expected by the network. The mean of what was measured and
//! of what is expected on the average is what every node on the way is told. What is under way counts as a visit that found the worst.
//!
//! Published with edits of a network as actions and a network of five layers, up to 2048 wide, that sees its code; here the actions are the
//! choices of any space in their order and the network is the size of what some hundred measurements can teach. Accuracies as fractions
//! lie between 0 and 1, and so does every metric here: the worst so far is 0 and the best 1.

use super::{
    Begin, Method, MethodError, MethodSpec, SpecError, Starter,
    measured::Measured,
    mlp::{Mlp, MlpConfig},
    prefixes::{Prefixes, Step},
    random::unmeasured,
};
use crate::method::Training;
use hashbrown::{HashMap, hash_map::Entry};
use rand::{Rng, seq::IteratorRandom};
use rand_chacha::ChaCha8Rng;
use srnas_predictor::{predictor_inputs, write_predictor_inputs};
use srnas_space::Choices;
use std::sync::{Arc, OnceLock};

/// Times that the network sees all that was measured.
const EPOCHS: usize = 100;
/// Visits in a row of what was measured before, before a random architecture is asked for.
const REPEATS: usize = 200;
const BATCH: usize = 32;
const RATE: f32 = 0.005;

#[derive(Clone, Copy)]
struct Settings {
    c: f64,
    rollouts: usize,
    layers: usize,
    width: usize,
    /// Measurements after which the network is trained anew.
    every: usize,
}

pub fn prepare(spec: &MethodSpec) -> Result<Starter, SpecError> {
    let mut options = spec.options()?;
    let settings = Settings {
        c: options.number("c", 0.5, 0.0)?,
        rollouts: options.whole("rollouts", 10, 0)?,
        layers: options.whole("layers", 2, 1)?,
        width: options.whole("width", 64, 1)?,
        every: options.whole("every", 10, 1)?,
    };
    options.end()?;
    let prefixes = OnceLock::new();
    Ok(Box::new(move |begin| {
        let prefixes = prefixes.get_or_init(|| Arc::new(Prefixes::new(&begin.space)));
        Ok(Box::new(AlphaX {
            rng: begin.rng(),
            begin: begin.clone(),
            settings,
            prefixes: prefixes.clone(),
            tree: Tree::default(),
            measured: Measured::new(begin),
            under_way: Vec::new(),
            told: Vec::new(),
            places: HashMap::new(),
            network: None,
        }))
    }))
}

/// What a choice of a node was tried for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Child {
    visits: f64,
    /// Sum of what was told.
    sum: f64,
}

#[derive(Default)]
struct Tree {
    /// By beginning: its choices.
    nodes: HashMap<Vec<u8>, Vec<Child>>,
}

impl Tree {
    /// The choice of the highest bound; any that was not tried comes first. `under_way` counts what runs below each choice, and is worth
    /// `worst`; values are in spans above that.
    fn choose(
        children: &[Child],
        step: &Step,
        under_way: &[f64],
        (worst, span): (f64, f64),
        c: f64,
        rng: &mut impl Rng,
    ) -> u8 {
        let visits = |choice: usize| children[choice].visits + under_way[choice];
        let open = || (0..children.len()).filter(|&choice| step.allowed[choice]);
        let all: f64 = open().map(visits).sum();
        let bound = |choice: usize| match visits(choice) {
            n if n > 0.0 => {
                let above = (children[choice].sum - worst * children[choice].visits) / span;
                above / n + 2.0 * c * (2.0 * all.ln() / n).sqrt()
            }
            _ => f64::INFINITY,
        };
        let highest = open().map(bound).fold(f64::NEG_INFINITY, f64::max);
        open().filter(|&choice| bound(choice) >= highest).choose(rng).unwrap_or(0) as u8
    }

    /// Adds a value to each node on the way to an architecture, the first new one with it.
    fn add(&mut self, prefixes: &Prefixes, choices: &Choices, value: f64) {
        let (path, made) = prefixes.path(choices);
        for step in path {
            let prefix = &made[..step.step.decision];
            let is_new = !self.nodes.contains_key(prefix);
            let children = self
                .nodes
                .entry(prefix.to_vec())
                .or_insert_with(|| vec![Child::default(); step.step.allowed.len()]);
            let child = &mut children[usize::from(step.choice)];
            child.visits += 1.0;
            child.sum += value;
            if is_new {
                return;
            }
        }
    }
}

/// What the network expects, in the metric's unit.
struct Network {
    mlp: Mlp,
    centre: f64,
    spread: f64,
}

struct AlphaX {
    begin: Begin,
    rng: ChaCha8Rng,
    settings: Settings,
    prefixes: Arc<Prefixes>,
    tree: Tree,
    measured: Measured,
    under_way: Vec<Vec<u8>>,
    /// Each key once, and the place of each.
    told: Vec<(Vec<u8>, f32)>,
    places: HashMap<u64, usize>,
    network: Option<Network>,
}

impl AlphaX {
    fn inputs(&self, choices: &Choices) -> Vec<f32> {
        let (mut active, mut row) = (Vec::new(), Vec::new());
        write_predictor_inputs(&self.begin.space, choices, &mut active, &mut row);
        row
    }

    fn train(&mut self) {
        let n = self.told.len() as f64;
        let values = || self.told.iter().map(|(_, value)| f64::from(*value));
        let centre = values().sum::<f64>() / n;
        let spread = (values().map(|v| (v - centre).powi(2)).sum::<f64>() / n).sqrt().max(1e-9);
        let targets: Vec<f32> = values().map(|v| ((v - centre) / spread) as f32).collect();
        let rows: Vec<Vec<f32>> = self.told.iter().map(|(choices, _)| self.inputs(choices)).collect();
        let Settings { layers, width, .. } = self.settings;
        let inputs = predictor_inputs(&self.begin.space);
        let config = MlpConfig { inputs, layers, width, epochs: EPOCHS, batch: BATCH, rate: RATE };
        let mlp = Mlp::train(config, &rows, &targets, &mut self.rng);
        self.network = Some(Network { mlp, centre, spread });
    }

    /// The worst value so far, and how far the best is above it.
    fn range(&self) -> (f64, f64) {
        let values = || self.told.iter().map(|(_, value)| f64::from(*value));
        let (worst, best) =
            (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
        if best > worst { (worst, best - worst) } else { (0.0, 1.0) }
    }

    fn draw(&mut self) -> Vec<u8> {
        let (tree, prefixes, range, c) = (&self.tree, &self.prefixes, self.range(), self.settings.c);
        let running: Vec<Vec<u8>> = self.under_way.iter().map(|choices| prefixes.path(choices).1).collect();
        prefixes.valid(&mut self.rng, |rng| {
            let mut below = true;
            prefixes.complete(Vec::new(), |prefix, step| match tree.nodes.get(prefix).filter(|_| below) {
                Some(children) => {
                    let mut under_way = vec![0.0; children.len()];
                    let through = running.iter().filter(|choices| choices.starts_with(prefix));
                    through.for_each(|choices| under_way[usize::from(choices[prefix.len()])] += 1.0);
                    Tree::choose(children, step, &under_way, range, c, rng)
                }
                None => {
                    below = false;
                    at_random(step, rng)
                }
            })
        })
    }

    /// What the network expects on the average of random ways to go on from the first node that is new on the way to an architecture.
    fn expected(&mut self, choices: &Choices) -> Option<f64> {
        let network = self.network.as_ref()?;
        let (path, made) = self.prefixes.path(choices);
        let new = path.iter().find(|made_at| !self.tree.nodes.contains_key(&made[..made_at.step.decision]));
        let node = new.map_or(&made[..], |new| &made[..=new.step.decision]);
        let expects = |rng: &mut ChaCha8Rng| {
            let other = self.prefixes.complete(node.to_vec(), |_, step| at_random(step, rng));
            network.centre + network.spread * f64::from(network.mlp.predict(&self.inputs(&other)))
        };
        let n = self.settings.rollouts;
        let mut rng = self.rng.clone();
        let sum: f64 = (0..n).map(|_| expects(&mut rng)).sum();
        self.rng = rng;
        (n > 0).then_some(sum / n as f64)
    }
}

fn at_random(step: &Step, rng: &mut impl Rng) -> u8 {
    (0u8..).zip(&step.allowed).filter(|(_, allowed)| **allowed).choose(rng).map_or(0, |(choice, _)| choice)
}

impl Method for AlphaX {
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
        for _ in 0..REPEATS {
            let drawn = self.draw();
            if !self.measured.has(&drawn) {
                return Ok(Some(drawn));
            }
            // Found again: a visit, until the tree leads elsewhere.
            if let Some(&place) = self.places.get(&self.begin.key(&drawn)) {
                let value = f64::from(self.told[place].1);
                self.tree.add(&self.prefixes, &drawn, value);
            }
        }
        Ok(unmeasured(&self.begin, self.measured.keys(), &mut self.rng))
    }

    fn tell(&mut self, choices: &Choices, values: &[f32]) -> Result<(), MethodError> {
        self.under_way.retain(|running| running != choices);
        self.measured.add(choices);
        if let Entry::Vacant(new) = self.places.entry(self.begin.key(choices)) {
            new.insert(self.told.len());
            self.told.push((choices.to_vec(), values[0]));
            if self.told.len().is_multiple_of(self.settings.every) {
                self.train();
            }
        }
        let found = f64::from(values[0]);
        let value = self.expected(choices).map_or(found, |expected| (found + expected) / 2.0);
        self.tree.add(&self.prefixes, choices, value);
        Ok(())
    }

    fn begun(&mut self, training: &Training) {
        self.measured.add(&training.choices);
        self.under_way.push(training.choices.clone());
    }

    fn concurrent(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use srnas_space::{Conditional, Decision};

    #[test]
    fn the_choice_is_that_of_the_highest_bound() {
        let step = Step { decision: 0, allowed: vec![true, true, true, false] };
        let child = |visits: f64, mean: f64| Child { visits, sum: visits * mean };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut choose = |children: &[Child], under_way: [f64; 4], c: f64| {
            Tree::choose(children, &step, &under_way, (10.0, 2.0), c, &mut rng)
        };
        let none = [0.0; 4];
        let children = [child(4.0, 11.0), child(2.0, 10.6), child(2.0, 10.2), child(0.0, 0.0)];
        // In spans above the worst 0.5, 0.3 and 0.1; the bounds add 2 c √(2 ln 8 / n): 1.02 and 1.44 times 2 c.
        assert_eq!(choose(&children, none, 0.0), 0);
        assert_eq!(choose(&children, none, 0.2), 0);
        assert_eq!(choose(&children, none, 0.3), 1);
        // Another below it makes it worth less, and the third is next.
        assert_eq!(choose(&children, [0.0, 2.0, 0.0, 0.0], 0.5), 2);
        let untried = [child(4.0, 12.0), child(0.0, 0.0), child(3.0, 11.0), child(0.0, 0.0)];
        assert_eq!(choose(&untried, none, 0.5), 1);
    }

    #[test]
    fn a_node_is_added_for_each_architecture_and_knows_all_below_it() {
        let named = |d: usize| Decision::new(format!("d{d}"), &["a", "b"]);
        let space = Arc::new(Conditional::space("made-up", (0..3).map(named).collect(), vec![]).unwrap());
        let (prefixes, mut tree) = (Prefixes::new(&space), Tree::default());
        tree.add(&prefixes, &[1, 0, 1], 4.0);
        assert_eq!(tree.nodes.len(), 1);
        tree.add(&prefixes, &[1, 1, 1], 2.0);
        tree.add(&prefixes, &[0, 1, 1], 1.0);
        let root = &tree.nodes[&[][..]];
        assert_eq!(root, &[Child { visits: 1.0, sum: 1.0 }, Child { visits: 2.0, sum: 6.0 }]);
        assert_eq!(tree.nodes[&[1][..]], [Child::default(), Child { visits: 1.0, sum: 2.0 }]);
        assert_eq!(tree.nodes.len(), 3);
    }
}
