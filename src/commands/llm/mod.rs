//! `srnas llm`: language models: what they write, how good they are and what they cost, and parts of them in files.

mod evaluate;
mod export;
mod generate;
mod offer;
mod parts;
mod picks;
mod search;
mod tune;

pub use parts::LlmConfig;

use super::Usage;
use clap::{Args, Subcommand};
use srnas_llm::{built_in, config::Config, model::Model, tokenizer::Tokenizer, training::fresh, weights};
use std::{
    fs,
    path::{Path, PathBuf},
};

const EXAMPLES: &str = "Examples:
  srnas llm generate --model stories260K.bin --tokenizer tok512.bin --prompt 'Once upon a time' --tokens 200
  srnas llm evaluate --model stories260K.bin --tokenizer tok512.bin --text stories.txt
  srnas llm evaluate --model DIR --questions ARC-Challenge-Test.jsonl --questions TruthfulQA.csv --json
  srnas llm export --model DIR --to model-q8.gguf --format q8_0
  srnas llm export --model DIR --widths 128,172,96,160,172 --layers 0,1,3,4 --to smaller
  srnas llm tune --model stories260K.bin --tokenizer tok512.bin --text stories.txt --steps 1000 --run-dir runs/tuned
  srnas llm search --model runs/tuned/model --text stories.txt --minimise perplexity --minimise bytes --budget 100 --run-dir runs/parts
  srnas llm picks --run-dir runs/parts
  srnas llm export --run-dir runs/parts --pick smallest --to smallest.gguf";

/// Language models of the LLaMA family: generate, evaluate, export parts
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct LlmCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Continue a text
    #[command(after_help = EXAMPLES)]
    Generate(generate::Generate),
    /// Measure perplexity, multiple choice, bytes, speed and memory
    #[command(after_help = EXAMPLES)]
    Evaluate(evaluate::Evaluate),
    /// Train a model further: alone, or as a super-network whose parts are models
    #[command(after_help = EXAMPLES)]
    Tune(tune::Tune),
    /// Search a model's parts: how good they are, what they take, how fast they are
    #[command(after_help = EXAMPLES)]
    Search(Box<search::Search>),
    /// Print the parts that a search found, by name
    #[command(after_help = EXAMPLES)]
    Picks(picks::Picks),
    /// Measure one part, as `srnas evaluator` asks a program to: for a search on several machines
    #[command(after_help = search::MACHINES)]
    Measure(parts::Measure),
    /// Write a model, or a part of it, for other programs
    #[command(after_help = EXAMPLES)]
    Export(export::Export),
}

/// Where a model and its tokenizer are.
#[derive(Debug, Args)]
pub struct Given {
    /// The model: a folder with config.json and safetensors, a GGUF file, a llama2.c checkpoint, a config.json alone (random
    /// weights), or `built-in`, a small one
    #[arg(long, value_name = "DIR|FILE|built-in")]
    model: Option<PathBuf>,
    /// Its tokenizer: tokenizer.json, tokenizer.model, llama2.c's .bin, or a GGUF file [default: the one in the model's folder
    /// or GGUF file]
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
}

impl Given {
    fn load(&self) -> anyhow::Result<(Model, Tokenizer)> {
        let path = self.path()?;
        let model = load_model(path)?;
        let tokenizer = match &self.tokenizer {
            None if path == Path::new(built_in::NAME) => built_in::tokenizer()?,
            None => Tokenizer::load(path)?,
            Some(file) => Tokenizer::load(file)?,
        };
        tokenizer.check(model.config())?;
        Ok((model, tokenizer))
    }

    fn path(&self) -> anyhow::Result<&Path> {
        Ok(self.model.as_deref().ok_or_else(|| Usage("--model is missing: which model?".into()))?)
    }

    fn name(&self) -> String {
        let path = self.model.as_deref().unwrap_or(Path::new(""));
        path.file_name().map(Path::new).unwrap_or(path).display().to_string()
    }
}

/// A model by the name that `--model` has for it.
fn load_model(path: &Path) -> anyhow::Result<Model> {
    if path == Path::new(built_in::NAME) {
        return Ok(built_in::model()?);
    }
    if path.extension().is_none_or(|e| e != "json") {
        return Ok(weights::load(path)?);
    }
    let wrong = |e: String| Usage(format!("{}: {e}", path.display()));
    let text = fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    Ok(fresh(Config::from_json(&text).map_err(wrong)?, 1)?)
}

/// A path that means the same from everywhere.
fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    if path == Path::new(built_in::NAME) {
        return Ok(path.to_path_buf());
    }
    fs::canonicalize(path).map_err(|e| Usage(format!("{}: {e}", path.display())).into())
}

impl LlmCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        match self.action {
            Action::Generate(c) => c.run(),
            Action::Evaluate(c) => c.run(),
            Action::Tune(c) => c.run(),
            Action::Search(c) => c.run(),
            Action::Picks(c) => c.run(),
            Action::Measure(c) => c.run(),
            Action::Export(c) => c.run(),
        }
    }

    /// Whether what comes of it is in files.
    pub fn keeps_its_results(&self) -> bool {
        matches!(self.action, Action::Export(_) | Action::Tune(_) | Action::Search(_))
    }
}
