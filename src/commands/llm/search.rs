//! `srnas llm search`: the parts of a model, searched like any other space.

use super::{
    Given,
    offer::OfferArguments,
    parts::{LlmConfig, MeasureArguments},
    picks,
};
use crate::commands::{
    address::listen_address,
    live::{LiveArguments, OracleArguments, SharedPlace},
    run::default_run_dir,
    security::ListenerSecurity,
    space::GivenSpace,
};
use anyhow::Context;
use clap::Args;
use srnas_basics::{files::write_whole, text::shell};
use srnas_oracle::{OracleSpec, catalog::Catalog};
use srnas_search::{Limit, MethodSpec};
use srnas_task::Fidelities;
use std::{net::SocketAddr, path::PathBuf};

pub const MACHINES: &str = "A search on several machines:
  srnas llm search --model DIR --text F --minimise perplexity --minimise bytes --budget 100 --remote --listen 0.0.0.0:7778
  srnas evaluator --search http://HOST:7778 --oracle 'cmd:srnas llm measure --model DIR --text F'     on others

By hand:
  echo '{\"layer0\": 96, \"format0\": \"q8_0\"}' | srnas llm measure --model DIR --text F";

#[derive(Debug, Args)]
pub struct Search {
    #[command(flatten)]
    given: Given,
    #[command(flatten)]
    by: MeasureArguments,
    #[command(flatten)]
    offer: OfferArguments,
    /// The space, as a file that --save-space wrote and you changed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["widths", "fewest_layers", "formats", "kv_heads", "uniform"])]
    space: Option<PathBuf>,
    /// Write the space into a file and end: to look at, or to change
    #[arg(long, value_name = "FILE")]
    save_space: Option<PathBuf>,
    /// A metric of which less is better: nats, perplexity, bytes, parameters [default: perplexity and bytes]
    #[arg(long, value_name = "METRIC")]
    minimise: Vec<String>,
    /// A metric of which more is better: tokens_per_s, prompt_tokens_per_s, accuracy, accuracy/FILE
    #[arg(long, value_name = "METRIC")]
    maximise: Vec<String>,
    /// A limit within which a part counts, such as 'bytes <= 300000'; may be given several times
    #[arg(long, value_name = "LIMIT")]
    require: Vec<Limit>,
    /// The method: any of those of `srnas compare`, such as nsga2 or linas [default: mobo; the predictor for one metric]
    #[arg(long, value_name = "METHOD")]
    method: Option<MethodSpec>,
    /// Shorter measurements that may be paid for first: tokens=2048,16384 predicts 2,048 tokens, or 16,384
    #[arg(long, value_name = "tokens=SHORT,…,FULL", conflicts_with = "tokens")]
    fidelity: Option<Fidelities>,
    /// An earlier search of the same space that guides this one; `untrained`: the number of weights
    #[arg(long, value_name = "DIR|untrained")]
    past: Vec<String>,
    /// Share measurements with other searches for the same of the same model by a PostgreSQL database, as `srnas search --ledger` does;
    /// not for speed, where machines differ
    #[arg(long, value_name = "postgres://…")]
    ledger: Option<SharedPlace>,
    /// Measurements to make, the whole model's included
    #[arg(long, default_value_t = 50, value_name = "B", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    budget: u32,
    /// Measurements at a time; each uses all cores to predict and to answer, and speed is measured alone [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    parallel: Option<u16>,
    /// Measure nothing here: evaluators do (see `srnas llm measure --help`)
    #[arg(long)]
    remote: bool,
    /// With --remote, the address to listen on [default: 127.0.0.1:7778]
    #[arg(long, value_name = "ADDR", value_parser = listen_address)]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    security: ListenerSecurity,
    /// Seed of everything random [default: 1]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Where the search is kept [default: a new folder in runs/]
    #[arg(long, value_name = "D")]
    run_dir: Option<PathBuf>,
    /// Go on with the search that --run-dir holds; its model, its measures and its space are kept
    #[arg(long, requires = "run_dir", conflicts_with_all = ["model", "tokenizer", "text", "tokens", "window", "questions", "limit",
        "widths", "fewest_layers", "formats", "kv_heads", "uniform", "space", "save_space", "remote"])]
    resume: bool,
    /// Print one JSON object for each measurement, and one for the summary
    #[arg(long)]
    json: bool,
}

impl Search {
    pub fn run(self) -> anyhow::Result<()> {
        let parts = if self.resume { None } else { Some(self.parts()?) };
        if let (Some(path), Some((_, space))) = (&self.save_space, &parts) {
            write_whole(path, space.definition.as_bytes())
                .with_context(|| format!("cannot write {}", path.display()))?;
            println!(
                "{}: {} decisions; search it by --space {}",
                path.display(),
                space.space.len(),
                shell(path)
            );
            return Ok(());
        }
        let run_dir = self.run_dir.clone().unwrap_or_else(|| default_run_dir("llm"));
        let mut minimise = self.minimise.clone();
        if minimise.is_empty() && self.maximise.is_empty() && !self.resume {
            let quality = match &parts {
                Some((config, _)) if config.text.is_none() && !config.questions.is_empty() => None,
                _ => Some("perplexity".to_string()),
            };
            minimise = quality.into_iter().chain(["bytes".to_string()]).collect();
        }
        let search = LiveArguments {
            by: OracleArguments {
                oracle: (!self.resume).then_some(if self.remote {
                    OracleSpec::Remote
                } else {
                    OracleSpec::Llm
                }),
                maximise: self.maximise.clone(),
                minimise,
                require: self.require.clone(),
                fidelity: self.fidelity.clone(),
                parallel: self.parallel,
                ..OracleArguments::default()
            },
            past: self.past.clone(),
            method: self.method.clone(),
            ledger: self.ledger.clone(),
            listen: self.listen,
            run_dir: Some(run_dir.clone()),
            resume: self.resume,
            security: self.security,
            parts,
            ..LiveArguments::default()
        };
        let catalog = Catalog::new(None);
        search.run(None, &catalog, self.budget as usize, self.seed, self.json)?;
        if self.json {
            return Ok(());
        }
        println!();
        picks::print(&run_dir, picks::SHARE, None)
    }

    /// The model and its measures, and the space of its parts.
    fn parts(&self) -> anyhow::Result<(LlmConfig, GivenSpace)> {
        let config = LlmConfig::of(&self.given, &self.by)?;
        if let Some(path) = &self.space {
            return Ok((config, GivenSpace::load(&path.display().to_string())?));
        }
        let (model, _) = config.load()?;
        let offer = self.offer.offer(model.config())?;
        let definition = offer.definition(model.config())?;
        let space = offer.space(model.config())?;
        Ok((config, GivenSpace { space, definition, place: "space.toml".into(), students: None }))
    }
}
