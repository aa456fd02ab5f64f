//! Small recurrent networks with exact gradients: a list of parameters, and layers that are parts of it. Gradients are those of what is
//! to be maximised.

use super::Error;
use rand::Rng;
use std::ops::Range;

/// The numbers of a network, what is to be added to them, and Adam's moments (Kingma and Ba, arXiv 1412.6980).
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    /// The numbers.
    pub values: Vec<f32>,
    /// What they are to be moved by, added up until the next [`Parameters::ascend`].
    pub gradient: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    steps: i32,
}

impl Parameters {
    /// New ones, uniform between `-bound` and `bound`.
    pub fn uniform(&mut self, n: usize, bound: f32, rng: &mut impl Rng) -> Range<usize> {
        let from = self.values.len();
        self.values.extend((0..n).map(|_| bound * (2.0 * rng.random::<f32>() - 1.0)));
        for list in [&mut self.gradient, &mut self.first, &mut self.second] {
            list.resize(from + n, 0.0);
        }
        from..from + n
    }

    /// A step of Adam up the gradient, which is nought again then. A gradient that is not finite changes nothing.
    pub fn ascend(&mut self, rate: f32) {
        const BETAS: (f32, f32) = (0.9, 0.999);
        if self.gradient.iter().all(|g| g.is_finite()) {
            self.steps = self.steps.saturating_add(1);
            let rate = rate * (1.0 - BETAS.1.powi(self.steps)).sqrt() / (1.0 - BETAS.0.powi(self.steps));
            let moments = self.first.iter_mut().zip(&mut self.second);
            for ((w, g), (m, v)) in self.values.iter_mut().zip(&self.gradient).zip(moments) {
                *m = BETAS.0 * *m + (1.0 - BETAS.0) * g;
                *v = BETAS.1 * *v + (1.0 - BETAS.1) * g * g;
                *w += rate * *m / (v.sqrt() + 1e-8);
            }
        }
        self.gradient.fill(0.0);
    }
}

impl Parameters {
    /// The numbers and Adam's moments, as they are saved.
    pub(crate) fn lists(&self) -> [(&'static str, Vec<f32>); 4] {
        [
            ("weights", self.values.clone()),
            ("first", self.first.clone()),
            ("second", self.second.clone()),
            // Whole numbers below 2^24 are exact, and after so many steps the moments are free of their beginning.
            ("steps", vec![self.steps.min(1 << 24) as f32]),
        ]
    }

    /// What [`Parameters::lists`] gave, in its order: of the same lengths. The moments begin anew where one is missing.
    pub(crate) fn restore(&mut self, lists: [Option<Vec<f32>>; 4]) -> Result<(), Error> {
        let [Some(values), first, second, steps] = lists else {
            return Err(Error::Weights("an agent without weights".into()));
        };
        self.values = values;
        if let (Some(first), Some(second), Some(steps)) = (first, second, steps) {
            (self.first, self.second, self.steps) = (first, second, steps[0].max(0.0) as i32);
        }
        Ok(())
    }
}

/// Σ a b, in eight sums side by side.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a8.remainder().iter().zip(b8.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a8.zip(b8) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    rest + sums.iter().sum::<f32>()
}

/// `to` += `scale` · `of`
pub fn add_scaled(to: &mut [f32], scale: f32, of: &[f32]) {
    to.iter_mut().zip(of).for_each(|(to, of)| *to += scale * of);
}

/// Weights and biases: f32 [outputs, inputs + 1], the last column the biases.
#[derive(Clone, Debug)]
pub struct Affine {
    inputs: usize,
    weights: Range<usize>,
}

impl Affine {
    /// Drawn between `-bound` and `bound`.
    pub fn new(p: &mut Parameters, inputs: usize, outputs: usize, bound: f32, rng: &mut impl Rng) -> Self {
        Self { inputs, weights: p.uniform(outputs * (inputs + 1), bound, rng) }
    }

    /// f32 [inputs] → [outputs]
    pub fn forward(&self, p: &Parameters, input: &[f32]) -> Vec<f32> {
        let rows = p.values[self.weights.clone()].chunks_exact(self.inputs + 1);
        rows.map(|row| dot(&row[..self.inputs], input) + row[self.inputs]).collect()
    }

    /// Adds to the gradient, and to what reaches the input.
    pub fn backward(&self, p: &mut Parameters, input: &[f32], from_output: &[f32], to_input: &mut [f32]) {
        let rows = p.values[self.weights.clone()].chunks_exact(self.inputs + 1);
        let gradients = p.gradient[self.weights.clone()].chunks_exact_mut(self.inputs + 1);
        for ((row, gradient), &g) in rows.zip(gradients).zip(from_output) {
            add_scaled(to_input, g, &row[..self.inputs]);
            add_scaled(&mut gradient[..self.inputs], g, input);
            gradient[self.inputs] += g;
        }
    }
}

