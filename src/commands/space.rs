//! `srnas space`: search spaces in files.

mod architectures;
mod inherit;
mod proxies;
mod shared;
mod training;

use super::Usage;
use anyhow::bail;
use clap::{Args, Subcommand};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use srnas_basics::{files::write_whole, text::percent};
use srnas_environment::compress::Students;
use srnas_space::{self as space, SPACES, SearchSpace, listed_or_drawn, unreachable_choices};
use std::{fs, path::Path, sync::Arc};

const EXAMPLES: &str = "Examples:
  srnas space check space.toml
  srnas space check configspace.json --json
  srnas space check nb201 --seed 3";

const PROXIES_EXAMPLES: &str = "Examples:
  srnas space proxies nb201 --draw 3
  srnas space proxies nb201 '|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|none~2|' --proxy snip --json
  srnas space proxies nb201 --data cifar10:DIR --all --csv > proxies.csv";

const SHARED_EXAMPLES: &str = "Examples:
  srnas space shared nb201 --draw 3
  srnas space shared nb201 --all --against digits/val/clean
  srnas space shared nb201 --data cifar10:DIR --weights cifar10.safetensors --all --csv > shared.csv";

const INHERIT_EXAMPLES: &str = "Examples:
  srnas space inherit nb201 --pairs 8
  srnas space inherit wrn-compress-22-3-basic --recipe recipe.toml --epochs 8 --json";

/// So many neighbours are shown.
const NEIGHBOURS: usize = 8;
/// Architectures that are looked at for choices that none has.
const LOOKED_AT: u64 = 100_000;

/// Look at a search space of your own
#[derive(Debug, Args)]
pub struct SpaceCommand {
    #[command(subcommand)]
    command: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print size, decisions, an example and its neighbours; warn of choices that no architecture has
    #[command(after_help = EXAMPLES)]
    Check {
        /// A file (TOML, or a ConfigSpace in JSON) or a known space
        #[arg(value_name = "FILE|NAME")]
        space: String,
        /// Seed of the example
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    #[command(after_help = PROXIES_EXAMPLES)]
    Proxies(proxies::ProxiesCommand),
    #[command(after_help = SHARED_EXAMPLES)]
    Shared(shared::SharedCommand),
    #[command(after_help = INHERIT_EXAMPLES)]
    Inherit(inherit::InheritCommand),
}

impl SpaceCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            What::Check { space, seed, json } => check(&GivenSpace::load(&space)?.space, seed, json),
            What::Proxies(proxies) => proxies.run(),
            What::Shared(shared) => shared.run(),
            What::Inherit(inherit) => inherit.run(),
        }
    }
}

fn check(space: &SearchSpace, seed: u64, as_json: bool) -> anyhow::Result<()> {
    let mut example = vec![0; space.len()];
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    space.sample(&mut rng, &mut example);
    let mut neighbours = Vec::new();
    space.for_each_edit(&mut example.clone(), |choices, d, _| {
        // An edit of what does not count leads nowhere.
        if !space.is_inactive(choices, d) {
            neighbours.push(space.format(choices));
        }
    });
    let share = space.valid_share();
    let (seen, whole) = listed_or_drawn(space, LOOKED_AT);
    let architectures = whole
        .then(|| seen.iter().map(|c| space.canonical_key(c)).collect::<std::collections::HashSet<_>>().len());
    let conditional = seen.iter().any(|c| (0..space.len()).any(|d| space.is_inactive(c, d)));
    let unreachable = unreachable_choices(space, seen);
    if as_json {
        let decisions: Vec<_> = space
            .decisions()
            .iter()
            .map(|d| {
                let values: Vec<_> = (0..d.choices.len() as u8).map(|c| d.value(c)).collect();
                json!({ "name": d.name, "choices": values })
            })
            .collect();
        let mut found = json!({
            "space": space.name(), "decisions": decisions, "combinations": space.size(),
            "log10_combinations": space.log_size() / std::f64::consts::LN_10, "valid_share": share,
            "architectures": architectures, "counting": space.counting(), "example": space.to_json(&example), "neighbours": neighbours,
            "unreachable": unreachable,
        });
        if let Some(notice) = space.notice() {
            found["notice"] = notice.into();
        }
        println!("{found}");
    } else {
        println!("{}: {} decisions", space.name(), space.len());
        let wide = space.decisions().iter().map(|d| d.name.chars().count()).max().unwrap_or(0);
        for d in space.decisions() {
            println!("  {:wide$}  {}", d.name, d.choices.join("  "));
        }
        if let Some(notice) = space.notice() {
            println!("note: {notice}");
        }
        println!();
        match space.size() {
            Some(size) if size < 1_000_000_000 => print!("{size} combinations"),
            _ => print!("1e{:.1} combinations", space.log_size() / std::f64::consts::LN_10),
        }
        let about = if whole { "" } else { "about " };
        print!(", {about}{} of them valid", percent(share));
        match architectures {
            Some(n) => println!("; {n} architectures ({})", space.counting()),
            None => println!(),
        }
        println!("Random architectures are drawn evenly from the valid combinations.");
        if conditional {
            println!(
                "Decisions that do not count are drawn too, so each choice of what they depend on is drawn as often as the \
                 others, however many architectures it leads to."
            );
        }
        println!("\nExample: {}", space.format(&example));
        println!("         {}", serde_json::Value::Object(space.to_json(&example)));
        println!("It has {} neighbours:", neighbours.len());
        neighbours.iter().take(NEIGHBOURS).for_each(|n| println!("  {n}"));
        if neighbours.len() > NEIGHBOURS {
            println!("  … and {} more", neighbours.len() - NEIGHBOURS);
        }
        for choice in &unreachable {
            let scope = if whole { "" } else { " of 100,000 that were drawn" };
            println!("warning: no architecture{scope} has {choice}");
        }
    }
    if !whole && share == 0.0 {
        bail!("no valid architecture was drawn");
    }
    Ok(())
}

