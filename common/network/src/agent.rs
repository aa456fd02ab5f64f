//! The agent of RC-NAS (arXiv 2406.06792): a policy over what each stage of a network becomes.
//!
//! A vector for each stage goes through a forward and a backward LSTM; their last states and what is known of the whole network go through
//! a hidden layer, and from there one head for each stage says how likely each choice is. What may not be chosen is masked.

use super::{
    Error, Named, Result,
    lstm::{Affine, Lstm, Moment, Parameters, add_scaled, log_softmax, softmax_gradient},
    ops,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

/// Weights are drawn between this and its negative.
const BOUND: f32 = 0.1;
/// No list of weights is longer: what is read from a file is foreign.
const MOST: usize = 1 << 24;

/// The shape of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentConfig {
    /// Numbers of each stage.
    pub stage: usize,
    /// Numbers of the whole network, which follow those of the stages.
    pub whole: usize,
    /// Width of each LSTM.
    pub lstm: usize,
    /// Width of the hidden layer.
    pub hidden: usize,
    /// Choices of each stage.
    pub heads: Vec<usize>,
}

impl AgentConfig {
    /// Numbers that it sees of a network: f32 [stages, stage] and then [whole].
    pub fn inputs(&self) -> usize {
        self.heads.len() * self.stage + self.whole
    }

    fn check(&self) -> Result<()> {
        let sizes = [self.stage, self.whole, self.lstm, self.hidden, self.heads.len()];
        let sizes = sizes.iter().chain(&self.heads);
        match sizes.clone().all(|size| (1..=4096).contains(size)) && self.weights() <= MOST {
            true => Ok(()),
            false => Err(Error::Config(format!("an agent of the sizes {:?}", sizes.collect::<Vec<_>>()))),
        }
    }

    fn weights(&self) -> usize {
        let lstm = 4 * self.lstm * (self.stage + self.lstm + 1);
        let hidden = self.hidden * (2 * self.lstm + self.whole + 1);
        2 * lstm + hidden + self.heads.iter().map(|head| head * (self.hidden + 1)).sum::<usize>()
    }
}

/// The agent, and how it learns: by gradients of the logarithms of its probabilities.
#[derive(Clone, Debug)]
pub struct Agent {
    config: AgentConfig,
    parameters: Parameters,
    forward: Lstm,
    backward: Lstm,
    hidden: Affine,
    heads: Vec<Affine>,
}

/// What it saw and did on the way to a choice.
struct Followed {
    stages: [Vec<Moment>; 2],
    joined: Vec<f32>,
    state: Vec<f32>,
    logs: Vec<f32>,
}

/// A choice of a head, and what is said of it.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// What was seen: f32 [[`AgentConfig::inputs`]].
    pub seen: &'a [f32],
    /// The head.
    pub head: usize,
    /// Which of its choices there were; at least one.
    pub allowed: &'a [bool],
    /// The one that was made.
    pub choice: usize,
}

impl Agent {
    /// Draws an agent.
    ///
    /// # Errors
    /// Sizes that are nothing, or too large.
    pub fn new(config: AgentConfig, rng: &mut impl Rng) -> Result<Self> {
        config.check()?;
        let mut p = Parameters::default();
        let lstm = |p: &mut Parameters, rng: &mut _| Lstm::new(p, config.stage, config.lstm, BOUND, rng);
        let (forward, backward) = (lstm(&mut p, rng), lstm(&mut p, rng));
        let hidden = Affine::new(&mut p, 2 * config.lstm + config.whole, config.hidden, BOUND, rng);
        let head = |choices: &usize| Affine::new(&mut p, config.hidden, *choices, BOUND, rng);
        let heads = config.heads.iter().map(head).collect();
        Ok(Self { config, parameters: p, forward, backward, hidden, heads })
    }

    /// Its shape.
    pub fn config(&self) -> &AgentConfig {
        &self.config
    }

    /// Logarithms of the probabilities of a head's choices; minus infinity where there is none.
    pub fn logs(&self, seen: &[f32], head: usize, allowed: &[bool]) -> Vec<f32> {
        self.follow(seen, head, allowed).logs
    }

