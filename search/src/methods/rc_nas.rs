//! The agent of RC-NAS (arXiv 2406.06792): it compresses a wide residual network stage after stage, and learns from each student by vanilla
//! policy gradient with a baseline. One that a run has trained (`srnas run --config configs/rc-nas.toml`) is fine-tuned here; without one it
//! begins from scratch.

use super::{
    MethodError, MethodSpec, Preparation, SpecError, Starter,
    measured::{Drawing, Measured, Policy},
};
use rand_chacha::ChaCha8Rng;
use srnas_environment::compress::{Earns, Judge, Students};
use srnas_network::Agent;
use srnas_policy::{
    self as policy,
    compress::{Compressing, Decided, FineTuning, agent_config, decides_on},
};
use srnas_space::{Choices, wrn::PREFIX};
use std::path::Path;

/// Evaluations of a round of N2N, after whose rounds limits are softened less and less.
const ROUND: usize = 5;

pub fn prepare(spec: &MethodSpec, p: &Preparation) -> Result<Starter, SpecError> {
    let mut options = spec.options()?;
    let trained = options.text("policy").map(|file| trained(file, p)).transpose();
    let trained = trained.map_err(|reason| spec.unfit(reason))?;
    // One that was trained has its own.
    let known = trained.as_ref().map_or(FineTuning::SCRATCH, |(_, rate)| *rate);
    let rate = options.number("rate", known.into(), 0.0)?;
    let defaults = FineTuning::default();
    let entropy = options.number("entropy", defaults.entropy.into(), 0.0)? as f32;
    let batch = options.whole("batch", defaults.batch, 2)?;
    let (lstm, hidden) = (options.whole("lstm", 32, 1)?, options.whole("hidden", 64, 1)?);
    let earns = match options.word("reward", &["accuracy", "compression"])? {
        "compression" => Earns::Compression,
        _ => Earns::Accuracy,
    };
    options.end()?;
    let tuning = FineTuning { rate: rate as f32, entropy, batch };
    let students = p.students.cloned().or_else(|| Students::of_space(p.space));
    let Some((students, shape)) = students.zip(agent_config(p.space, lstm, hidden)) else {
        let space = p.space.name();
        return Err(spec.unfit(format!(
            "compresses wide residual networks ({PREFIX}-28-10 and its like), and {space} has others"
        )));
    };
    Ok(Box::new(move |begin| {
        let mut rng = begin.rng();
        let agent = match &trained {
            Some((agent, _)) => agent.clone(),
            None => Agent::new(shape.clone(), &mut rng).map_err(|e| MethodError(e.to_string()))?,
        };
        let Students { compression, judge } = students.clone();
        let judge = judge.earning(earns);
        let search = Compressing::new(agent, compression, tuning);
        let objectives = begin.objectives;
        Ok(Box::new(Drawing::new(begin, rng, RcNas { search, judge, objectives, told: 0 })))
    }))
}

/// The agent of a policy file, for this space, and the rate at which it learns.
fn trained(file: &str, p: &Preparation) -> Result<(Agent, f32), String> {
    let policy = policy::Policy::load(Path::new(file)).map_err(|e| format!("cannot be used: {e}"))?;
    let agent = policy.agent.ok_or_else(|| {
        format!("cannot be used: {file} has no agent; train one with srnas run --config configs/rc-nas.toml")
    })?;
    match decides_on(&agent, p.space) {
        true => Ok((agent, policy.agent_rate)),
        false => {
            let (of, own) = (&policy.space, p.space.name());
            Err(format!("cannot be used: its agent decides on {of}, and {own} has other choices"))
        }
    }
}

struct RcNas {
    search: Compressing,
    judge: Judge,
    objectives: usize,
    told: usize,
}

impl Policy for RcNas {
    type Drawn = Vec<Decided>;

    fn draw(&mut self, measured: &Measured, rng: &mut ChaCha8Rng) -> Option<(Vec<u8>, Option<Self::Drawn>)> {
        measured.draw(rng, |rng| {
            let drawn = self.search.draw(rng);
            (drawn.choices, drawn.decided)
        })
    }

    fn learn(&mut self, choices: &Choices, values: &[f32], drawn: Option<Self::Drawn>, _: &mut ChaCha8Rng) {
        let reward = self.judge.reward(self.search.compression(), choices, values[0]);
        let broken = values[self.objectives.min(values.len())..].iter().any(|slack| *slack < 0.0);
        let reward = if broken { Earns::beyond(reward, self.told / ROUND) } else { reward };
        self.told += 1;
        // What was not drawn by the agent, as the start, says nothing of its choices.
        if let Some(decided) = drawn.filter(|_| reward.is_finite()) {
            self.search.learn(decided, reward, self.judge.lipschitz(choices));
        }
    }
}
