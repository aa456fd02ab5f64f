//! `srnas llm export`.

use super::{
    super::Usage,
    Given,
    picks::{self, Found},
};
use clap::Args;
use serde_json::json;
use srnas_llm::{
    config::Config,
    export::{Uneven, gguf, hugging_face},
    matrix::Format,
    subnetwork::{Kept, Subnetwork},
};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Export {
    #[command(flatten)]
    given: Given,
    /// Where to write: a folder for Hugging Face's transformers, or a file that ends in .gguf for llama.cpp
    #[arg(long, value_name = "DIR|FILE.gguf")]
    to: PathBuf,
    /// What a search found: the run directory of `srnas llm search`, instead of --model
    #[arg(long, value_name = "D", requires = "pick", conflicts_with_all = ["model", "tokenizer", "layers", "widths", "format"])]
    run_dir: Option<PathBuf>,
    /// With --run-dir, which part: smallest, fastest, best, best:BYTES, or an architecture as `srnas best` and `srnas llm picks --json`
    /// print it
    #[arg(long, value_name = "NAME", requires = "run_dir")]
    pick: Option<String>,
    /// With --pick, how much of the whole model's quality the smallest and the fastest may lose: a share
    #[arg(long, value_name = "SHARE", default_value_t = picks::SHARE, value_parser = picks::share, requires = "pick")]
    within: f64,
    /// Layers that are kept, counted from 0 [default: all]
    #[arg(long, value_delimiter = ',', value_name = "I,…")]
    layers: Option<Vec<usize>>,
    /// MLP channels that are kept: one number for all layers, or one for each of the model's
    #[arg(long, value_delimiter = ',', value_name = "W,…")]
    widths: Option<Vec<usize>>,
    /// Weight format of a GGUF file; Hugging Face's folders have f32
    #[arg(long, value_name = "f32|q8_0|q4_0", default_value = "f32")]
    format: Format,
    /// In a GGUF file, fill MLPs up to one width with zeros: more programs load that, and it is larger
    #[arg(long)]
    padded: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Export {
    pub fn run(self) -> anyhow::Result<()> {
        let to_gguf = self.to.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf"));
        if !to_gguf && self.format != Format::F32 {
            let to = self.to.display();
            return Err(
                Usage(format!("{} is for GGUF files: {to} does not end in .gguf", self.format)).into()
            );
        }
        let (model, tokenizer, kept) = match (&self.run_dir, &self.pick) {
            (Some(run_dir), Some(pick)) => {
                let found = Found::load(run_dir)?;
                let (model, tokenizer) = found.config.load()?;
                (model, tokenizer, found.named(pick, self.within)?)
            }
            _ => {
                let (model, tokenizer) = self.given.load()?;
                let kept = self.kept(model.config())?;
                (model, tokenizer, kept)
            }
        };
        let part = model.cut(&kept, None)?;
        if to_gguf {
            let uneven = if self.padded { Uneven::Padded } else { Uneven::Listed };
            gguf(&part, &tokenizer, &self.to, uneven)?;
        } else {
            hugging_face(&part, &tokenizer, &self.to)?;
        }
        let (parameters, bytes, was) = (part.config().parameters(), part.bytes(), model.bytes());
        if self.json {
            println!(
                "{}",
                json!({ "to": self.to, "parameters": parameters, "bytes": bytes, "bytes_before": was })
            );
        } else {
            println!(
                "{}: {parameters} parameters, {bytes} bytes of weights (before: {was})",
                self.to.display()
            );
        }
        Ok(())
    }

    /// What the command line says of a model.
    fn kept(&self, config: &Config) -> anyhow::Result<Subnetwork> {
        let full = &config.widths;
        let widths = match self.widths.as_deref() {
            None => full.clone(),
            Some([one]) => vec![*one; full.len()],
            Some(each) if each.len() == full.len() => each.to_vec(),
            Some(each) => {
                let (given, layers) = (each.len(), full.len());
                return Err(Usage(format!(
                    "--widths has {given} numbers: 1, or {layers}, one for each layer"
                ))
                .into());
            }
        };
        let mut present = vec![self.layers.is_none(); full.len()];
        for &layer in self.layers.iter().flatten() {
            let most = full.len() - 1;
            *present
                .get_mut(layer)
                .ok_or_else(|| Usage(format!("there is no layer {layer}: 0 to {most} are there")))? = true;
        }
        let kept = |(width, present): (usize, bool)| present.then_some(Kept { width, format: self.format });
        let layers = widths.into_iter().zip(present).map(kept).collect();
        Ok(Subnetwork { layers, embedding: self.format, kv_heads: config.kv_heads })
    }
}