/// A layer of long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000).
#[derive(Clone, Debug)]
pub struct Lstm {
    hidden: usize,
    /// To the input, forget and output gates and the new content, in this order.
    gates: Affine,
}

/// The state of a layer after a step, and what led to it.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    /// The input, then the output of the step before.
    joined: Vec<f32>,
    /// f32 [4, hidden]
    gates: Vec<f32>,
    cell: Vec<f32>,
    /// f32 [hidden]
    pub output: Vec<f32>,
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

impl Lstm {
    /// Drawn between `-bound` and `bound`.
    pub fn new(p: &mut Parameters, inputs: usize, hidden: usize, bound: f32, rng: &mut impl Rng) -> Self {
        Self { hidden, gates: Affine::new(p, inputs + hidden, 4 * hidden, bound, rng) }
    }

    /// One step on; before the first one everything is nought.
    pub fn step(&self, p: &Parameters, input: &[f32], before: Option<&Moment>) -> Moment {
        let h = self.hidden;
        let mut joined = input.to_vec();
        match before {
            Some(before) => joined.extend_from_slice(&before.output),
            None => joined.resize(input.len() + h, 0.0),
        }
        let mut gates = self.gates.forward(p, &joined);
        gates[..3 * h].iter_mut().for_each(|g| *g = sigmoid(*g));
        gates[3 * h..].iter_mut().for_each(|g| *g = g.tanh());
        let of = |gate: usize, i: usize| gates[gate * h + i];
        let kept = |i: usize| before.map_or(0.0, |before| of(1, i) * before.cell[i]);
        let cell: Vec<f32> = (0..h).map(|i| kept(i) + of(0, i) * of(3, i)).collect();
        let output = cell.iter().enumerate().map(|(i, c)| of(2, i) * c.tanh()).collect();
        Moment { joined, gates, cell, output }
    }

    /// Back through all steps: adds to the gradient what reaches the outputs, and returns what reaches the inputs.
    pub fn backward(&self, p: &mut Parameters, moments: &[Moment], to_outputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let h = self.hidden;
        let (mut to_output, mut to_cell) = (vec![0.0; h], vec![0.0; h]);
        let mut to_gates = vec![0.0; 4 * h];
        let mut to_inputs = vec![Vec::new(); moments.len()];
        for t in (0..moments.len()).rev() {
            let moment = &moments[t];
            add_scaled(&mut to_output, 1.0, &to_outputs[t]);
            for i in 0..h {
                let [input, forget, output, content] = [0, 1, 2, 3].map(|gate| moment.gates[gate * h + i]);
                let squashed = moment.cell[i].tanh();
                let before = if t == 0 { 0.0 } else { moments[t - 1].cell[i] };
                let cell = to_cell[i] + to_output[i] * output * (1.0 - squashed * squashed);
                to_gates[i] = cell * content * input * (1.0 - input);
                to_gates[h + i] = cell * before * forget * (1.0 - forget);
                to_gates[2 * h + i] = to_output[i] * squashed * output * (1.0 - output);
                to_gates[3 * h + i] = cell * input * (1.0 - content * content);
                to_cell[i] = cell * forget;
            }
            let mut to_joined = vec![0.0; moment.joined.len()];
            self.gates.backward(p, &moment.joined, &to_gates, &mut to_joined);
            to_output = to_joined.split_off(moment.joined.len() - h);
            to_inputs[t] = to_joined;
        }
        to_inputs
    }
}

/// Logarithms of the probabilities of what is allowed; minus infinity elsewhere.
pub fn log_softmax(logits: &[f32], allowed: &[bool]) -> Vec<f32> {
    let open = || logits.iter().zip(allowed).filter(|(_, allowed)| **allowed).map(|(logit, _)| *logit);
    let highest = open().fold(f32::NEG_INFINITY, f32::max);
    let sum = open().map(|logit| (logit - highest).exp()).sum::<f32>().ln() + highest;
    let of = |(logit, allowed): (&f32, &bool)| if *allowed { logit - sum } else { f32::NEG_INFINITY };
    logits.iter().zip(allowed).map(of).collect()
}

/// The gradient by the logits of `weight` · log p(choice) + `entropy` · the entropy.
pub fn softmax_gradient(logs: &[f32], choice: usize, weight: f32, entropy: f32) -> Vec<f32> {
    let own = |log: f32| if log.is_finite() { log.exp() * log } else { 0.0 };
    let disorder = -logs.iter().copied().map(own).sum::<f32>();
    let of = |(c, log): (usize, &f32)| {
        let p = log.exp();
        weight * (f32::from(u8::from(c == choice)) - p) - entropy * (own(*log) + p * disorder)
    };
    logs.iter().enumerate().map(of).collect()
}

