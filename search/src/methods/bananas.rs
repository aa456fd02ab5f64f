//! BANANAS: White, Neiswanger and Savani (arXiv 1910.11858), with the settings of their program: an ensemble of five networks of ten
//! layers of width 20 (Adam 0.01, mean absolute error, batches of 32, 150 epochs), independent Thompson sampling, 100 candidates by
//! mutation of the best, batches of 10 after 10 random ones. Here the networks see one-hot choices of the active form in place of the
//! cell's paths, and a mutation is one edit, so that the method runs on any space.

use super::{
    Begin, Method, MethodError, MethodSpec, SpecError, Starter,
    mlp::{Mlp, MlpConfig},
    random::{mutate, unmeasured},
};
use hashbrown::HashSet;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use srnas_basics::statistics::mean;
use srnas_predictor::{predictor_inputs, write_predictor_inputs};
use srnas_space::Choices;

/// Candidates of a batch.
const CANDIDATES: usize = 100;
/// The best measured that are mutated, at most.
const PARENTS: usize = 5;

pub fn prepare(spec: &MethodSpec) -> Result<Starter, SpecError> {
    let mut options = spec.options()?;
    let networks = options.whole("networks", 5, 1)?;
    let initial = options.whole("initial", 10, 1)?;
    let batch = options.whole("batch", 10, 1)?;
    options.end()?;
    Ok(Box::new(move |begin| {
        Ok(Box::new(Bananas {
            rng: begin.rng(),
            begin: begin.clone(),
            networks,
            initial,
            batch,
            told: Vec::new(),
            measured: HashSet::new(),
            queue: Vec::new(),
        }))
    }))
}

struct Bananas {
    begin: Begin,
    rng: ChaCha8Rng,
    networks: usize,
    initial: usize,
    batch: usize,
    told: Vec<(Vec<u8>, f32)>,
    measured: HashSet<u64>,
    /// The next ones to ask for, the best last.
    queue: Vec<Vec<u8>>,
}

impl Bananas {
    fn inputs(&self, choices: &Choices) -> Vec<f32> {
        let (mut active, mut row) = (Vec::new(), Vec::new());
        write_predictor_inputs(&self.begin.space, choices, &mut active, &mut row);
        row
    }

    /// Distinct unmeasured mutations of the best measured: 100 tries with each of the first five, until there are enough.
    fn candidates(&mut self) -> Vec<Vec<u8>> {
        let mut best: Vec<usize> = (0..self.told.len()).collect();
        best.sort_by(|&a, &b| self.told[b].1.total_cmp(&self.told[a].1));
        let mut seen = HashSet::new();
        let mut all = Vec::new();
        for parent in best.into_iter().take(PARENTS) {
            if all.len() >= CANDIDATES {
                break;
            }
            for _ in 0..CANDIDATES {
                let child = mutate(&self.begin, &self.told[parent].0, &mut self.rng);
                let key = self.begin.key(&child);
                if !self.measured.contains(&key) && seen.insert(key) {
                    all.push(child);
                }
            }
        }
        all
    }

    fn plan(&mut self) {
        let values: Vec<f64> = self.told.iter().map(|(_, v)| f64::from(*v)).collect();
        let centre = mean(&values);
        let spread = mean(&values.iter().map(|v| (v - centre).powi(2)).collect::<Vec<_>>()).sqrt().max(1e-9);
        let targets: Vec<f32> = values.iter().map(|v| ((v - centre) / spread) as f32).collect();
        let rows: Vec<Vec<f32>> = self.told.iter().map(|(choices, _)| self.inputs(choices)).collect();
        let inputs = predictor_inputs(&self.begin.space);
        let config = MlpConfig { inputs, layers: 10, width: 20, epochs: 150, batch: 32, rate: 0.01 };
        let ensemble: Vec<Mlp> =
            (0..self.networks).map(|_| Mlp::train(config, &rows, &targets, &mut self.rng)).collect();
        let mut ranked: Vec<(f64, Vec<u8>)> = Vec::new();
        for choices in self.candidates() {
            let row = self.inputs(&choices);
            let predictions: Vec<f64> = ensemble.iter().map(|n| f64::from(n.predict(&row))).collect();
            let centre = mean(&predictions);
            let variance = mean(&predictions.iter().map(|p| (p - centre).powi(2)).collect::<Vec<_>>());
            ranked.push((centre + variance.sqrt() * self.rng.sample::<f64, _>(StandardNormal), choices));
        }
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        ranked.truncate(self.batch);
        self.queue = ranked.into_iter().rev().map(|(_, choices)| choices).collect();
    }
}

impl Method for Bananas {
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
        if self.told.len() >= self.initial && self.queue.is_empty() {
            self.plan();
        }
        // Random ones at the beginning, and where nothing near the best is left.
        Ok(self.queue.pop().or_else(|| unmeasured(&self.begin, &self.measured, &mut self.rng)))
    }

    fn tell(&mut self, choices: &Choices, values: &[f32]) -> Result<(), MethodError> {
        if self.measured.insert(self.begin.key(choices)) {
            self.told.push((choices.to_vec(), values[0]));
        }
        Ok(())
    }
}