    fn follow(&self, seen: &[f32], head: usize, allowed: &[bool]) -> Followed {
        let (p, n) = (&self.parameters, self.config.heads.len() * self.config.stage);
        let vectors = || seen[..n].chunks_exact(self.config.stage);
        let mut stages = [Vec::new(), Vec::new()];
        vectors().for_each(|v| stages[0].push(self.forward.step(p, v, stages[0].last())));
        vectors().rev().for_each(|v| stages[1].push(self.backward.step(p, v, stages[1].last())));
        let mut joined = Vec::with_capacity(2 * self.config.lstm + self.config.whole);
        stages.iter().filter_map(|moments| moments.last()).for_each(|last| joined.extend(&last.output));
        joined.extend(&seen[n..]);
        let mut state = self.hidden.forward(p, &joined);
        state.iter_mut().for_each(|s| *s = s.max(0.0));
        let logs = log_softmax(&self.heads[head].forward(p, &state), allowed);
        Followed { stages, joined, state, logs }
    }

    /// Adds the gradient of `weight` · log p(choice) + `entropy` · H, and returns log p.
    pub fn add_gradient(&mut self, made: &Choice, weight: f32, entropy: f32) -> f32 {
        let Followed { stages, joined, state, logs } = self.follow(made.seen, made.head, made.allowed);
        let to_logits = softmax_gradient(&logs, made.choice, weight, entropy);
        let p = &mut self.parameters;
        let (mut to_state, mut to_joined) = (vec![0.0; state.len()], vec![0.0; joined.len()]);
        self.heads[made.head].backward(p, &state, &to_logits, &mut to_state);
        to_state.iter_mut().zip(&state).filter(|(_, s)| **s == 0.0).for_each(|(to, _)| *to = 0.0);
        self.hidden.backward(p, &joined, &to_state, &mut to_joined);
        for (place, (lstm, moments)) in [&self.forward, &self.backward].into_iter().zip(&stages).enumerate() {
            let width = self.config.lstm;
            let mut to_outputs = vec![vec![0.0; width]; moments.len()];
            if let Some(last) = to_outputs.last_mut() {
                add_scaled(last, 1.0, &to_joined[place * width..][..width]);
            }
            lstm.backward(p, moments, &to_outputs);
        }
        logs[made.choice]
    }

    /// A step of Adam up the gradient; the gradient is nought again then. Returns its norm; where that is not finite, nothing moves.
    pub fn ascend(&mut self, rate: f32) -> f32 {
        let norm = self.parameters.gradient.iter().map(|g| g * g).sum::<f32>().sqrt();
        self.parameters.ascend(rate);
        norm
    }

    /// The weights and Adam's moments, by name.
    ///
    /// # Errors
    /// candle's.
    pub fn to_tensors(&self) -> Result<Named> {
        let named = self.parameters.lists().into_iter();
        let tensor = |list: Vec<f32>| {
            let n = list.len();
            ops::tensor(list, n)
        };
        named.map(|(name, list)| Ok((name.to_string(), tensor(list)?))).collect()
    }

