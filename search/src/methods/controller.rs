//! A recurrent controller that emits an architecture decision by decision (Zoph and Le, "Neural Architecture Search with Reinforcement
//! Learning", arXiv 1611.01578): layers of LSTM, whose input is what was chosen last, and a softmax for each decision.

use super::prefixes::{Made, Prefixes, Step};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use srnas_network::lstm::{
    Affine, Lstm, Moment, Parameters, add_scaled, draw, log_softmax, softmax_gradient,
};
use srnas_space::{Choices, SearchSpace};
use std::sync::Arc;

/// The shape of a controller.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub layers: usize,
    pub hidden: usize,
    /// Its weights are drawn between this and its negative.
    pub bound: f32,
}

/// A learning rate, and the number of steps for which it was published.
pub type Published = (f64, f64);

/// The highest learning rate that few steps lead to.
const HIGHEST: f64 = 0.01;

/// The learning rate that is given; else the one that goes as far in the steps of a budget, one a batch, as the published one in its own.
pub fn rate_for(given: Option<f64>, (rate, steps): Published, budget: usize, batch: usize) -> f32 {
    let scaled = rate * steps * batch as f64 / budget.max(1) as f64;
    given.unwrap_or_else(|| scaled.clamp(rate, HIGHEST)) as f32
}

/// The policy: a distribution over architectures.
pub struct Controller {
    prefixes: Arc<Prefixes>,
    hidden: usize,
    parameters: Parameters,
    codes: Codes,
    layers: Vec<Lstm>,
    heads: Vec<Affine>,
}

/// A vector for each choice of each decision, and one for none.
pub struct Codes {
    width: usize,
    from: usize,
    offsets: Vec<usize>,
}

impl Codes {
    pub fn new(
        p: &mut Parameters,
        space: &SearchSpace,
        width: usize,
        bound: f32,
        rng: &mut impl Rng,
    ) -> Self {
        let mut n = 1;
        let mut offsets = Vec::new();
        for d in 0..space.len() {
            offsets.push(n);
            n += usize::from(space.arity(d));
        }
        Self { width, from: p.uniform(n * width, bound, rng).start, offsets }
    }

    /// The place of what is known of a choice; of none, of the vector for it.
    pub fn place(&self, made: Option<&Made>) -> std::ops::Range<usize> {
        let token = made.map_or(0, |made| self.offsets[made.step.decision] + usize::from(made.choice));
        let from = self.from + token * self.width;
        from..from + self.width
    }
}

impl Controller {
    pub fn new(space: &SearchSpace, prefixes: Arc<Prefixes>, shape: Shape, rng: &mut impl Rng) -> Self {
        let Shape { layers, hidden, bound } = shape;
        let mut p = Parameters::default();
        let codes = Codes::new(&mut p, space, hidden, bound, rng);
        let layers = (0..layers).map(|_| Lstm::new(&mut p, hidden, hidden, bound, rng)).collect();
        let head = |d| Affine::new(&mut p, hidden, space.arity(d).into(), bound, rng);
        let heads = (0..space.len()).map(head).collect();
        Self { prefixes, hidden, parameters: p, codes, layers, heads }
    }

    /// One step of every layer after the choice made last; what each layer did is added to `moments`: [layers][steps].
    fn step(&self, last: Option<&Made>, moments: &mut [Vec<Moment>]) {
        let mut input = &self.parameters.values[self.codes.place(last)];
        for (layer, moments) in self.layers.iter().zip(moments.iter_mut()) {
            moments.push(layer.step(&self.parameters, input, moments.last()));
            input = &moments[moments.len() - 1].output;
        }
    }

    /// Logarithms of the probabilities of the choices of a step, after the layers' last one.
    fn logs(&self, step: &Step, moments: &[Vec<Moment>]) -> Vec<f32> {
        let top = moments.last().and_then(|top| top.last());
        let logits = top.map(|top| self.heads[step.decision].forward(&self.parameters, &top.output));
        log_softmax(&logits.unwrap_or_default(), &step.allowed)
    }

