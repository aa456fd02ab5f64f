//! Many methods on many problems from shared starts, under one protocol, into a directory that remembers what is done.

use crate::{
    clock::{Clock, Durations},
    method::{Begin, MethodError, MethodSpec, Past, SpecError, Training, Whole},
    methods::{Preparation, Prepared, Priors},
    problem::Problem,
    table::{Query, Trace, search},
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use srnas_basics::{files::write_whole, text::hex};
use srnas_oracle::catalog::{Catalog, CatalogError};
use srnas_policy::evaluation;
use srnas_task::{Count, Fidelity, Task, TaskName};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// What is compared; two comparisons with the same plan are the same comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Version of the program.
    pub software: String,
    /// Methods by their names and options.
    pub methods: Vec<String>,
    /// Problems: the objectives of each.
    pub problems: Vec<Vec<String>>,
    /// Limits within which an architecture counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
    /// By which the incumbents are reported.
    pub report: Vec<String>,
    /// What counts as one architecture.
    pub count: Count,
    /// Paid queries after which is reported; the highest is searched for.
    pub budgets: Vec<usize>,
    /// Searches of each method on each problem.
    pub seeds: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// Tasks of the past, for methods that know one.
    pub past: Vec<String>,
    /// What is simulated of the clock.
    #[serde(default, skip_serializing_if = "Clock::is_plain")]
    pub clock: Clock,
    /// SHA-256 of what is read: benchmarks and policies.
    pub content: BTreeMap<String, String>,
}

impl Plan {
    /// A plan of searches that are made one by one and written nowhere: a budget, and so many seeds from one.
    pub(crate) fn unwritten(
        methods: &[MethodSpec],
        problems: &[Problem],
        budget: usize,
        (seeds, seed): (usize, u64),
        count: Count,
    ) -> Self {
        let name = |task: &Arc<Task>| task.name().to_string();
        Self {
            software: env!("CARGO_PKG_VERSION").into(),
            methods: methods.iter().map(ToString::to_string).collect(),
            problems: problems.iter().map(|p| p.signals.iter().map(name).collect()).collect(),
            limits: Vec::new(),
            report: problems.iter().map(|p| name(&p.report)).collect(),
            count,
            budgets: vec![budget],
            seeds,
            seed,
            past: Vec::new(),
            clock: Clock::default(),
            content: BTreeMap::new(),
        }
    }

    /// SHA-256 of everything that is read: a report is about these files and no others.
    ///
    /// # Errors
    /// A benchmark that is missing or damaged. A policy that cannot be read is refused when its method is prepared.
    pub fn content_of(
        catalog: &Catalog,
        problems: &[Problem],
        past: &[TaskName],
        methods: &[MethodSpec],
    ) -> Result<BTreeMap<String, String>, CatalogError> {
        let searched = problems.iter().flat_map(|p| p.signals.iter());
        let mut benchmarks: BTreeSet<String> =
            searched.filter_map(|t| t.name().split('/').next().map(String::from)).collect();
        benchmarks.extend(past.iter().map(|t| t.benchmark.clone()));
        let mut content = BTreeMap::new();
        for name in benchmarks {
            let hash = catalog.open(&name)?.content_hash_hex();
            content.insert(name, hash);
        }
        for method in methods {
            if let Some(file) = method.policy_file() {
                let Ok(bytes) = fs::read(&file) else { continue };
                content.insert(method.to_string(), hex(&Sha256::digest(bytes)));
            }
        }
        Ok(content)
    }
}

/// Why a comparison cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ComparisonError {
    /// A method is refused.
    #[error(transparent)]
    Method(#[from] SpecError),
    /// A method occurs twice.
    #[error("method `{0}` is given twice")]
    Twice(String),
    /// More is to be paid than there is.
    #[error(
        "a budget of {budget} is more than the {distinct} distinct architectures of {space} ({counting})"
    )]
    Budget {
        /// The budget.
        budget: usize,
        /// Distinct keys of the space.
        distinct: usize,
        /// The space.
        space: String,
        /// By what rule they are told apart.
        counting: &'static str,
    },
    /// The directory has other results.
    #[error("{path} holds another comparison (`{key}` differs); give another --out, or remove it")]
    Other {
        /// The directory.
        path: String,
        /// The first thing that differs.
        key: String,
    },
    /// The directory has something else in it.
    #[error("{0} is not empty and not a comparison; give another --out")]
    Foreign(String),
    /// Another process is at it.
    #[error("{0} is being written by another process")]
    Busy(String),
    /// A file cannot be read or written.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// "read" or "write".
        what: &'static str,
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It was stopped; the same command goes on.
    #[error("stopped; the same command goes on where it was")]
    Stopped,
}