    /// The agent of these weights; Adam begins anew where its moments are not among them.
    ///
    /// # Errors
    /// Weights of another shape.
    pub fn from_tensors(config: AgentConfig, tensors: &Named) -> Result<Self> {
        config.check()?;
        let found = tensors.get("weights").map_or(0, candle_core::Tensor::elem_count);
        if found != config.weights() {
            let wanted = config.weights();
            return Err(Error::Weights(format!("an agent's weights are {found} numbers, not {wanted}")));
        }
        let mut agent = Self::new(config, &mut StdRng::seed_from_u64(0))?;
        let mut lists = [const { None }; 4];
        for (place, (name, own)) in lists.iter_mut().zip(agent.parameters.lists()) {
            let Some(tensor) = tensors.get(name) else { continue };
            let values = tensor.flatten_all()?.to_vec1::<f32>()?;
            if values.len() != own.len() {
                let (found, wanted) = (values.len(), own.len());
                return Err(Error::Weights(format!("an agent's {name} are {found} numbers, not {wanted}")));
            }
            *place = Some(values);
        }
        agent.parameters.restore(lists)?;
        Ok(agent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lstm::check_gradient;

    fn agent(lstm: usize) -> Agent {
        let config = AgentConfig { stage: 3, whole: 2, lstm, hidden: 6, heads: vec![4, 3] };
        let mut agent = Agent::new(config, &mut StdRng::seed_from_u64(4)).unwrap();
        agent.parameters.values.iter_mut().for_each(|value| *value *= 8.0);
        agent
    }

    const SEEN: [f32; 8] = [0.5, 1.0, -0.5, 0.2, 0.7, 1.0, 0.3, -0.8];

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let mut agent = agent(3);
        let allowed = [true, true, false, true];
        let choices = [
            Choice { seen: &SEEN, head: 0, allowed: &allowed, choice: 1 },
            Choice { seen: &SEEN, head: 1, allowed: &allowed[..3], choice: 0 },
        ];
        for (made, weight) in choices.iter().zip([1.0, -0.6]) {
            agent.add_gradient(made, weight, 0.3);
        }
        let gradient = agent.parameters.gradient.clone();
        let at = |i: usize, by: f32| {
            let before = agent.parameters.values[i];
            agent.parameters.values[i] += by;
            let of = |(made, weight): (&Choice, f32)| {
                let logs = agent.logs(made.seen, made.head, made.allowed);
                let entropy: f32 = logs.iter().filter(|l| l.is_finite()).map(|l| -l.exp() * l).sum();
                weight * logs[made.choice] + 0.3 * entropy
            };
            let value = choices.iter().zip([1.0, -0.6]).map(of).sum();
            agent.parameters.values[i] = before;
            value
        };
        check_gradient(at, &gradient);
    }

    #[test]
    fn it_learns_what_depends_on_what_it_sees_and_leaves_alone_what_is_masked() {
        let mut agent = agent(8);
        let allowed = [true, true, false, true];
        for round in 0..300 {
            let mut seen = SEEN;
            seen[7] = if round % 2 == 0 { 1.0 } else { -1.0 };
            let (logs, best) = (agent.logs(&seen, 0, &allowed), if round % 2 == 0 { 3 } else { 0 });
            assert_eq!(logs[2], f32::NEG_INFINITY);
            // The gradient of what is expected, whatever is drawn.
            for choice in [0, 1, 3] {
                let advantage = f32::from(u8::from(choice == best)) - logs[best].exp();
                let made = Choice { seen: &seen, head: 0, allowed: &allowed, choice };
                agent.add_gradient(&made, logs[choice].exp() * advantage, 0.0);
            }
            agent.ascend(0.02);
        }
        for (last, best) in [(1.0, 3), (-1.0, 0)] {
            let mut seen = SEEN;
            seen[7] = last;
            assert!(agent.logs(&seen, 0, &allowed)[best] > 0.8f32.ln());
        }
    }

    #[test]
    fn weights_go_both_ways_and_others_are_refused() {
        let mut agent = agent(3);
        let made = Choice { seen: &SEEN, head: 1, allowed: &[true; 3], choice: 2 };
        agent.add_gradient(&made, 1.0, 0.0);
        agent.ascend(0.01);
        let saved = agent.to_tensors().unwrap();
        let mut again = Agent::from_tensors(agent.config().clone(), &saved).unwrap();
        for agent in [&mut agent, &mut again] {
            agent.add_gradient(&made, 1.0, 0.0);
            agent.ascend(0.01);
        }
        assert_eq!(agent.logs(&SEEN, 1, &[true; 3]), again.logs(&SEEN, 1, &[true; 3]));
        let other = AgentConfig { hidden: 7, ..agent.config().clone() };
        assert!(Agent::from_tensors(other, &saved).unwrap_err().to_string().contains("numbers, not"));
        let none = AgentConfig { heads: vec![], ..agent.config().clone() };
        assert!(Agent::from_tensors(none, &saved).is_err());
    }
}
