//! `srnas search --oracle`: a search whose measurements are made on the spot.

mod alone;
mod asked;
pub mod config;
mod display;
pub mod ledger;
pub mod look;
pub mod oracle;
pub mod page;
mod part;
pub mod past;
mod reported;
mod resumed;
pub mod retry;
mod shared;
mod start;
pub mod status;
pub mod steering;

use super::{
    Usage, address::listen_address, llm::LlmConfig, run::default_run_dir, security::ListenerSecurity,
    space::GivenSpace, stop_flag, tasks::PartArguments, view::Bound,
};
use alone::Alone;
use anyhow::{Context, bail};
use clap::{ArgGroup, Args};
use config::LiveConfig;
use display::{Display, More};
use ledger::SearchLedger;
use page::SearchSource;
use reported::Reports;
use shared::Shared;
pub use shared::SharedPlace;
use srnas_basics::text::{number, shell, with_causes};
use srnas_learner::Start;
use srnas_llm::space::whole;
use srnas_oracle::{OracleSpec, catalog::Catalog, costly::CostlyOracle};
use srnas_policy::Policy;
use srnas_search::{
    Enough, Event, Guide, Inbox, Limit, LiveSearch, MethodSpec, Past,
    report::{SearchPage, SearchReport},
};
use srnas_task::{Fidelities, Training};
use status::Reporter;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};
use steering::{SteeringArguments, StopEarly};
use tracing::{info, warn};

/// The folder of a run directory in which each measurement by a program has a folder of its own.
pub const FOLDERS: &str = "measurements";
/// The folder of a run directory with what each training reported as it went.
pub const CURVES: &str = "curves";
/// The folder of a run directory in which shorter trainings are left for longer ones to go on from.
pub const TRAININGS: &str = "trainings";

/// How measurements are made.
#[derive(Clone, Debug, Default, Args)]
pub struct OracleArguments {
    /// Make the measurements instead of looking them up: `train` trains each network, `cmd:PROGRAM` asks a program of yours,
    /// `remote` asks evaluators on this or other machines (docs/your-own-search.md), `shared` trains weights that all networks
    /// share, once, and asks each on them (docs/reinforcement-learning.md)
    #[arg(long, value_name = "train|shared|cmd:PROGRAM|remote")]
    pub oracle: Option<OracleSpec>,
    /// With --oracle, the space that is searched: a file (TOML, or a ConfigSpace in JSON) or a name [default: nb201]
    #[arg(long, value_name = "FILE|NAME", requires = "live")]
    pub space: Option<String>,
    /// With --oracle train or shared, the images: digits (built in), fashion:DIR, mnist:DIR, idx:DIR, cifar10:DIR or cifar100:DIR
    #[arg(long, value_name = "DATA", requires = "live")]
    pub data: Option<String>,
    /// With --oracle train or shared, how to train and what to measure: a TOML file with [recipe], [questions] and [shared],
    /// such as the config.toml of an earlier search
    #[arg(long, value_name = "F", requires = "live")]
    pub recipe: Option<PathBuf>,
    /// With --oracle shared, the file of the shared weights: trained into it, or taken from it where they are there [default: in
    /// the run directory]
    #[arg(long, value_name = "F", requires = "live")]
    pub shared_weights: Option<PathBuf>,
    /// With --oracle, the metric to search for [default with train: val/clean, with shared:
    /// shared_weights/accuracy]; or a metric times what costs are to their targets,
    /// such as 'accuracy*(latency_ms/12)^-0.07'; with several of these and of --minimise, the front of what no other architecture is
    /// better than in everything (docs/several-objectives.md)
    #[arg(long, value_name = "METRIC", requires = "live")]
    pub maximise: Vec<String>,
    /// With --oracle, a metric of which less is better
    #[arg(long, value_name = "METRIC", requires = "live")]
    pub minimise: Vec<String>,
    /// A limit within which an architecture counts, such as 'latency_ms <= 12'; may be given several times
    #[arg(long, value_name = "LIMIT")]
    pub require: Vec<Limit>,
    /// With --oracle, shorter trainings that may be paid for first, and the full one last: epochs=3,27 has trainings of 3 and of
    /// 27 epochs, and the short one costs a ninth of --budget's unit (docs/short-trainings.md). epochs=0,27 asks as well, of 300
    /// architectures and for nothing, what can be said without training (docs/your-own-search.md)
    #[arg(long, value_name = "UNIT=SHORT,…,FULL", requires = "live")]
    pub fidelity: Option<Fidelities>,
    /// With --oracle, measurements at a time [default: all cores; for a program 1, or as many as lines in --slots-env; with remote
    /// as many as evaluators ask for]
    #[arg(long, value_name = "N", requires = "live", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub parallel: Option<u16>,
    /// With --oracle cmd: or remote, the longest time of a measurement, such as 90s or 2h; longer ones are infeasible [default: none]
    #[arg(long, value_name = "TIME", requires = "live")]
    pub timeout: Option<humantime::Duration>,
    /// With --oracle cmd: or remote, how often an infeasible measurement is tried again [default: 0]
    #[arg(long, value_name = "N", requires = "live")]
    pub retries: Option<u32>,
    /// With --oracle cmd:, keep the folders of good measurements too
    #[arg(long, requires = "live")]
    pub keep: bool,
    /// With --oracle cmd:, variables of each slot: one line of KEY=VALUE … for each measurement at a time, such as
    /// CUDA_VISIBLE_DEVICES=0 (every program has its slot's number in SRNAS_SLOT)
    #[arg(long, value_name = "FILE", requires = "live")]
    pub slots_env: Option<PathBuf>,
    /// With --oracle cmd: or remote, stop a training early where its best value so far is worse than the median of the others' means
    /// up to the same epoch, by the lines {"epoch": 3, "loss": 0.4} that the program prints as it goes: median, or
    /// median:after=3,of=5 (not before epoch 3, and where five others got as far). `never` takes it back [default: never]
    #[arg(long, value_name = "RULE", requires = "live")]
    pub stop_early: Option<StopEarly>,
}

