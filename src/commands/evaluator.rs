//! `srnas evaluator`: measures what a search on another machine asks for.

use super::{
    Usage,
    actor::default_id,
    live::{
        FOLDERS, TRAININGS,
        config::TrainingConfig,
        oracle::trained,
        steering::{read_slots, slots_for},
    },
    patience::{Patience, patience},
    security::CallerSecurity,
    space::GivenSpace,
};
use anyhow::Context;
use clap::Args;
use srnas_actor::evaluator::{Evaluator, EvaluatorOptions};
use srnas_oracle::{
    OracleSpec,
    command::{CommandOptions, CommandOracle},
    costly::CostlyOracle,
};
use srnas_proto::v1::AttachResponse;
use srnas_space::SearchSpace;
use srnas_task::Fidelities;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

const EXAMPLES: &str = "Examples:
  srnas search --oracle remote --space space.toml --minimise loss --budget 60     on one machine, and on others:
  srnas evaluator --search http://HOST:7778 --oracle 'cmd:python train.py'
  srnas evaluator --search http://HOST:7778 --oracle 'cmd:python train.py' --parallel 4 --id rack2-7
  srnas evaluator --search http://HOST:7778 --oracle 'cmd:python train.py' --slots-env gpus.env
  srnas evaluator --search https://HOST:7778 --token-file token --tls-ca ca.crt --oracle train --data digits";

/// Measure architectures for a search on another machine
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct EvaluatorCommand {
    /// Address of the search, which runs with --oracle remote
    #[arg(long, alias = "learner", value_name = "URL")]
    search: String,
    /// What measures: `train` trains each network, `cmd:PROGRAM` asks a program of yours
    #[arg(long, value_name = "train|cmd:PROGRAM")]
    oracle: OracleSpec,
    /// With --oracle train, the images: digits (built in), fashion:DIR, mnist:DIR, idx:DIR, cifar10:DIR or cifar100:DIR
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    /// With --oracle train, how to train and what to measure: a TOML file with [recipe] and [questions]
    #[arg(long, value_name = "F")]
    recipe: Option<PathBuf>,
    /// With --oracle cmd:, keep the folders of good measurements too
    #[arg(long)]
    keep: bool,
    /// Measurements at a time [default: 1, or as many as lines in --slots-env]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    parallel: Option<u16>,
    /// With --oracle cmd:, variables of each slot: one line of KEY=VALUE … for each measurement at a time, such as
    /// CUDA_VISIBLE_DEVICES=0
    #[arg(long, value_name = "FILE")]
    slots_env: Option<PathBuf>,
    /// Name of the evaluator, its own; started again under the same name it gets its unfinished work back [default: the
    /// machine's name and the process number]
    #[arg(long, value_name = "NAME")]
    id: Option<String>,
    /// Give up when no search answers for so long, at the start or later: seconds, a time such as 2h, or never
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = patience)]
    connect_timeout: Patience,
    /// Where the folders of the measurements go [default: runs/evaluator-NAME]
    #[arg(long, value_name = "D")]
    run_dir: Option<PathBuf>,
    #[command(flatten)]
    security: CallerSecurity,
}

impl EvaluatorCommand {
    fn training(&self, space: &SearchSpace) -> anyhow::Result<TrainingConfig> {
        TrainingConfig::given(space, self.data.as_deref(), self.recipe.as_deref())
    }

    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let (program, training) = match &self.oracle {
            OracleSpec::Train if self.slots_env.is_some() => {
                return Err(Usage("--slots-env goes with --oracle cmd:PROGRAM".into()).into());
            }
            OracleSpec::Train => {
                // What is wrong with them is said before a search is asked for its space.
                let space = SearchSpace::named("nb201")?;
                (None, Some(self.training(&space)?))
            }
            OracleSpec::Program(_) if self.data.is_some() || self.recipe.is_some() => {
                return Err(Usage("--data and --recipe go with --oracle train".into()).into());
            }
            OracleSpec::Program(program) => (Some(program), None),
            OracleSpec::Llm => {
                let text = "--oracle llm: give 'cmd:srnas llm measure --model M --text F' (srnas llm measure --help)";
                return Err(Usage(text.into()).into());
            }
            other @ (OracleSpec::Remote | OracleSpec::Shared) => {
                return Err(Usage(format!("--oracle {other}: it is `train` or `cmd:PROGRAM`")).into());
            }
        };
        let slots = read_slots(self.slots_env.as_deref())?.unwrap_or_default();
        let parallel = slots_for(&slots, self.parallel)?.unwrap_or(1);
        let id = self.id.clone().unwrap_or_else(default_id);
        let options = EvaluatorOptions {
            security: self.security.load(&self.search)?,
            learner: self.search.clone(),
            parallel: parallel.into(),
            connect_timeout: self.connect_timeout.0,
            id: id.clone(),
        };
        let run_dir =
            self.run_dir.clone().unwrap_or_else(|| Path::new("runs").join(format!("evaluator-{id}")));
        let oracle = |search: &AttachResponse| -> anyhow::Result<Arc<dyn CostlyOracle>> {
            // Under the same name it may have worked for another search, whose trainings are not to be gone on with.
            let id: String = search.search_id.chars().filter(char::is_ascii_alphanumeric).collect();
            let run_dir = run_dir.join(format!("search-{id}"));
            let given = space_of(search, &run_dir)?;
            let fidelities = match search.fidelities.is_empty() {
                true => Fidelities::FULL,
                false => search.fidelities.parse().context("the search")?,
            };
            let metrics: Vec<String> = [&search.metric].into_iter().chain(&search.also).cloned().collect();
            if training.is_some() {
                let training = self.training(&given.space)?;
                let mut oracle = trained(&given, &training, &metrics, search.seed, fidelities)?;
                oracle.keep_in(run_dir.join(TRAININGS))?;
                return Ok(Arc::new(oracle));
            }
            let options = CommandOptions {
                command: program.cloned().unwrap_or_default(),
                metrics,
                // The search has both.
                timeout: None,
                retries: 0,
                seed: search.seed,
                folder: run_dir.join(FOLDERS),
                keep: self.keep,
                fidelities,
                slots: slots.clone(),
                // Nobody here knows which way is better.
                curves: None,
            };
            Ok(Arc::new(CommandOracle::new(given.space.clone(), given.definition, options)?))
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.block_on(async {
            let stop = super::stop_on_signal();
            let ended = "the evaluator ended";
            let Some(evaluator) = Evaluator::attach(options, &stop).await.context(ended)? else {
                tracing::info!("the search is over, or was not waited for");
                return Ok(());
            };
            let oracle = oracle(evaluator.search())?;
            let counted = evaluator.work(oracle, stop).await.context(ended)?;
            tracing::info!("{counted} measurements counted");
            Ok(())
        })
    }
}

/// The space of a search; its file is kept in the evaluator's folder.
fn space_of(search: &AttachResponse, run_dir: &Path) -> anyhow::Result<GivenSpace> {
    if srnas_space::is_known(&search.space) {
        return GivenSpace::load(&search.space);
    }
    // Whatever the search calls it, it stays in the folder.
    let name = Path::new(&search.space).file_name().context("the search has a space without a name")?;
    let path = run_dir.join(name);
    let written = fs::create_dir_all(run_dir).and_then(|()| fs::write(&path, &search.space_definition));
    written.with_context(|| format!("cannot write {}", path.display()))?;
    GivenSpace::load(&path.display().to_string())
}
