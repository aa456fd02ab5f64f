//! `srnas space proxies`: what untrained networks say of architectures.

use super::{
    architectures::{ArchitectureArguments, number, print_csv},
    training::TrainingArguments,
};
use crate::commands::Usage;
use clap::Args;
use rayon::prelude::*;
use serde_json::{Map, Value, json};
use srnas_oracle::training::{Proxies, Proxy};
use srnas_space::SearchSpace;
use std::time::Instant;

/// Print what untrained networks say of architectures: zero-cost proxies, and how long each takes
#[derive(Debug, Args)]
pub struct ProxiesCommand {
    #[command(flatten)]
    of: TrainingArguments,
    #[command(flatten)]
    which: ArchitectureArguments,
    /// Only this proxy; may be given several times [default: all]
    #[arg(long = "proxy", value_name = "PROXY")]
    proxies: Vec<Proxy>,
    /// Seed of weights and draws
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    /// Print CSV that `srnas bench import table` reads
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

/// A score and the seconds that it took, asked alone.
type Scored = (f64, f64);

impl ProxiesCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let (space, images, training) = self.of.load()?;
        let wanted = self.wanted();
        let one = |proxy: &Proxy| -> Result<Proxies, String> {
            let proxies = Proxies::new(space.clone(), &images, training.recipe.scale, self.seed)?;
            Ok(proxies.asking(&[*proxy]))
        };
        let alone = wanted.iter().map(one).collect::<Result<Vec<Proxies>, String>>().map_err(Usage)?;
        let architectures = self.which.of(&space, self.seed)?;
        let of = |choices: &Vec<u8>| -> anyhow::Result<Vec<Scored>> {
            let score = |proxies: &Proxies| -> anyhow::Result<Scored> {
                let began = Instant::now();
                // One that cannot be built has no score; the others have.
                let score = proxies.of(choices).map_or_else(
                    |error| {
                        tracing::warn!("{}: {error}", space.format(choices));
                        f64::NAN
                    },
                    |found| found[0],
                );
                Ok((score, began.elapsed().as_secs_f64()))
            };
            alone.iter().map(score).collect()
        };
        let found = architectures.par_iter().map(of).collect::<anyhow::Result<Vec<Vec<Scored>>>>()?;
        let rows = || architectures.iter().zip(&found);
        match (self.json, self.csv) {
            (true, _) => rows().for_each(|(choices, scores)| print_json(&space, choices, &wanted, scores)),
            (_, true) => {
                let names = wanted.iter().map(|proxy| proxy.name().to_string());
                let scores = |scores: &Vec<Scored>| scores.iter().map(|(score, _)| *score).collect();
                print_csv(&space, names, rows().map(|(choices, found)| (choices, scores(found))));
            }
            _ => print_text(&space, &wanted, rows()),
        }
        Ok(())
    }

    /// In the order in which they are listed, each once.
    fn wanted(&self) -> Vec<Proxy> {
        let is_wanted = |proxy: &Proxy| self.proxies.is_empty() || self.proxies.contains(proxy);
        Proxy::ALL.into_iter().filter(is_wanted).collect()
    }
}

fn print_json(space: &SearchSpace, choices: &[u8], proxies: &[Proxy], scores: &[Scored]) {
    let of = |(proxy, (score, seconds)): (&Proxy, &Scored)| {
        (proxy.name().to_string(), json!({ "score": number(*score), "time": seconds }))
    };
    let scores: Map<String, Value> = proxies.iter().zip(scores).map(of).collect();
    println!("{}", json!({ "architecture": space.format(choices), "proxies": scores }));
}

fn print_text<'a>(
    space: &SearchSpace,
    proxies: &[Proxy],
    rows: impl Iterator<Item = (&'a Vec<u8>, &'a Vec<Scored>)>,
) {
    let mut seconds = vec![0.0; proxies.len()];
    let mut count = 0;
    for (choices, scores) in rows {
        println!("{}", space.format(choices));
        for (at, (proxy, (score, took))) in proxies.iter().zip(scores).enumerate() {
            println!(
                "  {:<10}{:>14}",
                proxy.name(),
                number(*score).map_or("-".into(), |v| format!("{v:.6}"))
            );
            seconds[at] += took;
        }
        count += 1;
    }
    println!("\nmilliseconds an architecture, each proxy asked alone:");
    for (proxy, seconds) in proxies.iter().zip(&seconds) {
        println!("  {:<10}{:>14.2}", proxy.name(), 1e3 * seconds / f64::from(count.max(1)));
    }
}