    /// Draws a valid architecture. What is invalid is drawn again.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> Vec<u8> {
        self.prefixes.valid(rng, |rng| {
            let (mut moments, mut last) = (vec![Vec::new(); self.layers.len()], None);
            self.prefixes.complete(Vec::new(), |_, step| {
                self.step(last.as_ref(), &mut moments);
                let choice = draw(&self.logs(step, &moments), rng) as u8;
                last = Some(Made { step: step.clone(), choice });
                choice
            })
        })
    }

    /// The decisions of an architecture, what the layers did and the logarithms of the probabilities of all choices.
    fn followed(&self, choices: &Choices) -> (Vec<Made>, Vec<Vec<Moment>>, Vec<Vec<f32>>) {
        let path = self.prefixes.path(choices).0;
        let (mut moments, mut logs) = (vec![Vec::new(); self.layers.len()], Vec::new());
        for (t, made) in path.iter().enumerate() {
            self.step(t.checked_sub(1).map(|last| &path[last]), &mut moments);
            logs.push(self.logs(&made.step, &moments));
        }
        (path, moments, logs)
    }

    /// The logarithm of the probability of each choice on the way to an architecture.
    pub fn log_probabilities(&self, choices: &Choices) -> Vec<f32> {
        let (path, _, logs) = self.followed(choices);
        path.iter().zip(logs).map(|(made, logs)| logs[usize::from(made.choice)]).collect()
    }

    /// Adds to the gradient that of Σ weight · log p + `entropy` · H over the steps to an architecture. `weight` is given the number of the
    /// step and its log p, and counts as a constant.
    pub fn add_gradient(&mut self, choices: &Choices, weight: impl Fn(usize, f32) -> f32, entropy: f32) {
        let (path, moments, logs) = self.followed(choices);
        let Some(top) = moments.last() else { return };
        let mut upstream = vec![vec![0.0; self.hidden]; path.len()];
        for (t, (made, logs)) in path.iter().zip(&logs).enumerate() {
            let choice = usize::from(made.choice);
            let to_logits = softmax_gradient(logs, choice, weight(t, logs[choice]), entropy);
            let head = &self.heads[made.step.decision];
            head.backward(&mut self.parameters, &top[t].output, &to_logits, &mut upstream[t]);
        }
        for (layer, moments) in self.layers.iter().zip(&moments).rev() {
            upstream = layer.backward(&mut self.parameters, moments, &upstream);
        }
        for (t, to_code) in upstream.iter().enumerate() {
            let place = self.codes.place(t.checked_sub(1).map(|last| &path[last]));
            add_scaled(&mut self.parameters.gradient[place], 1.0, to_code);
        }
    }

    /// A step of Adam up the gradient.
    pub fn ascend(&mut self, rate: f32) {
        self.parameters.ascend(rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use srnas_network::lstm::check_gradient;
    use srnas_space::{Condition, Conditional, Decision};

    fn space() -> Arc<SearchSpace> {
        let named = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c"][..3 - d % 2]);
        let condition = Condition { decision: 2, depends_on: 0, active_if: vec![1, 2] };
        Arc::new(Conditional::space("made-up", (0..4).map(named).collect(), vec![condition]).unwrap())
    }

    fn controller(bound: f32, hidden: usize) -> Controller {
        let (space, shape) = (space(), Shape { layers: 2, hidden, bound });
        Controller::new(&space, Arc::new(Prefixes::new(&space)), shape, &mut ChaCha8Rng::seed_from_u64(2))
    }

    #[test]
    fn probabilities_are_those_of_what_is_drawn_and_sum_to_one() {
        let controller = controller(0.8, 5);
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut drawn = std::collections::BTreeMap::<Vec<u8>, usize>::new();
        (0..5000).for_each(|_| *drawn.entry(controller.draw(&mut rng)).or_default() += 1);
        let mut sum = 0.0;
        for (choices, n) in &drawn {
            let p = controller.log_probabilities(choices).iter().sum::<f32>().exp();
            assert!((p - *n as f32 / 5000.0).abs() < 0.03, "{choices:?}: {p} {n}");
            sum += p;
        }
        assert_eq!(drawn.len(), 2 * 2 + 2 * 2 * 3 * 2);
        assert!((sum - 1.0).abs() < 1e-4, "{sum}");
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let mut controller = controller(0.8, 3);
        let choices = [1, 1, 2, 0];
        controller.add_gradient(&choices, |t, _| 1.0 - 0.3 * t as f32, 0.5);
        let gradient = controller.parameters.gradient.clone();
        let at = |i: usize, by: f32| {
            let before = controller.parameters.values[i];
            controller.parameters.values[i] += by;
            let (path, _, logs) = controller.followed(&choices);
            controller.parameters.values[i] = before;
            let entropy = |logs: &[f32]| -logs.iter().map(|l| l.exp() * l).sum::<f32>();
            let of = |(t, (made, logs)): (usize, (&Made, &Vec<f32>))| {
                (1.0 - 0.3 * t as f32) * logs[usize::from(made.choice)] + 0.5 * entropy(logs)
            };
            path.iter().zip(&logs).enumerate().map(of).sum()
        };
        check_gradient(at, &gradient);
    }

    #[test]
    fn few_steps_go_as_far_as_many() {
        let published = (0.0006, 1600.0);
        assert_eq!(rate_for(None, published, 12_800, 8), 0.0006);
        assert_eq!(rate_for(None, published, 150, 1), 0.0064);
        assert_eq!(rate_for(None, published, 1_000_000, 1), 0.0006);
        assert_eq!(rate_for(None, published, 0, 10), 0.01);
        assert_eq!(rate_for(Some(0.5), published, 150, 1), 0.5);
    }

    #[test]
    fn what_is_rewarded_is_emitted_more_and_more() {
        let mut controller = controller(0.08, 16);
        let probability = |c: &Controller| c.log_probabilities(&[2, 0, 1, 1]).iter().sum::<f32>().exp();
        let before = probability(&controller);
        for _ in 0..60 {
            controller.add_gradient(&[2, 0, 1, 1], |_, _| 1.0, 0.0);
            controller.ascend(0.01);
        }
        assert!(before < 0.1 && probability(&controller) > 0.9, "{before} {}", probability(&controller));
    }
}
