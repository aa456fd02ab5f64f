//! `srnas space inherit`: how many epochs inherited weights save.

use super::training::TrainingArguments;
use crate::commands::{Usage, stop_flag};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use serde_json::json;
use srnas_basics::{
    statistics::{mean_of_few, median_of_few},
    text::number,
};
use srnas_oracle::training::inherit::{Saved, edits, pairs, saved};

/// Train parents, and children alone and with what they inherit, and print how many epochs that saves
///
/// A child is made of its parent by an edit of one decision that leaves what the network computes as it is. It is trained alone by the
/// whole recipe, and again from its parent's weights, with a fifth of the learning rate, along a cosine of its own.
#[derive(Debug, Args)]
pub struct InheritCommand {
    #[command(flatten)]
    of: TrainingArguments,
    /// How many pairs of a parent and a child to draw
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pairs: u32,
    /// Epochs of a training that inherits [default: half of the recipe's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    epochs: Option<u32>,
    /// Seed of pairs and weights
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print one JSON object per line, a summary last
    #[arg(long)]
    json: bool,
}

impl InheritCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let (space, images, training) = self.of.load()?;
        let recipe = training.recipe;
        recipe.check(&images).map_err(Usage)?;
        // Says why where the space has no edits at all.
        let nothing = vec![0; space.len()];
        edits(&space, images.shape, recipe.scale, &nothing, &nothing).map_err(|e| Usage(e.to_string()))?;
        let epochs = self.epochs.map_or((recipe.epochs / 2).max(1), |epochs| epochs as usize);
        let drawn = pairs(&space, &images, &recipe, self.pairs as usize, self.seed);
        if drawn.is_empty() {
            return Err(Usage(format!(
                "no edit was found in {} that leaves a network as it is",
                self.of.space
            ))
            .into());
        }
        let stop = stop_flag()?;
        let progress = ProgressBar::new(drawn.len() as u64).with_style(
            ProgressStyle::with_template("{bar:30} {pos}/{len} pairs, {eta} left").expect("a valid template"),
        );
        let one = |(index, [parent, child]): (usize, &[Vec<u8>; 2])| {
            let seed = self.seed + index as u64;
            let found = saved(&space, &images, &recipe, epochs, [parent, child], seed, &stop);
            progress.inc(1);
            found
        };
        let found: Vec<Saved> = drawn.par_iter().enumerate().map(one).collect::<Result<_, _>>()?;
        progress.finish_and_clear();
        let whole = recipe.epochs;
        for ([parent, child], found) in drawn.iter().zip(&found) {
            let [parent, child] = [parent, child].map(|choices| space.format(choices));
            let last = found.inherited.last().copied().unwrap_or(found.parent);
            if self.json {
                let said = json!({
                    "parent": parent, "child": child, "change": found.change, "accuracy": { "parent": found.parent,
                    "alone": found.alone, "inherited": found.inherited }, "epochs": whole, "reached": found.reached(),
                });
                println!("{said}");
                continue;
            }
            let percent = |share: f64| number(100.0 * share);
            println!("{parent}\n  to {child}");
            println!(
                "  the edit changes its outputs by {:.1e}; validation accuracy: parent {}, child alone {} after {whole} epochs, inheriting {} \
                 after {epochs}",
                found.change,
                percent(found.parent),
                percent(found.alone),
                percent(last)
            );
            match found.reached() {
                Some(after) => println!("  as good as alone after {} of these", number(after as f64)),
                None => println!("  not as good as alone after {epochs}"),
            }
        }
        self.summary(&found, whole, epochs);
        Ok(())
    }

    fn summary(&self, found: &[Saved], whole: usize, epochs: usize) {
        // Who is never as good saves nothing.
        let saves = |found: &Saved| found.reached().map_or(0.0, |after| whole as f64 - after as f64);
        let (median, [low, high]) = median_of_few(&found.iter().map(saves).collect::<Vec<_>>());
        let reached = found.iter().filter(|found| found.reached().is_some()).count();
        let change = found.iter().map(|found| found.change).fold(0.0, f64::max);
        let count = found.len();
        let gain = |found: &Saved| Some(100.0 * (found.inherited.last()? - found.alone));
        let gains: Vec<f64> = found.iter().filter_map(gain).collect();
        let (gained, [least, most]) = mean_of_few(&gains);
        if self.json {
            let saved = json!({ "median": median, "interval": [low, high] });
            println!(
                "{}",
                json!({ "summary": { "pairs": count, "reached": reached, "change": change, "epochs": whole,
                        "inheriting_epochs": epochs, "saved": saved,
                        "gain": { "mean": gained, "interval": [least, most] } } })
            );
            return;
        }
        println!("\nEdits change outputs by {change:.1e} at most.");
        println!("{reached} of {count} children are as good as alone within {epochs} epochs.");
        println!(
            "Epochs saved of {whole}: median {} [{}, {}]; a child that is never as good saves none.",
            number(median),
            number(low),
            number(high)
        );
        println!(
            "Validation accuracy after {epochs} epochs with what was inherited, above that after {whole} alone: mean {} [{}, {}] points.",
            number(gained),
            number(least),
            number(most)
        );
    }
}
