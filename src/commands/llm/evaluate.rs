//! `srnas llm evaluate`.

use super::Given;
use clap::Args;
use serde_json::{Map, Value, json};
use srnas_basics::text::percent;
use srnas_llm::{
    evaluate::{judge, peak_memory, perplexity, speed},
    matrix::Format,
    questions,
    subnetwork::Subnetwork,
};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Evaluate {
    #[command(flatten)]
    given: Given,
    /// A text to predict, also .gz: nats a token and perplexity
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Tokens of a window, each of which is read on its own [default: the model's context]
    #[arg(long, value_name = "N")]
    window: Option<usize>,
    /// Only the first tokens of the text
    #[arg(long, value_name = "N")]
    tokens: Option<usize>,
    /// Questions as ARC, MMLU, TruthfulQA, WinoGrande and BLiMP are published (.jsonl, .json, .csv, also .gz); may be given
    /// several times
    #[arg(long, value_name = "FILE", num_args = 1..)]
    questions: Vec<PathBuf>,
    /// Only the first questions of each file
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Convert the weights first
    #[arg(long, value_name = "f32|q8_0|q4_0")]
    format: Option<Format>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

// Speed is measured on so many tokens of a prompt and written, at most: the best of so many times.
const PROMPT: usize = 128;
const WRITTEN: usize = 128;
const REPEATS: usize = 5;

impl Evaluate {
    pub fn run(self) -> anyhow::Result<()> {
        let (mut model, tokenizer) = self.given.load()?;
        if let Some(format) = self.format {
            model = model.cut(&Subnetwork::whole(model.config(), format), None)?;
        }
        let mut found = Map::new();
        let mut say = |key: &str, line: String, value: Value| {
            if !self.json {
                println!("{line}");
            }
            found.insert(key.into(), value);
        };
        let config = model.config();
        let (parameters, bytes) = (config.parameters(), model.bytes());
        say("parameters", format!("{}: {parameters} parameters", self.given.name()), parameters.into());
        say("bytes", format!("{bytes} bytes of weights"), bytes.into());
        if let Some(path) = &self.text {
            let mut tokens = tokenizer.encode(&srnas_llm::read_text(path)?)?;
            tokens.truncate(self.tokens.unwrap_or(usize::MAX));
            let window = self.window.unwrap_or(config.context);
            let p = perplexity(&model, &tokens, window)?;
            let line = format!(
                "{:.4} nats a token, perplexity {:.3}: {} tokens in {} windows of {window}, each from the beginning of a text on",
                p.nats,
                p.perplexity(),
                p.tokens,
                p.windows
            );
            let value = json!({ "file": path, "nats": p.nats, "perplexity": p.perplexity(), "tokens": p.tokens,
                "windows": p.windows, "window": window });
            say("text", line, value);
        }
        let mut files = Vec::new();
        for path in &self.questions {
            let mut asked = questions::read(path)?;
            asked.truncate(self.limit.unwrap_or(usize::MAX));
            let judged = judge(&model, &tokenizer, &asked)?;
            let n = asked.len().max(1) as f64;
            let right = |of: &dyn Fn(usize) -> usize| {
                (0..asked.len()).filter(|&i| of(i) == asked[i].answer()).count() as f64 / n
            };
            let (plain, normalised) = (right(&|i| judged[i].plain), right(&|i| judged[i].normalised));
            let chance = asked.iter().map(|q| 1.0 / q.choices().len() as f64).sum::<f64>() / n;
            if !self.json {
                println!(
                    "{}: {} of {} questions, {} by the length of the choices; chance {}",
                    path.display(),
                    percent(plain),
                    asked.len(),
                    percent(normalised),
                    percent(chance)
                );
            }
            files.push(json!({ "file": path, "questions": asked.len(), "accuracy": plain,
                "accuracy_by_length": normalised, "chance": chance }));
        }
        found.insert("questions".into(), files.into());
        let most = model.config().context;
        let prompt = PROMPT.min(most / 2).max(1);
        let s = speed(&model, prompt, WRITTEN.min(most - prompt), REPEATS)?;
        let memory = peak_memory();
        if !self.json {
            println!("{:.0} tokens/s read, {:.0} tokens/s written, on one thread", s.prompt, s.generation);
            if let Some(bytes) = memory {
                println!("{} MB of memory at most", bytes / 1_000_000);
            }
        }
        found.insert("prompt_tokens_per_s".into(), s.prompt.into());
        found.insert("tokens_per_s".into(), s.generation.into());
        found.insert("peak_memory_bytes".into(), json!(memory));
        if self.json {
            println!("{}", Value::Object(found));
        }
        Ok(())
    }
}
