//! An architecture as a controller reads it before it changes something: its decisions, forwards and backwards, by a layer of LSTM each way.

use super::{
    controller::{Codes, Shape},
    prefixes::{Made, Prefixes},
};
use rand::Rng;
use srnas_network::lstm::{Lstm, Moment, Parameters, add_scaled};
use srnas_space::{Choices, SearchSpace};
use std::sync::Arc;

/// The two layers, and the codes of what is chosen.
pub struct Reader {
    prefixes: Arc<Prefixes>,
    hidden: usize,
    codes: Codes,
    forwards: Lstm,
    backwards: Lstm,
}

/// What was read.
pub struct Reading {
    /// The decisions that count.
    pub path: Vec<Made>,
    /// What both layers say of each: f32 [2 · hidden].
    pub said: Vec<Vec<f32>>,
    /// In the order of the path, and in the other one.
    forwards: Vec<Moment>,
    backwards: Vec<Moment>,
}

impl Reader {
    pub fn new(
        p: &mut Parameters,
        space: &SearchSpace,
        prefixes: Arc<Prefixes>,
        Shape { hidden, bound, .. }: Shape,
        rng: &mut impl Rng,
    ) -> Self {
        let codes = Codes::new(p, space, hidden, bound, rng);
        let forwards = Lstm::new(p, hidden, hidden, bound, rng);
        let backwards = Lstm::new(p, hidden, hidden, bound, rng);
        Self { prefixes, hidden, codes, forwards, backwards }
    }

    pub fn read(&self, p: &Parameters, choices: &Choices) -> Reading {
        let path = self.prefixes.path(choices).0;
        let pass = |lstm: &Lstm, order: &mut dyn Iterator<Item = &Made>| {
            let mut moments: Vec<Moment> = Vec::new();
            for made in order {
                moments.push(lstm.step(p, &p.values[self.codes.place(Some(made))], moments.last()));
            }
            moments
        };
        let forwards = pass(&self.forwards, &mut path.iter());
        let backwards = pass(&self.backwards, &mut path.iter().rev());
        let both = forwards.iter().zip(backwards.iter().rev());
        let said = both.map(|(f, b)| [&f.output[..], &b.output].concat()).collect();
        Reading { path, said, forwards, backwards }
    }

    /// What nothing has reached yet of what was said.
    pub fn nothing(&self, reading: &Reading) -> Vec<Vec<f32>> {
        vec![vec![0.0; 2 * self.hidden]; reading.path.len()]
    }

    /// Adds to the gradient what reaches what was said.
    pub fn backward(&self, p: &mut Parameters, reading: &Reading, upstream: &[Vec<f32>]) {
        let hidden = self.hidden;
        let to_forwards: Vec<Vec<f32>> = upstream.iter().map(|both| both[..hidden].to_vec()).collect();
        let to_backwards: Vec<Vec<f32>> = upstream.iter().rev().map(|both| both[hidden..].to_vec()).collect();
        let to_codes = self.forwards.backward(p, &reading.forwards, &to_forwards);
        let to_codes_too = self.backwards.backward(p, &reading.backwards, &to_backwards);
        for (made, (one, other)) in reading.path.iter().zip(to_codes.iter().zip(to_codes_too.iter().rev())) {
            let code = &mut p.gradient[self.codes.place(Some(made))];
            add_scaled(code, 1.0, one);
            add_scaled(code, 1.0, other);
        }
    }
}