impl ComparisonError {
    /// Whether what was asked for is to blame.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Method(_) | Self::Twice(_) | Self::Budget { .. } | Self::Other { .. } | Self::Foreign(_)
        )
    }
}

/// What came of one method on one problem: for each seed its queries, or why it failed.
pub type Outcome = Vec<SearchResult>;

/// The queries of a search, or why it failed.
pub type SearchResult = Result<Trace, String>;

/// A comparison and where it is written.
pub struct Comparison {
    plan: Plan,
    methods: Vec<MethodSpec>,
    problems: Vec<Problem>,
    past: Vec<Arc<Task>>,
    /// By problem.
    durations: Vec<Durations>,
    dir: PathBuf,
}

/// A finished search as the journal keeps it.
#[derive(Clone, Serialize, Deserialize)]
struct Line {
    problem: usize,
    method: usize,
    seed: usize,
    /// Choices of each paid query, two hexadecimal digits a decision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    queries: Vec<String>,
    /// When each began and ended, in nanoseconds; left out where that is no more than what was paid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    times: Vec<(u64, u64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
}

/// What the seeds of a problem share.
pub(crate) struct Ready {
    whole: Option<Arc<Whole>>,
    /// By method.
    methods: Vec<Prepared>,
}

const PLAN: &str = "plan.json";
const JOURNAL: &str = "searches.jsonl";

impl Comparison {
    /// A comparison in a directory that is new, empty, or holds the same comparison.
    ///
    /// # Errors
    /// Refuses methods that occur twice and budgets beyond the space.
    pub fn new(
        plan: Plan,
        methods: Vec<MethodSpec>,
        problems: Vec<Problem>,
        past: Vec<Arc<Task>>,
        dir: &Path,
    ) -> Result<Self, ComparisonError> {
        for (i, method) in methods.iter().enumerate() {
            if methods[..i].contains(method) {
                return Err(ComparisonError::Twice(method.to_string()));
            }
        }
        let durations = vec![Durations::default(); problems.len()];
        Ok(Self { plan, methods, problems, past, durations, dir: dir.to_path_buf() })
    }

    /// The same with trainings that take so long, by problem.
    pub fn lasting(self, durations: Vec<Durations>) -> Self {
        Self { durations, ..self }
    }

    /// What is compared.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The problems, in their order.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Number of searches in all.
    pub fn searches(&self) -> usize {
        self.problems.len() * self.methods.len() * self.plan.seeds
    }

