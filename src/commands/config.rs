//! `srnas config`: the configuration that holds, where each value is from, and every key there is.

use clap::{Args, Subcommand};
use serde_json::json;
use srnas_config::{
    Config, ConfigError, keys,
    layers::{ConfigFile, Origin, Override, PREFIX, Resolved, resolve},
};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "Examples:
  srnas config show --config configs/nb201-transfer.toml
  SRNAS_LEARNING__BATCH=256 srnas config show --set run.actors=4 > run.toml
  srnas config reference

Later layers win: defaults, the file, environment variables (SRNAS_SECTION__KEY), flags such as --seed, --set.";

/// The run that needs nothing but the program.
const BUILT_IN: ConfigFile =
    ConfigFile { text: include_str!("../../configs/digits.toml"), place: "configs/digits.toml, built in" };

/// The layers of a configuration that the command line decides on.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Configuration of the run, TOML; `configs/` has some [default: the built-in benchmark, unless tasks are named]
    #[arg(long, value_name = "F")]
    config: Option<PathBuf>,
    /// Train on these tasks in place of the configuration's; braces abbreviate, may be repeated
    #[arg(long, value_name = "T")]
    task: Vec<String>,
    /// Minutes of training [default: as in the configuration]
    #[arg(long, value_name = "M")]
    minutes: Option<f64>,
    /// Environment steps after which to end, if that is sooner
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    steps: Option<i64>,
    /// Seed of everything random
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(i64).range(0..))]
    seed: Option<i64>,
    /// Set any key, such as learning.batch=256; may be repeated, `srnas config reference` has them all
    #[arg(long, value_name = "KEY=VALUE", value_parser = Override::parse)]
    set: Vec<Override>,
}

impl ConfigArgs {
    /// The seed, if one is given.
    pub fn seed(&self) -> Option<u64> {
        self.seed.and_then(|seed| u64::try_from(seed).ok())
    }

    /// The file, if one is given.
    pub fn file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Puts the layers together; `more` are flags that only some commands have.
    pub fn resolve(&self, more: impl IntoIterator<Item = Override>) -> Result<Resolved, ConfigError> {
        self.resolve_over(None, more)
    }

    /// As [`Self::resolve`], with `file` as the file where the command line names none.
    pub fn resolve_over(
        &self,
        file: Option<&Path>,
        more: impl IntoIterator<Item = Override>,
    ) -> Result<Resolved, ConfigError> {
        let path = self.config.as_deref().or(file);
        let text = path.map(Config::text).transpose()?;
        let place = path.map(|path| path.display().to_string()).unwrap_or_default();
        self.resolve_text(text.as_deref().map(|text| ConfigFile { text, place: &place }), more)
    }

    /// As [`Self::resolve`], with `file` as the file, whatever the command line names.
    pub fn resolve_text(
        &self,
        file: Option<ConfigFile>,
        more: impl IntoIterator<Item = Override>,
    ) -> Result<Resolved, ConfigError> {
        let mut flags: Vec<Override> = Vec::new();
        if !self.task.is_empty() {
            flags.push(Override::new("--task", "tasks.train", self.task.clone()));
            // The families that a file keeps out are those of its own tasks.
            flags.push(Override::new("--task", "validation.families", Vec::<String>::new()));
        }
        flags.extend(self.minutes.map(|minutes| Override::new("--minutes", "run.minutes", minutes)));
        flags.extend(self.steps.map(|steps| Override::new("--steps", "run.steps", steps)));
        flags.extend(self.seed.map(|seed| Override::new("--seed", "seed", seed)));
        flags.extend(more);
        // What is set by its full name comes last.
        flags.extend(self.set.iter().cloned());
        let resolved = resolve(file, variables(), flags.clone())?;
        // Where nobody says what to train on, it is the built-in benchmark.
        match resolved.origin.get("tasks.train") {
            Some(Origin::Default) if file.is_none() => resolve(Some(BUILT_IN), variables(), flags),
            _ => Ok(resolved),
        }
    }
}

/// The environment variables that may be configuration. What is not UTF-8 is shown in errors as far as it can be.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| name.starts_with(PREFIX))
}

/// Show the configuration that holds, and every key there is
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ConfigCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the configuration as TOML, each key with where its value is from; what is printed can be loaded
    Show {
        #[command(flatten)]
        args: ConfigArgs,
        /// Print one JSON object per key
        #[arg(long)]
        json: bool,
    },
    /// Print every key with its values, default and meaning, as Markdown
    Reference,
}

impl ConfigCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let text = match self.action {
            Action::Show { args, json } => {
                let resolved = args.resolve([])?;
                if json { json_lines(&resolved) } else { resolved.to_toml() }
            }
            Action::Reference => keys::reference(),
        };
        print!("{text}");
        Ok(())
    }
}

fn json_lines(resolved: &Resolved) -> String {
    let values = resolved.values();
    let line = |(key, origin): (&String, &srnas_config::layers::Origin)| json!({ "key": key, "value": values[key], "layer": origin.layer(), "from": origin.to_string() });
    resolved.origin.iter().map(|entry| line(entry).to_string() + "\n").collect()
}
