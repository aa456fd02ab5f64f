//! The parts of a model as architectures, measured on the spot: how well they predict a text and answer questions, what they take
//! and how fast they are.

use crate::{
    LlmError,
    evaluate::{judge, perplexity_unless, speed},
    model::Model,
    questions::Question,
    subnetwork::Subnetwork,
    tokenizer::Tokenizer,
};
use sha2::{Digest, Sha256};
use srnas_basics::text::hex;
use srnas_oracle::costly::{Answer, CostlyError, CostlyOracle};
use srnas_space::SearchSpace;
use srnas_task::{Fidelities, Training};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// Tokens of a prompt that is read, and of a text that is written, to measure speed.
const READ: usize = 64;
const WRITTEN: usize = 128;
const REPEATS: usize = 5;

/// By these names a part says how fast it is.
pub const SPEEDS: [&str; 2] = ["tokens_per_s", "prompt_tokens_per_s"];

/// What parts of a model are measured by.
#[derive(Clone, Debug)]
pub struct Measures {
    /// The text that is predicted, as tokens; none where questions alone are asked.
    pub text: Vec<u32>,
    /// Tokens of a window of it.
    pub window: usize,
    /// Files of questions, by name.
    pub questions: Vec<(String, Vec<Question>)>,
    /// Whether speed is measured.
    pub speed: bool,
}

/// An oracle of the parts of a model.
pub struct LlmOracle {
    space: Arc<SearchSpace>,
    model: Model,
    tokenizer: Tokenizer,
    measures: Measures,
    fidelities: Fidelities,
    /// Speed is measured while nothing else is.
    alone: RwLock<()>,
}

impl LlmOracle {
    /// An oracle of the parts of a model in a space. Shorter measurements predict fewer tokens: the amounts of `fidelities` are
    /// tokens, and the last is all that are predicted.
    ///
    /// # Errors
    /// Nothing to measure, a window that the model cannot read, and amounts of tokens that the text does not have.
    pub fn new(
        space: Arc<SearchSpace>,
        model: Model,
        tokenizer: Tokenizer,
        mut measures: Measures,
        fidelities: Fidelities,
    ) -> Result<Self, LlmError> {
        if measures.text.is_empty() && measures.questions.is_empty() {
            return Err(LlmError::Asked("there is nothing to measure: give a text or questions".into()));
        }
        if fidelities.shorter() > 0 {
            let most = fidelities.amount(srnas_task::Fidelity::Full);
            if most > measures.text.len() as f64 {
                return Err(LlmError::Asked(format!(
                    "--fidelity asks for {most} tokens, and the text has {}",
                    measures.text.len()
                )));
            }
            measures.text.truncate(most as usize);
        }
        let context = model.config().context;
        if measures.window == 0 || measures.window > context {
            let window = measures.window;
            return Err(LlmError::Asked(format!(
                "a window of {window} tokens: 1 to {context}, the context, are possible"
            )));
        }
        Ok(Self { space, model, tokenizer, measures, fidelities, alone: RwLock::new(()) })
    }