    /// Makes every search that was not made before, on the current rayon pool, and returns them all: by problem, then by
    /// method. `done` is called with the number of finished searches.
    ///
    /// # Errors
    /// See [`ComparisonError`]. A search that fails is no error: it is in the outcome.
    pub fn run(
        &self,
        stop: &CancellationToken,
        done: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<Vec<Outcome>>, ComparisonError> {
        let budget = self.plan.budgets.iter().copied().max().unwrap_or(0);
        let prepared = self.prepare(budget)?;
        let journal = self.open()?;
        let before = self.read_journal()?;
        let mut all: Vec<Vec<Vec<Option<SearchResult>>>> =
            vec![vec![vec![None; self.plan.seeds]; self.methods.len()]; self.problems.len()];
        for line in before {
            all[line.problem][line.method][line.seed] = self.restore(&line).map(Ok);
        }
        let mut jobs = Vec::new();
        for (p, of_problem) in all.iter().enumerate() {
            for (m, of_method) in of_problem.iter().enumerate() {
                jobs.extend(
                    of_method.iter().enumerate().filter(|(_, r)| r.is_none()).map(|(s, _)| (p, m, s)),
                );
            }
        }
        let finished = Mutex::new(self.searches() - jobs.len());
        done(self.searches() - jobs.len());
        let journal = Mutex::new(journal);
        let results: Result<Vec<_>, ComparisonError> = jobs
            .into_par_iter()
            .with_max_len(1)
            .map(|(p, m, s)| {
                if stop.is_cancelled() {
                    return Err(ComparisonError::Stopped);
                }
                let result = self.one(&prepared[p], p, m, s, budget).map_err(|e| e.0);
                self.write_line(&journal, &self.line(p, m, s, &result))?;
                let mut finished = finished.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                *finished += 1;
                done(*finished);
                Ok((p, m, s, result))
            })
            .collect();
        for (p, m, s, result) in results? {
            all[p][m][s] = Some(result);
        }
        let all: Vec<Vec<Outcome>> = all
            .into_iter()
            .map(|problem| problem.into_iter().map(|seeds| seeds.into_iter().flatten().collect()).collect())
            .collect();
        self.sort_journal(&all)?;
        Ok(all)
    }

    /// Everything that is refused is refused here, before the first search.
    pub(crate) fn prepare(&self, budget: usize) -> Result<Vec<Ready>, ComparisonError> {
        let mut known: Option<(String, Option<Arc<Whole>>)> = None;
        let (mut all, priors) = (Vec::with_capacity(self.problems.len()), Priors::default());
        for problem in &self.problems {
            let space = problem.space();
            let whole = match &known {
                Some((name, whole)) if name == space.name() && space.whole().is_none() => whole.clone(),
                _ => Whole::new(space, self.plan.count).map(Arc::new),
            };
            // What is left of a space belongs to one problem.
            if space.whole().is_none() {
                known = Some((space.name().into(), whole.clone()));
            }
            let listed = space.whole().and(space.size()).map_or(usize::MAX, |size| size as usize);
            let distinct = whole.as_ref().map_or(listed, |w| w.distinct());
            if budget > distinct {
                let counting = match self.plan.count {
                    Count::Classes => space.counting(),
                    Count::Strings => "every encoding for itself",
                };
                let space = space.name().into();
                return Err(ComparisonError::Budget { budget, distinct, space, counting });
            }
            // What lies on another space and has no like here says nothing of this problem; it may of another.
            let here = |task: &Arc<Task>| match task.space().name() == space.name() {
                true => Some(task.clone()),
                false => match task.matched(space) {
                    Ok(matched) => Some(Arc::new(matched)),
                    Err(unmatched) => {
                        tracing::warn!("left out of the past of {}: {unmatched}", problem.name);
                        None
                    }
                },
            };
            let past: Vec<Arc<Task>> = self.past.iter().filter_map(here).collect();
            let preparation = Preparation {
                space,
                table: problem.table(),
                tasks: &problem.metrics(),
                objectives: problem.signals.len(),
                limits: problem.limits().len(),
                shorter: problem.shorter.len(),
                budget,
                past: &past,
                known: &Past::default().describing(problem.untrained().cloned()),
                students: problem.students(),
                priors: &priors,
            };
            let methods: Result<Vec<Prepared>, SpecError> =
                self.methods.iter().map(|spec| spec.prepare(&preparation)).collect();
            all.push(Ready { whole, methods: methods? });
        }
        Ok(all)
    }

    pub(crate) fn one(
        &self,
        ready: &Ready,
        p: usize,
        m: usize,
        s: usize,
        budget: usize,
    ) -> Result<Trace, MethodError> {
        let problem = &self.problems[p];
        let start_seed = evaluation::start_seed(self.plan.seed, &problem.name, s);
        let mut start = vec![0; problem.space().len()];
        // The first draw, as an episode draws it: all methods of a seed begin here.
        problem.space().sample(&mut ChaCha8Rng::seed_from_u64(start_seed), &mut start);
        let begin = Begin {
            space: problem.space().clone(),
            count: self.plan.count,
            objectives: problem.signals.len(),
            limits: problem.limits().len(),
            budget,
            shorter: problem.shorter.iter().map(|shorter| shorter.cost).collect(),
            start,
            seed: evaluation::start_seed(start_seed, self.methods[m].as_str(), s),
            start_seed,
            whole: ready.whole.clone(),
            past: ready.methods[m].past.clone(),
        };
        let mut method = (ready.methods[m].start)(&begin)?;
        // Of the start's seed: it takes as long for every method.
        let durations = self.durations[p].seeded(start_seed);
        let workers = self.plan.clock.workers;
        let measure = |training: &Training| problem.measure(training);
        let mut trace = search(method.as_mut(), &begin, workers, durations, measure)?;
        trace.iter_mut().for_each(|query| query.values = problem.counted(std::mem::take(&mut query.values)));
        Ok(trace)
    }

    /// The queries of a line; `None` if it is damaged, or of a search that failed: both are made again, for what made a program
    /// fail may be mended.
    fn restore(&self, line: &Line) -> Option<Trace> {
        let problem = &self.problems[line.problem];
        let plain = self.plan.clock.is_plain();
        if !plain && line.times.len() != line.queries.len() {
            return None;
        }
        let (mut spent, mut now) = (0.0, Duration::ZERO);
        let query = |(place, text): (usize, &String)| {
            let (digits, fidelity) = match text.split_once('@') {
                Some((digits, place)) => (digits, Fidelity::Shorter(place.parse().ok()?)),
                None => (&text[..], Fidelity::Full),
            };
            let digit = |i| u8::from_str_radix(digits.get(i..i + 2)?, 16).ok();
            let choices: Vec<u8> = (0..digits.len()).step_by(2).map(digit).collect::<Option<_>>()?;
            if !problem.space().is_valid(&choices) {
                return None;
            }
            let training = Training { choices, fidelity };
            let cost = problem.cost(&training)?;
            spent += cost;
            let values = problem.counted(problem.measure(&training)?);
            let (began, ended) = match plain {
                true => (now, now + Duration::from_secs_f64(cost)),
                false => {
                    let (began, ended) = line.times[place];
                    (Duration::from_nanos(began), Duration::from_nanos(ended))
                }
            };
            now = ended;
            Some(Query { choices: training.choices, values, fidelity, spent, began, ended })
        };
        let queries: Option<Trace> = line.queries.iter().enumerate().map(query).collect();
        queries.filter(|trace| !trace.is_empty())
    }

    fn line(&self, problem: usize, method: usize, seed: usize, result: &SearchResult) -> Line {
        let trace = result.as_ref().map_or(&[][..], |trace| &trace[..]);
        let times = match self.plan.clock.is_plain() {
            true => Vec::new(),
            false => trace.iter().map(|query| (nanoseconds(query.began), nanoseconds(query.ended))).collect(),
        };
        let queries = trace.iter().map(written).collect();
        Line { problem, method, seed, queries, times, failed: result.as_ref().err().cloned() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn io<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> ComparisonError + 'a {
        move |source| ComparisonError::Io { what, path: path.display().to_string(), source }
    }

    /// Makes the directory or finds the same comparison in it; the journal, locked.
    fn open(&self) -> Result<File, ComparisonError> {
        let plan = self.path(PLAN);
        fs::create_dir_all(&self.dir).map_err(Self::io("write", &self.dir))?;
        if plan.exists() {
            let text = fs::read_to_string(&plan).map_err(Self::io("read", &plan))?;
            let mine = serde_json::to_value(&self.plan).expect("a plan is JSON");
            let there = serde_json::from_str::<serde_json::Value>(&text).unwrap_or_default();
            if mine != there {
                let differs = |key: &&String| mine.get(key.as_str()) != there.get(key.as_str());
                let mut keys =
                    [&mine, &there].into_iter().filter_map(|v| v.as_object()).flat_map(|o| o.keys());
                let key = keys.find(differs).cloned().unwrap_or_else(|| "plan".into());
                return Err(ComparisonError::Other { path: self.dir.display().to_string(), key });
            }
        } else {
            let mut entries = fs::read_dir(&self.dir).map_err(Self::io("read", &self.dir))?;
            if entries.next().is_some() {
                return Err(ComparisonError::Foreign(self.dir.display().to_string()));
            }
            let text = serde_json::to_string_pretty(&self.plan).expect("a plan is JSON") + "\n";
            write_whole(&plan, text.as_bytes()).map_err(Self::io("write", &plan))?;
        }
        let path = self.path(JOURNAL);
        let journal = OpenOptions::new().create(true).append(true).read(true).open(&path);
        let journal = journal.map_err(Self::io("write", &path))?;
        journal.try_lock().map_err(|_| ComparisonError::Busy(self.dir.display().to_string()))?;
        Ok(journal)
    }

    /// What is done; a last line that was cut short by a kill is left out, and so is what does not fit the plan.
    fn read_journal(&self) -> Result<Vec<Line>, ComparisonError> {
        let path = self.path(JOURNAL);
        let file = File::open(&path).map_err(Self::io("read", &path))?;
        let mut lines = Vec::new();
        for text in BufReader::new(file).lines() {
            let text = text.map_err(Self::io("read", &path))?;
            let Ok(line) = serde_json::from_str::<Line>(&text) else { continue };
            if line.problem < self.problems.len()
                && line.method < self.methods.len()
                && line.seed < self.plan.seeds
            {
                lines.push(line);
            }
        }
        Ok(lines)
    }

    fn write_line(&self, journal: &Mutex<File>, line: &Line) -> Result<(), ComparisonError> {
        let path = self.path(JOURNAL);
        // A leading end of line keeps what a kill has cut short apart.
        let text = format!("\n{}", serde_json::to_string(line).expect("a line is JSON"));
        let mut journal = journal.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        journal.write_all(text.as_bytes()).map_err(Self::io("write", &path))
    }

    /// In order, so that the same comparison is the same bytes.
    fn sort_journal(&self, all: &[Vec<Outcome>]) -> Result<(), ComparisonError> {
        let mut text = String::new();
        for (p, problem) in all.iter().enumerate() {
            for (m, outcome) in problem.iter().enumerate() {
                for (s, result) in outcome.iter().enumerate() {
                    text += &serde_json::to_string(&self.line(p, m, s, result)).expect("a line is JSON");
                    text.push('\n');
                }
            }
        }
        let path = self.path(JOURNAL);
        write_whole(&path, text.as_bytes()).map_err(Self::io("write", &path))
    }
}

/// A query in the journal: its choices, and which shorter training it was.
fn written(query: &Query) -> String {
    match query.fidelity {
        Fidelity::Full => hex(&query.choices),
        Fidelity::Shorter(place) => format!("{}@{place}", hex(&query.choices)),
    }
}

/// A clock that runs for more than 584 years stands still.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