/// How a search makes its measurements.
#[derive(Debug, Default, Args)]
#[command(group = ArgGroup::new("live").args(["oracle", "resume"]).multiple(true))]
pub struct LiveArguments {
    #[command(flatten)]
    pub by: OracleArguments,
    /// With --oracle, an earlier task on the same space that guides this search: the run directory of a search, whatever it
    /// searched for, or of `srnas run`, or a task on a benchmark; may be given several times. `untrained`: what takes no
    /// training, by formulas of the space file (describe) or with --oracle train by what untrained networks say. `none`: nothing
    /// [default: with --oracle train untrained, where one metric is searched and that takes half a minute at most; else none]
    #[arg(long, alias = "prior", value_name = "DIR|T", requires = "live", conflicts_with = "policy")]
    pub past: Vec<String>,
    /// With --oracle, the method that searches: any of those of `srnas compare`, with its options, such as
    /// evolution:population=20 [default: the predictor]
    #[arg(long, value_name = "METHOD", requires = "live", conflicts_with = "policy")]
    pub method: Option<MethodSpec>,
    /// With --oracle train, networks inherit weights: an architecture that edits which leave the function as it is make of one trained
    /// before in this search begins with its weights, and trains on for so many epochs; others are trained from the beginning. One as
    /// the other counts as one of --budget, but takes less time (docs/reinforcement-learning.md)
    #[arg(long, value_name = "EPOCHS", requires = "live", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub inherit: Option<u32>,
    /// With --oracle remote, the address to listen on for evaluators [default: 127.0.0.1:7778]
    #[arg(long, value_name = "ADDR", value_parser = listen_address, requires = "live")]
    pub listen: Option<SocketAddr>,
    /// With --oracle remote, an evaluator that is silent for so long loses its work [default: 30s]
    #[arg(long, value_name = "TIME", requires = "live")]
    pub lease: Option<humantime::Duration>,
    /// With --oracle, share measurements with other searches on the same space for the same, here and on other machines, by a PostgreSQL
    /// database: what one measured the others know, and none measures what another is measuring (docs/sharing-measurements.md).
    /// $PGPASSWORD is its password. `none` ends that [default: none]
    #[arg(long, value_name = "postgres://…", requires = "live")]
    pub ledger: Option<SharedPlace>,
    #[command(flatten)]
    pub steering: SteeringArguments,
    /// With --oracle, address of a page on which it is watched, such as 127.0.0.1:7780 (docs/watching.md) [default: none]
    #[arg(long, value_name = "ADDR", value_parser = listen_address, requires = "live")]
    pub http: Option<SocketAddr>,
    /// With --oracle, where the search is kept [default: a new folder in runs/]
    #[arg(long, value_name = "D", requires = "live")]
    pub run_dir: Option<PathBuf>,
    /// Go on with the search by --oracle that --run-dir holds
    #[arg(long, requires = "run_dir")]
    pub resume: bool,
    #[command(flatten)]
    pub security: ListenerSecurity,
    /// Which part of the space is searched.
    #[arg(skip)]
    pub part: PartArguments,
    /// The language model whose parts are searched, and their space.
    #[arg(skip)]
    pub parts: Option<(LlmConfig, GivenSpace)>,
}

impl LiveArguments {
    /// Whether measurements are to be made.
    pub fn wanted(&self) -> bool {
        self.by.oracle.is_some() || self.resume
    }

