//! Some architectures of a space, as a command line names them, and tables of what is said of them.

use crate::commands::Usage;
use clap::Args;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use srnas_space::SearchSpace;
use std::collections::HashSet;

/// Which architectures are looked at.
#[derive(Debug, Args)]
pub struct ArchitectureArguments {
    /// The architectures, in the notation of the space, as decision=choice,… or in JSON [default: some drawn at random]
    #[arg(value_name = "ARCH")]
    architectures: Vec<String>,
    /// How many to draw where none is given
    #[arg(long, default_value_t = 8, value_name = "N", conflicts_with = "architectures", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    draw: u32,
    /// Every architecture of the space
    #[arg(long, conflicts_with_all = ["architectures", "draw"])]
    all: bool,
}

impl ArchitectureArguments {
    /// Those given; else each once, by the space's rule for what counts as the same.
    pub fn of(&self, space: &SearchSpace, seed: u64) -> Result<Vec<Vec<u8>>, Usage> {
        if !self.architectures.is_empty() {
            let parsed = |text: &String| space.parse(text).map_err(|error| Usage(error.to_string()));
            return self.architectures.iter().map(parsed).collect();
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
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
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
pub fn number(score: f64) -> Option<f64> {
    score.is_finite().then_some(score)
}

/// A column for each decision, and one for each of these names; `srnas bench import table` reads it.
pub fn print_csv<'a>(
    space: &SearchSpace,
    names: impl Iterator<Item = String>,
    rows: impl Iterator<Item = (&'a Vec<u8>, Vec<f64>)>,
) {
    let line = |fields: Vec<String>| {
        let quoted = fields.into_iter().map(|field| match field.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", field.replace('"', "\"\"")),
            false => field,
        });
        println!("{}", quoted.collect::<Vec<_>>().join(","));
    };
    let decisions = space.decisions().iter();
    line(decisions.clone().map(|decision| decision.name.to_string()).chain(names).collect());
    for (choices, scores) in rows {
        let choice =
            decisions.clone().zip(choices).map(|(d, &choice)| d.choices[usize::from(choice)].to_string());
        let scores = scores.into_iter().map(|score| number(score).map_or(String::new(), |v| v.to_string()));
        line(choice.chain(scores).collect());
    }
}
