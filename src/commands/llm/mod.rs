//! `srnas llm`: language models: what they write, how good they are and what they cost, and parts of them in files.

mod evaluate;
mod export;
mod generate;

use clap::{Args, Subcommand};
use srnas_llm::{model::Model, tokenizer::Tokenizer, weights};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "Examples:
  srnas llm generate --model stories260K.bin --tokenizer tok512.bin --prompt 'Once upon a time' --tokens 200
  srnas llm evaluate --model stories260K.bin --tokenizer tok512.bin --text stories.txt
  srnas llm evaluate --model DIR --questions ARC-Challenge-Test.jsonl --questions TruthfulQA.csv --json
  srnas llm export --model DIR --to model-q8.gguf --format q8_0
  srnas llm export --model DIR --widths 128,172,96,160,172 --layers 0,1,3,4 --to smaller";

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
    /// Write a model, or a part of it, for other programs
    #[command(after_help = EXAMPLES)]
    Export(export::Export),
}

/// Where a model and its tokenizer are.
#[derive(Debug, Args)]
struct Given {
    /// The model: a folder with config.json and safetensors, a GGUF file, or a llama2.c checkpoint
    #[arg(long, value_name = "DIR|FILE")]
    model: PathBuf,
    /// Its tokenizer: tokenizer.json, tokenizer.model, llama2.c's .bin, or a GGUF file [default: the one in the model's folder
    /// or GGUF file]
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
}

impl Given {
    fn load(&self) -> anyhow::Result<(Model, Tokenizer)> {
        let model = weights::load(&self.model)?;
        let tokenizer = Tokenizer::load(self.tokenizer.as_deref().unwrap_or(&self.model))?;
        tokenizer.check(model.config())?;
        Ok((model, tokenizer))
    }

    fn name(&self) -> String {
        let file = self.model.file_name().map(Path::new).unwrap_or(&self.model);
        file.display().to_string()
    }
}

impl LlmCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        match self.action {
            Action::Generate(c) => c.run(),
            Action::Evaluate(c) => c.run(),
            Action::Export(c) => c.run(),
        }
    }

    /// Whether what comes of it is in files.
    pub fn keeps_its_results(&self) -> bool {
        matches!(self.action, Action::Export(_))
    }
}
