//! What the parts of a model are measured by, and one measurement of one of them.

use super::{Given, absolute};
use crate::commands::Usage;
use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};
use srnas_llm::{
    built_in,
    model::Model,
    oracle::{LlmOracle, Measures, SPEEDS},
    questions, read_text,
    space::Offer,
    subnetwork::Subnetwork,
    tokenizer::Tokenizer,
};
use srnas_space::SearchSpace;
use srnas_task::Fidelities;
use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

/// Tokens of a text that are predicted where it is not said.
const TOKENS: usize = 16_384;
/// Tokens of a window.
const WINDOW: usize = 256;

/// By what parts of a model are measured.
#[derive(Clone, Debug, Args)]
pub struct MeasureArguments {
    /// Measure how well this text is predicted (plain or gzip): nats and perplexity
    #[arg(long, value_name = "FILE")]
    pub text: Option<PathBuf>,
    /// Predict so many tokens of the text, its first [default: 16,384, or what --fidelity says]
    #[arg(long, value_name = "N")]
    pub tokens: Option<usize>,
    /// Tokens of a window of the text [default: 256, or the model's context where that is less]
    #[arg(long, value_name = "N")]
    pub window: Option<usize>,
    /// Ask these multiple-choice questions: accuracy; may be given several times
    #[arg(long, value_name = "FILE")]
    pub questions: Vec<PathBuf>,
    /// Ask so many questions of each file [default: all]
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

/// A model and what its parts are measured by, as a run directory keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LlmConfig {
    pub model: PathBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<usize>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl LlmConfig {
    /// What the command line says, with paths that mean the same from everywhere.
    pub fn of(given: &Given, by: &MeasureArguments) -> anyhow::Result<Self> {
        Ok(Self {
            model: absolute(given.path()?)?,
            tokenizer: given.tokenizer.as_deref().map(absolute).transpose()?,
            text: by.text.as_deref().map(absolute).transpose()?,
            tokens: by.tokens,
            window: by.window,
            questions: by.questions.iter().map(|path| absolute(path)).collect::<Result<_, _>>()?,
            limit: by.limit,
        })
    }

    /// The model and its tokenizer.
    pub fn load(&self) -> anyhow::Result<(Model, Tokenizer)> {
        Given { model: Some(self.model.clone()), tokenizer: self.tokenizer.clone() }.load()
    }

    /// The oracle of its parts, for a search of the metrics `wanted`.
    pub fn oracle(
        &self,
        space: Arc<SearchSpace>,
        wanted: &[String],
        fidelities: Fidelities,
    ) -> anyhow::Result<LlmOracle> {
        self.oracle_of(self.load()?, space, wanted, fidelities)
    }

    /// As [`Self::oracle`], of the model that was loaded.
    fn oracle_of(
        &self,
        (model, tokenizer): (Model, Tokenizer),
        space: Arc<SearchSpace>,
        wanted: &[String],
        fidelities: Fidelities,
    ) -> anyhow::Result<LlmOracle> {
        let mut measures = Measures {
            text: Vec::new(),
            window: self.window.unwrap_or(WINDOW.min(model.config().context)),
            questions: Vec::new(),
            speed: wanted.iter().any(|metric| SPEEDS.contains(&metric.as_str())),
        };
        if let Some(path) = &self.text {
            let text = read_text(path)?;
            measures.text = tokenizer.encode(&text)?;
            if measures.text.is_empty() {
                return Err(Usage(format!("{} is empty: there is nothing to predict", path.display())).into());
            }
            if fidelities.shorter() == 0 {
                measures.text.truncate(self.tokens.unwrap_or(TOKENS));
            }
        } else if self.questions.is_empty() && self.model == Path::new(built_in::NAME) {
            measures.text = tokenizer.encode(built_in::TEXT)?;
            measures.text.truncate(self.tokens.unwrap_or(TOKENS));
            let mut asked = built_in::questions()?;
            asked.truncate(self.limit.unwrap_or(usize::MAX));
            measures.questions.push(("facts".into(), asked));
        }
        for path in &self.questions {
            let mut asked = questions::read(path)?;
            asked.truncate(self.limit.unwrap_or(usize::MAX));
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let name = name.split('.').next().unwrap_or_default().to_string();
            if measures.questions.iter().any(|(known, _)| *known == name) {
                return Err(Usage(format!("two files of questions are called {name}")).into());
            }
            measures.questions.push((name, asked));
        }
        Ok(LlmOracle::new(space, model, tokenizer, measures, fidelities)?)
    }
}

/// One measurement, asked for as `srnas evaluator` asks a program.
#[derive(Debug, Args)]
pub struct Measure {
    #[command(flatten)]
    given: Given,
    #[command(flatten)]
    by: MeasureArguments,
    /// Measure speed, too
    #[arg(long)]
    speed: bool,
}

impl Measure {
    /// Reads an architecture from stdin, a JSON object, and prints its metrics as one.
    pub fn run(self) -> anyhow::Result<()> {
        let mut config = LlmConfig::of(&self.given, &self.by)?;
        let said = |name: &str| std::env::var(name).ok().and_then(|t| t.parse::<f64>().ok());
        config.tokens = config.tokens.or(said("SRNAS_FULL_FIDELITY").map(|tokens| tokens as usize));
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read stdin")?;
        let wrong =
            |e: String| Usage(format!("stdin: {e}; it is to be an architecture, such as {{\"layer0\": 96}}"));
        let values: BTreeMap<String, serde_json::Value> =
            serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        // The space is that of the search, which has looked at the architecture.
        let loaded = config.load()?;
        let model = &loaded.0;
        let part = Subnetwork::of(model.config(), |name| match values.get(name)? {
            serde_json::Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        })?;
        let wanted: Vec<String> = if self.speed { vec![SPEEDS[0].into()] } else { Vec::new() };
        let space = Offer::of(model.config()).space(model.config())?;
        let oracle = config.oracle_of(loaded, space, &wanted, Fidelities::FULL)?;
        let tokens = said("SRNAS_FIDELITY").map_or(usize::MAX, |tokens| tokens as usize);
        let metrics = oracle.metrics(Some(&part), tokens, &AtomicBool::new(false))?;
        println!("{}", serde_json::to_string(&metrics.unwrap_or_default())?);
        Ok(())
    }
}