    /// Searches until `budget` full trainings, or as many shorter ones as cost the same, are paid for.
    pub fn run(
        &self,
        policy: Option<&Path>,
        catalog: &Catalog,
        budget: usize,
        seed: Option<u64>,
        as_json: bool,
    ) -> anyhow::Result<()> {
        let run_dir = self.run_dir.clone().unwrap_or_else(|| default_run_dir("search"));
        let (mut config, given) = match self.resume {
            true => LiveConfig::resumed(self, &run_dir, policy, seed)?,
            false => LiveConfig::begun(self, policy, seed.unwrap_or(1))?,
        };
        let new = match &self.steering.start {
            Some(file) => start::read(file, &given.space, &config.goal()?, &config.fidelities())?,
            None => Vec::new(),
        };
        let ends = self.steering.ends(&config, Arc::new(AtomicBool::new(false)))?;
        let mut guide = match &config.policy {
            Some(file) => Guide::of_policy(&Policy::load(file)?, &given.space)?,
            None if config.past.is_empty() || config.method.is_some() => Guide::default(),
            None => past::guide(&config.past, &given.space, catalog)?,
        };
        let past = match config.method.is_some() && !config.past.is_empty() {
            true => past::of_goal(&config.past, &config.goal()?, &given.space, catalog)?,
            false => Past::default(),
        };
        let mut method = config.method()?;
        if let Some(method) = method.as_mut().filter(|_| past.is_known()) {
            *method = method.knowing_the_past()?;
        }
        let fidelities = config.fidelities();
        past::check_untrained(&config, &config.goal()?, method.as_ref(), fidelities.shorter())?;
        let start = if self.resume { Start::Resume } else { Start::New };
        if !self.resume && run_dir.join(start::FILE).exists() {
            let file = run_dir.join(start::FILE);
            let text = format!("{} is there already: name another --run-dir", file.display());
            return Err(Usage(text).into());
        }
        let stop = stop_flag()?;
        // Before there is anything: an address in use is said at once.
        let bound = self.http.map(|address| self.bind(address)).transpose()?;
        let (oracle, held, resumed) = self.oracle(&given, &config, &run_dir, start)?;
        let oracle: Arc<dyn CostlyOracle> = oracle.into();
        status::forget(&run_dir);
        if !self.resume && self.past.is_empty() && past::by_default(&config, oracle.as_ref())? {
            config.past.push(past::UNTRAINED.into());
            info!(
                "what untrained networks say guides this search, as nothing else does; --past {} leaves it out",
                past::NONE
            );
            // As it will be where this search goes on.
            guide = past::guide(&config.past, &given.space, catalog)?;
        }
        let asks = config.asks_a_program();
        // What cannot be said is said before there is anything.
        let mut untrained = if asks { None } else { past::untrained(&config.past, oracle.as_ref())? };
        // With its password, where that was given here.
        let address = self.ledger.as_ref().and_then(SharedPlace::address).cloned();
        let address = if address.is_some() { address } else { config.shared_ledger()? };
        let run = ledger::run_record(&held, oracle.as_ref(), &config)?;
        let join = |address| {
            Shared::join(address, &run, &run_dir, oracle.as_ref(), config.goal()?, stop.clone()).with_context(
                || match self.resume {
                    true => "nothing was changed (--ledger none goes on without it)",
                    false => "nothing was begun (without --ledger it searches alone)",
                },
            )
        };
        let (shared, there) = address.as_ref().map(join).transpose()?.unzip();
        given.keep(&run_dir)?;
        let mut ledger = SearchLedger::open(&held, resumed, oracle.as_ref(), &config, &run)?;
        if asks {
            let asked =
                asked::ask(oracle.as_ref(), &config.metric, &mut ledger, config.slots(), config.seed, &stop)?;
            untrained = Some(past::known(&given.space, Arc::new(asked))?);
        }
        let (guide, past) = (guide.describing(untrained.clone()), past.describing(untrained));
        let first = start::add(&run_dir, new, &given.space, &fidelities)?;
        // So many fit into the budget at most.
        let cheapest = fidelities.costs().next().unwrap_or(1.0);
        let most = (budget as f64 / cheapest) as usize;
        if fidelities.shorter() > 0 && guide.is_trained() && !guide.knows_shorter() {
            info!(
                "the policy was trained with full trainings only (environment.shorter is 0): its past guides this search, its \
                 network does not"
            );
        }
        // Of parts the whole model comes first, by which is told how much a part loses, in each format: what everybody would try.
        let whole = if config.llm.is_some() { whole(&given.space) } else { Vec::new() };
        let of_parts = whole.into_iter().map(Training::full);
        let search = LiveSearch {
            oracle: oracle.as_ref(),
            goal: config.goal()?,
            guide,
            method,
            past,
            students: given.students.clone(),
            budget,
            parallel: config.slots().min(most),
            first: of_parts
                .chain(first.iter().filter(|f| f.answer.is_none()).map(|f| f.training.clone()))
                .collect(),
            added: shared.as_ref().map_or_else(Inbox::default, Shared::inbox),
            sharing: shared.as_ref().map(Shared::sharing),
            ends,
            seed: config.seed,
        };
        ledger.keep_elsewhere(&first, &search.goal)?;
        ledger.keep_elsewhere(&there.unwrap_or_default(), &search.goal)?;
        if let Some(shared) = &shared {
            shared.listen(ledger.answers()?)?;
            ledger.write_with(shared.pen());
        }
        let known = ledger.known(&search.goal)?;
        let shown = Display::new(&search, &known, as_json);
        let reporter = Reporter::new(&run_dir, &search, known.iter().map(|measured| measured.cost).sum())?;
        let tell = |event: Event| {
            reporter.event(&event);
            shown.event(event);
        };
        let watched = match bound {
            Some(bound) => {
                let source = SearchSource::of(&run_dir, Some(stop.clone())).measured_by(oracle.clone());
                Some(bound.show(vec![Box::new(source)])?)
            }
            None => None,
        };
        let found = search.run(known, &mut ledger, &stop, &tell);
        shared.iter().for_each(Shared::leave);
        drop(watched);
        drop(reporter);
        shown.finish();
        let go_on = format!("srnas search --resume --run-dir {}{}", shell(&run_dir), self.steering.again());
        // The report is of all that is kept, also where the search broke off.
        let report = || -> anyhow::Result<SearchReport> {
            let known = ledger.known(&search.goal)?;
            let importance = search.importance(&known)?;
            let report = SearchReport::new(&given.space, &fidelities, &search.goal, &known, &importance.main);
            let times = status::TimesTaken::read(&run_dir);
            let (space, goal) = (&given.space, &search.goal);
            let reports = Reports { run_dir: &run_dir, space, fidelities: &fidelities, goal };
            let page = SearchPage {
                report: &report,
                space,
                fidelities: &fidelities,
                goal,
                found: &known,
                importance: (&importance, known.len()),
                title: format!("Search of {}{}", given.space.name(), config.part_in_words()),
                how: shown.how(&report),
                headline: format!("{} measurements, for the cost of {}", known.len(), number(report.spent)),
                state: None,
                times: report.rows.iter().map(|row| times.of(row)).collect(),
                curves: reports.ended(&report.rows, &known),
            };
            report.write(&run_dir, &page.view())?;
            Ok(report)
        };
        let report = report();
        match found {
            Ok(_) => {
                let report = report?;
                let twice = 2 * (report.spent.round() as usize).max(1);
                let more = match (search.used_up(&ledger.known(&search.goal)?), shown.enough()) {
                    (Some(all), _) => More::Nothing(all),
                    (None, None) => More::Command(format!("{go_on} --budget {twice}")),
                    (None, Some(enough)) => {
                        More::Command(format!("{go_on}{} --budget {budget}", never_again(&enough)))
                    }
                };
                let alone = match config.oracle == OracleSpec::Shared {
                    true => Alone::of(&report, &given, &config, &run_dir, &stop)?,
                    false => None,
                };
                shown.summary(&report, &run_dir, &more, alone.as_ref());
                // Where it ended before anything did, nothing failed.
                let ended_early = report.rows.is_empty() && shown.enough().is_some();
                if !ended_early && report.rows.iter().all(|row| row.value().is_none()) {
                    let place = run_dir.join("measurements.csv");
                    bail!(
                        "none of {} measurements has a value; {} says why",
                        report.rows.len(),
                        place.display()
                    );
                }
                if report.least_violating.is_some() {
                    bail!("none of {} measurements keeps every limit", report.rows.len());
                }
                Ok(())
            }
            Err(error) => {
                // Why the search broke off matters more.
                if let Err(no_report) = report {
                    warn!("there is no report: {}", with_causes(no_report.as_ref()));
                }
                let context = format!("what was measured is kept; go on: {go_on} --budget {budget}");
                Err(anyhow::Error::from(error).context(context))
            }
        }
    }

    /// Listens for those who watch.
    fn bind(&self, address: SocketAddr) -> anyhow::Result<Bound> {
        Bound::at(address, self.security.load(address, None)?.token)
    }
}

/// What has to be said so that what has ended a search does not end it at once when it goes on.
fn never_again(enough: &Enough) -> &'static str {
    match enough {
        Enough::Reached(_) => " --stop-when never",
        Enough::NoGain(_) => " --no-gain 0",
        Enough::Time(_) | Enough::Drained => "",
    }
}
