//! `srnas llm generate`.

use super::Given;
use clap::Args;
use serde_json::json;
use srnas_llm::generate::{Sampling, generate};

#[derive(Debug, Args)]
pub struct Generate {
    #[command(flatten)]
    given: Given,
    /// Text to continue
    #[arg(long, default_value = "", hide_default_value = true)]
    prompt: String,
    /// Most tokens to write
    #[arg(long, default_value_t = 100, value_name = "N")]
    tokens: usize,
    /// 0: the likeliest token each time; above: the higher, the more is left to chance
    #[arg(long, default_value_t = 0.0, value_name = "T")]
    temperature: f32,
    /// Seed of what is drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Generate {
    pub fn run(self) -> anyhow::Result<()> {
        let (model, tokenizer) = self.given.load()?;
        let mut prompt: Vec<u32> = model.config().bos.into_iter().collect();
        prompt.extend(tokenizer.encode(&self.prompt)?);
        let sampling = Sampling { temperature: self.temperature, seed: self.seed };
        let written = generate(&model, &prompt, self.tokens, sampling)?;
        let text = tokenizer.decode(&[&prompt[..], &written.tokens].concat())?;
        if self.json {
            // Of fewer than two tokens there is no speed.
            let speed = Some(written.speed()).filter(|s| s.is_finite() && *s > 0.0);
            println!(
                "{}",
                json!({ "text": text, "tokens": written.tokens, "prompt_tokens": written.prompt,
                    "prompt_tokens_per_s": written.prompt_speed(), "tokens_per_s": speed })
            );
        } else {
            println!("{text}");
        }
        Ok(())
    }
}