/// A space, and the file that says so.
#[derive(Clone, Debug)]
pub struct GivenSpace {
    pub space: Arc<SearchSpace>,
    /// The text of the file; empty for a known space.
    pub definition: String,
    /// Where its copy is in a run directory; the name for a known space.
    pub place: String,
    /// What a teacher may become, where the space has teachers and it is known what they cost.
    pub students: Option<Students>,
}

impl GivenSpace {
    /// A space by its name or from a file.
    ///
    /// # Errors
    /// What is neither, and what is wrong in the file.
    pub fn load(name_or_file: &str) -> anyhow::Result<Self> {
        if space::is_known(name_or_file) {
            let space = SearchSpace::named(name_or_file)?;
            let (definition, place) = (String::new(), name_or_file.into());
            return Ok(Self { space, definition, place, students: None });
        }
        let path = Path::new(name_or_file);
        if !path.exists() {
            // What is no teacher says so.
            if name_or_file.starts_with(space::wrn::PREFIX) {
                SearchSpace::named(name_or_file).map_err(|e| Usage(e.to_string()))?;
            }
            let known = SPACES.join(", ");
            return Err(Usage(format!(
                "there is no file {name_or_file}, and no space of that name ({known})"
            ))
            .into());
        }
        Self::of_file(path, space::load(path).map_err(|e| Usage(e.to_string()))?)
    }

    /// The copy of a file in a run directory; a file that does not name its space had another name than its copy.
    ///
    /// # Errors
    /// What is wrong in the copy, or that there is none.
    pub fn of_copy(path: &Path, name: &str) -> anyhow::Result<Self> {
        if !path.exists() {
            let path = path.display();
            return Err(Usage(format!(
                "{path}, the copy of the space's file, has gone: put the file there again"
            ))
            .into());
        }
        Self::of_file(path, space::load_as(path, name).map_err(|e| Usage(e.to_string()))?)
    }

    fn of_file(path: &Path, space: Arc<SearchSpace>) -> anyhow::Result<Self> {
        let definition = fs::read_to_string(path)?;
        let ending =
            if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json")) { "json" } else { "toml" };
        Ok(Self { space, definition, place: format!("space.{ending}"), students: None })
    }

    /// Tells, once for a search, what was read otherwise than it is written.
    pub fn say_notice(&self) {
        if let Some(notice) = self.space.notice() {
            tracing::info!("{}: {notice}", self.space.name());
        }
    }

    /// Puts the file's copy into a run directory.
    pub fn keep(&self, run_dir: &Path) -> std::io::Result<()> {
        if self.definition.is_empty() {
            return Ok(());
        }
        write_whole(&run_dir.join(&self.place), self.definition.as_bytes())
    }
}
