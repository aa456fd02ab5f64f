//! `srnas space proxies`: what untrained networks say of architectures.

use super::GivenSpace;
use crate::commands::{Usage, live::config::TrainingConfig};
use clap::Args;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde_json::{Map, Value, json};
use srnas_oracle::training::{Proxies, Proxy, data};
use srnas_space::SearchSpace;
use std::{collections::HashSet, path::PathBuf, time::Instant};

/// Print what untrained networks say of architectures: zero-cost proxies, and how long each takes
#[derive(Debug, Args)]
pub struct ProxiesCommand {
    /// A space whose architectures can be trained: nb201
    #[arg(value_name = "FILE|NAME")]
    space: String,
    /// The architectures, in the notation of the space, as decision=choice,… or in JSON [default: some drawn at random]
    #[arg(value_name = "ARCH")]
    architectures: Vec<String>,
    /// How many to draw where none is given
    #[arg(long, default_value_t = 8, value_name = "N", conflicts_with = "architectures", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    draw: u32,
    /// Every architecture of the space
    #[arg(long, conflicts_with_all = ["architectures", "draw"])]
    all: bool,
    /// Only this proxy; may be given several times [default: all]
    #[arg(long = "proxy", value_name = "PROXY")]
    proxies: Vec<Proxy>,
    /// The images, as for `srnas search --oracle train`
    #[arg(long, value_name = "DATA", default_value = "digits")]
    data: String,
    /// How large the networks are: the TOML file of `srnas search --recipe`
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
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
        let space = GivenSpace::load(&self.space)?.space;
        let training = TrainingConfig::given(&space, Some(&self.data), self.recipe.as_deref())?;
        let images = data::load(&training.data, &mut |path| tracing::info!("reading {}", path.display()))
            .map_err(|error| Usage(error.to_string()))?;
        let wanted = self.wanted();
        let one = |proxy: &Proxy| -> Result<Proxies, String> {
            let proxies = Proxies::new(space.clone(), &images, training.recipe.scale, self.seed)?;
            Ok(proxies.asking(&[*proxy]))
        };
        let alone = wanted.iter().map(one).collect::<Result<Vec<Proxies>, String>>().map_err(Usage)?;
        let architectures = self.architectures(&space)?;
        let of = |choices: &Vec<u8>| -> anyhow::Result<Vec<Scored>> {
            let score = |proxies: &Proxies| -> anyhow::Result<Scored> {
                let began = Instant::now();
                let found = proxies.of(choices)?;
                Ok((found[0], began.elapsed().as_secs_f64()))
            };
            alone.iter().map(score).collect()
        };
        let found = architectures.par_iter().map(of).collect::<anyhow::Result<Vec<Vec<Scored>>>>()?;
        let rows = || architectures.iter().zip(&found);
        match (self.json, self.csv) {
            (true, _) => rows().for_each(|(choices, scores)| print_json(&space, choices, &wanted, scores)),
            (_, true) => print_csv(&space, &wanted, rows()),
            _ => print_text(&space, &wanted, rows()),
        }
        Ok(())
    }

    /// In the order in which they are listed, each once.
    fn wanted(&self) -> Vec<Proxy> {
        let is_wanted = |proxy: &Proxy| self.proxies.is_empty() || self.proxies.contains(proxy);
        Proxy::ALL.into_iter().filter(is_wanted).collect()
    }

    /// Those given; else each once, by the space's rule for what counts as the same.
    fn architectures(&self, space: &SearchSpace) -> anyhow::Result<Vec<Vec<u8>>> {
        if !self.architectures.is_empty() {
            let parsed = |text: &String| space.parse(text).map_err(|error| Usage(error.to_string()));
            return Ok(self.architectures.iter().map(parsed).collect::<Result<_, _>>()?);
        }
        let (wanted, mut choices) = (self.draw as usize, vec![0; space.len()]);
        let (mut keys, mut found) = (HashSet::new(), Vec::new());
        let mut take = |choices: &[u8]| {
            if space.is_valid(choices) && keys.insert(space.canonical_key(choices)) {
                let mut active = choices.to_vec();
                space.activate(&mut active);
                found.push(active);
            }
            found.len()
        };
        if self.all {
            for rank in 0..space.size().unwrap_or(0) {
                space.unrank(rank, &mut choices);
                take(&choices);
            }
            return Ok(found);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        // A space may have fewer.
        for _ in 0..100 * wanted {
            space.sample(&mut rng, &mut choices);
            if take(&choices) == wanted {
                break;
            }
        }
        Ok(found)
    }
}

/// As it is known of one that has no number.
fn number(score: f64) -> Option<f64> {
    score.is_finite().then_some(score)
}

fn print_json(space: &SearchSpace, choices: &[u8], proxies: &[Proxy], scores: &[Scored]) {
    let of = |(proxy, (score, seconds)): (&Proxy, &Scored)| {
        (proxy.name().to_string(), json!({ "score": number(*score), "time": seconds }))
    };
    let scores: Map<String, Value> = proxies.iter().zip(scores).map(of).collect();
    println!("{}", json!({ "architecture": space.format(choices), "proxies": scores }));
}

/// A column for each decision, and one for each proxy.
fn print_csv<'a>(
    space: &SearchSpace,
    proxies: &[Proxy],
    rows: impl Iterator<Item = (&'a Vec<u8>, &'a Vec<Scored>)>,
) {
    let line = |fields: Vec<String>| {
        let quoted = fields.into_iter().map(|field| match field.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", field.replace('"', "\"\"")),
            false => field,
        });
        println!("{}", quoted.collect::<Vec<_>>().join(","));
    };
    let decisions = space.decisions().iter();
    let names = proxies.iter().map(|proxy| proxy.name().to_string());
    line(decisions.clone().map(|decision| decision.name.to_string()).chain(names).collect());
    for (choices, scores) in rows {
        let choice =
            decisions.clone().zip(choices).map(|(d, &choice)| d.choices[usize::from(choice)].to_string());
        let scores = scores.iter().map(|(score, _)| number(*score).map_or(String::new(), |v| v.to_string()));
        line(choice.chain(scores).collect());
    }
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