/// Draws one of these.
pub fn draw(logs: &[f32], rng: &mut impl Rng) -> usize {
    let mut left: f32 = rng.random();
    let mut last = 0;
    for (choice, log) in logs.iter().enumerate().filter(|(_, log)| **log > f32::NEG_INFINITY) {
        last = choice;
        left -= log.exp();
        if left < 0.0 {
            break;
        }
    }
    last
}

/// For tests: compares a network's gradient with differences of the value that it is of; `at` moves a parameter by so much.
///
/// # Panics
/// Where they differ, and where most parameters take no part.
#[doc(hidden)]
pub fn check_gradient(mut at: impl FnMut(usize, f32) -> f32, gradient: &[f32]) {
    for (i, gradient) in gradient.iter().enumerate() {
        let difference = (at(i, 1e-2) - at(i, -1e-2)) / 2e-2;
        assert!((difference - gradient).abs() < 2e-3, "{i}: {difference} {gradient}");
    }
    let taking_part = gradient.iter().filter(|g| g.abs() > 1e-3).count();
    assert!(3 * taking_part > gradient.len(), "{taking_part} of {} take part", gradient.len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn gradients_through_time_are_those_of_finite_differences() {
        let mut rng = StdRng::seed_from_u64(3);
        let mut p = Parameters::default();
        let (lstm, above) = (Lstm::new(&mut p, 3, 4, 0.8, &mut rng), Lstm::new(&mut p, 4, 2, 0.8, &mut rng));
        let inputs: Vec<Vec<f32>> =
            (0..4).map(|t| (0..3).map(|i| ((t * 3 + i) as f32).sin()).collect()).collect();
        let run = |p: &Parameters| {
            let (mut below, mut top): (Vec<Moment>, Vec<Moment>) = Default::default();
            for input in &inputs {
                below.push(lstm.step(p, input, below.last()));
                top.push(above.step(p, &below[below.len() - 1].output, top.last()));
            }
            (below, top)
        };
        let upstream: Vec<Vec<f32>> = (0..4).map(|t| vec![1.0 - t as f32, 0.5 * t as f32]).collect();
        let (below, top) = run(&p);
        let to_below = above.backward(&mut p, &top, &upstream);
        lstm.backward(&mut p, &below, &to_below);
        let gradient = p.gradient.clone();
        let at = |i: usize, by: f32| {
            let before = p.values[i];
            p.values[i] += by;
            let value = run(&p).1.iter().zip(&upstream).map(|(m, u)| dot(&m.output, u)).sum();
            p.values[i] = before;
            value
        };
        check_gradient(at, &gradient);
    }

    #[test]
    fn gradients_of_log_probabilities_and_entropy_are_those_of_finite_differences() {
        let (logits, allowed) = ([0.3, -1.0, 2.0, 0.1], [true, true, false, true]);
        let value = |logits: &[f32]| {
            let logs = log_softmax(logits, &allowed);
            let entropy: f32 = logs.iter().filter(|l| l.is_finite()).map(|l| -l.exp() * l).sum();
            0.7 * logs[1] + 0.4 * entropy
        };
        let logs = log_softmax(&logits, &allowed);
        assert!((logs.iter().map(|l| l.exp()).sum::<f32>() - 1.0).abs() < 1e-6);
        let gradient = softmax_gradient(&logs, 1, 0.7, 0.4);
        for i in 0..4 {
            let mut moved = logits;
            moved[i] += 1e-2;
            let up = value(&moved);
            moved[i] -= 2e-2;
            assert!(((up - value(&moved)) / 2e-2 - gradient[i]).abs() < 1e-3, "{i}");
        }
        let mut rng = StdRng::seed_from_u64(1);
        let drawn: Vec<usize> = (0..4000).map(|_| draw(&logs, &mut rng)).collect();
        for (c, log) in logs.iter().enumerate() {
            let share = drawn.iter().filter(|d| **d == c).count() as f32 / 4000.0;
            assert!((share - log.exp()).abs() < 0.03, "{c}: {share}");
        }
    }

    #[test]
    fn adam_climbs_and_leaves_alone_what_is_no_number() {
        let mut p = Parameters::default();
        p.uniform(3, 0.1, &mut StdRng::seed_from_u64(1));
        for _ in 0..500 {
            for i in 0..3 {
                p.gradient[i] = i as f32 - p.values[i];
            }
            p.ascend(0.02);
        }
        assert!(p.values.iter().enumerate().all(|(i, v)| (v - i as f32).abs() < 0.05), "{:?}", p.values);
        let before = p.values.clone();
        p.gradient[0] = f32::NAN;
        p.ascend(0.02);
        assert_eq!((&p.values, p.gradient[0]), (&before, 0.0));
    }
}