    /// The metrics of a part; of the whole model where none is given. `tokens` of the text are predicted.
    ///
    /// # Errors
    /// A part that cannot be cut, and questions that it cannot read. Nothing where `stop` says so.
    pub fn metrics(
        &self,
        part: Option<&Subnetwork>,
        tokens: usize,
        stop: &AtomicBool,
    ) -> Result<Option<BTreeMap<String, f64>>, LlmError> {
        let cut = part.map(|part| self.model.cut(part, None)).transpose()?;
        let model = cut.as_ref().unwrap_or(&self.model);
        let mut found = BTreeMap::from([
            ("bytes".to_string(), model.bytes() as f64),
            ("parameters".to_string(), model.config().parameters() as f64),
        ]);
        {
            let _together = self.alone.read().unwrap_or_else(PoisonError::into_inner);
            if !self.measures.text.is_empty() {
                let text = &self.measures.text[..tokens.min(self.measures.text.len())];
                let Some(p) = perplexity_unless(model, text, self.measures.window, stop)? else {
                    return Ok(None);
                };
                found.insert("nats".into(), p.nats);
                found.insert("perplexity".into(), p.perplexity());
            }
            let mut shares = Vec::new();
            for (name, questions) in &self.measures.questions {
                if stop.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                let judged = judge(model, &self.tokenizer, questions)?;
                let share = |chosen: &dyn Fn(usize) -> usize| {
                    let right = (0..questions.len()).filter(|&i| chosen(i) == questions[i].answer()).count();
                    right as f64 / questions.len().max(1) as f64
                };
                let plain = share(&|i| judged[i].plain);
                found.insert(format!("accuracy/{name}"), plain);
                found.insert(format!("accuracy_by_length/{name}"), share(&|i| judged[i].normalised));
                shares.push(plain);
            }
            if !shares.is_empty() {
                found.insert("accuracy".into(), shares.iter().sum::<f64>() / shares.len() as f64);
            }
        }
        if self.measures.speed {
            let _alone = self.alone.write().unwrap_or_else(PoisonError::into_inner);
            let most = model.config().context;
            let read = READ.min(most / 2).max(1);
            let speed = speed(model, read, WRITTEN.min(most - read).max(2), REPEATS)?;
            found.insert(SPEEDS[0].into(), speed.generation);
            found.insert(SPEEDS[1].into(), speed.prompt);
        }
        Ok(Some(found))
    }
}

impl CostlyOracle for LlmOracle {
    fn space(&self) -> &Arc<SearchSpace> {
        &self.space
    }

    fn identity(&self) -> (String, String) {
        // What an answer depends on; the space is kept elsewhere.
        let mut hash = Sha256::new();
        self.model.hash_into(&mut hash);
        self.measures.text.iter().for_each(|token| hash.update(token.to_le_bytes()));
        for question in self.measures.questions.iter().flat_map(|(_, questions)| questions) {
            for choice in question.choices() {
                hash.update(choice.context.as_bytes());
                hash.update(choice.text.as_bytes());
            }
        }
        ("llm".into(), format!("llm {} window {}", hex(&hash.finalize()), self.measures.window))
    }

    fn metric_names(&self) -> Vec<String> {
        let mut names: Vec<String> = ["bytes", "parameters"].map(String::from).to_vec();
        if !self.measures.text.is_empty() {
            names.extend(["nats", "perplexity"].map(String::from));
        }
        for (name, _) in &self.measures.questions {
            names.extend([format!("accuracy/{name}"), format!("accuracy_by_length/{name}")]);
        }
        if !self.measures.questions.is_empty() {
            names.push("accuracy".into());
        }
        if self.measures.speed {
            names.extend(SPEEDS.map(String::from));
        }
        names
    }

    fn fidelities(&self) -> &Fidelities {
        &self.fidelities
    }

    fn measure(&self, training: &Training, stop: &AtomicBool) -> Result<Answer, CostlyError> {
        let failed = |e: LlmError| CostlyError::Failed(srnas_basics::text::with_causes(&e));
        let part = Subnetwork::chosen(self.model.config(), &self.space, &training.choices).map_err(failed)?;
        let tokens = match self.fidelities.shorter() {
            0 => usize::MAX,
            _ => self.fidelities.amount(training.fidelity) as usize,
        };
        match self.metrics(Some(&part), tokens, stop) {
            Ok(Some(metrics)) => Ok(Answer::Metrics(metrics)),
            Ok(None) => Err(CostlyError::Stopped),
            // A part of which a width is not there, or one that cannot read a question, is one that cannot be; others can.
            Err(error) if error.is_usage() => Ok(Answer::Infeasible(error.to_string())),
            Err(error) => Err(failed(error)),
        }
    }
}
