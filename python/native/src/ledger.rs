//! Where a search in a Python process is kept: a ledger in a file of its own, or nowhere.

use crate::{
    errors::{Error, failed, input},
    space::Space,
};
use pyo3::PyErr;
use sha2::{Digest, Sha256};
use srnas_basics::{files::write_whole, text::hex};
use srnas_ledger::{AskedRecord, Database, LedgerError, RunRecord, fits, shared::Address};
use srnas_search::{Goal, Journal, Measured, Values};
use srnas_space::SearchSpace;
use srnas_task::{Count, Fidelities, Training};
use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Who has measured.
const ACTOR: &str = "python";
/// And where it was before this search, or beside it.
const ELSEWHERE: &str = "elsewhere";
/// A ledger has one task.
const TASK: u16 = 0;

/// A ledger in a file that is held by this process.
struct OnDisk {
    database: Database,
    /// Held as long as this is.
    _lock: File,
}

/// What a search is kept in.
pub struct Ledger {
    space: Arc<SearchSpace>,
    fidelities: Fidelities,
    file: Option<OnDisk>,
}

/// What a ledger has.
#[derive(Default)]
pub struct Kept {
    /// What was measured, in the order in which it ended.
    pub measured: Vec<Measured>,
    /// What was asked for and not told, in the order of asking.
    pub asked: Vec<Training>,
}

impl Ledger {
    /// The ledger in a file, new or as it was left; none keeps nothing.
    pub fn open(
        path: Option<&Path>,
        space: &Space,
        goal: &Goal,
        fidelities: &Fidelities,
        seed: u64,
    ) -> Result<(Self, Kept), PyErr> {
        let mut ledger = Self { space: space.space.clone(), fidelities: fidelities.clone(), file: None };
        let Some(path) = path else { return Ok((ledger, Kept::default())) };
        if Address::is_meant(&path.to_string_lossy()) {
            return Err(input(
                "a ledger here is a file; measurements are shared through PostgreSQL by the program: `srnas search --oracle remote \
                 --ledger postgres://…`, asked by srnas.connect()",
            ));
        }
        let lock = hold(path)?;
        let run = run_of(path, space, goal, fidelities, seed);
        let there = path.metadata().is_ok_and(|file| file.len() > 0);
        let database = match there {
            true => {
                let (database, found) = Database::open_any(path).map_err(|e| about(path, e))?;
                same(path, &found, &run)?;
                database
            }
            false => Database::create(path, &run).map_err(|e| about(path, e))?,
        };
        database.prepare().map_err(|e| failed(&e))?;
        define(path, space)?;
        ledger.file = Some(OnDisk { database, _lock: lock });
        let kept = ledger.kept(goal)?;
        Ok((ledger, kept))
    }

    /// What it has.
    fn kept(&mut self, goal: &Goal) -> Result<Kept, PyErr> {
        let Some(OnDisk { database, .. }) = &mut self.file else { return Ok(Kept::default()) };
        let answers = database.answers(TASK).map_err(|e| failed(&e))?;
        for answer in &answers {
            let fits = fits(&self.space, Count::Classes, answer.key, &answer.choices);
            database.expect(fits).map_err(|e| failed(&e))?;
        }
        let measured = Measured::of_records(answers, goal, &self.fidelities);
        let asked = database.asked(TASK).map_err(|e| failed(&e))?;
        let training = |asked: AskedRecord| {
            let is_here = fits(&self.space, Count::Classes, asked.key, &asked.choices).is_ok();
            let fidelity = self.fidelities.of_share(asked.fidelity)?;
            is_here.then_some(Training { choices: asked.choices, fidelity })
        };
        Ok(Kept { measured, asked: asked.into_iter().filter_map(training).collect() })
    }

    /// Notes that a training was asked for.
    pub fn asked(&mut self, training: &Training) -> Result<(), LedgerError> {
        let Some(OnDisk { database, .. }) = &mut self.file else { return Ok(()) };
        let asked = AskedRecord {
            key: self.space.canonical_key(&training.choices),
            choices: training.choices.clone(),
            fidelity: self.fidelities.cost(training.fidelity),
        };
        database.record_asked(TASK, &asked)
    }

    /// Notes that nobody waits for a training any more.
    pub fn given_up(&mut self, training: &Training) -> Result<(), LedgerError> {
        let Some(OnDisk { database, .. }) = &mut self.file else { return Ok(()) };
        let key = self.space.canonical_key(&training.choices);
        database.forget_asked(TASK, key, self.fidelities.cost(training.fidelity))
    }

    /// Takes out what has no value and whose reason contains a text; those trainings.
    pub fn retry(&mut self, reason: &str) -> Result<usize, LedgerError> {
        let Some(OnDisk { database, .. }) = &mut self.file else { return Ok(0) };
        Ok(database.forget_infeasible(TASK, |said| said.contains(reason))?.len())
    }
}

impl Journal for Ledger {
    fn keep(&mut self, measured: &Measured, values: &Result<Values, String>) -> Result<(), String> {
        let Some(OnDisk { database, .. }) = &mut self.file else { return Ok(()) };
        let by = if measured.is_elsewhere() { ELSEWHERE } else { ACTOR };
        let record = measured.to_record(values, &self.fidelities);
        database.record_answer(TASK, &record, by).map_err(|e| e.to_string())
    }
}

/// Whose ledger it is.
fn run_of(path: &Path, space: &Space, goal: &Goal, fidelities: &Fidelities, seed: u64) -> RunRecord {
    let name = path.file_stem().map_or_else(|| "run".into(), |stem| stem.to_string_lossy().into_owned());
    let identity = format!("{}\0{fidelities}", space.definition);
    RunRecord {
        name,
        space: space.space.name().into(),
        seed,
        tasks: vec![(format!("{ACTOR}/{goal}"), goal.first().metric.clone())],
        benchmarks: vec![(ACTOR.into(), hex(&Sha256::digest(identity)))],
    }
}

/// Puts the text of the space beside a ledger, where `srnas export` looks for it: the ledger itself has its hash.
fn define(path: &Path, space: &Space) -> Result<(), PyErr> {
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".space.{ending}"));
        PathBuf::from(name)
    };
    let is_json = space.definition.trim_start().starts_with('{');
    let (own, other) = if is_json { ("json", "toml") } else { ("toml", "json") };
    // Of a ledger of this name that has gone.
    let _ = fs::remove_file(beside(other));
    let (own, text) = (beside(own), &space.definition);
    if text.is_empty() || fs::read_to_string(&own).is_ok_and(|there| there == *text) {
        return Ok(());
    }
    write_whole(&own, text.as_bytes()).map_err(|e| input(format!("cannot write {}: {e}", own.display())))
}

/// Refuses the ledger of another search.
fn same(path: &Path, found: &RunRecord, wanted: &RunRecord) -> Result<(), PyErr> {
    let what = match () {
        () if found.benchmarks.iter().all(|(name, _)| name != ACTOR) => {
            "it was not made by srnas.Search".into()
        }
        () if found.space != wanted.space => format!("its space is {}, not {}", found.space, wanted.space),
        () if found.tasks != wanted.tasks => {
            let goal = |run: &RunRecord| {
                run.tasks.first().map_or_else(String::new, |(name, _)| name.replace("python/", ""))
            };
            format!("it searches {}, not {}", goal(found), goal(wanted))
        }
        () if found.benchmarks != wanted.benchmarks => "its space, or its fidelities, were others".into(),
        () => return Ok(()),
    };
    Err(input(format!("the ledger {} is of another search: {what}; name another ledger", path.display())))
}

/// An error of the ledger in words for whoever named a file.
fn about(path: &Path, error: LedgerError) -> PyErr {
    match error {
        LedgerError::Foreign { .. } => input(format!(
            "{} is not a ledger of srnas, or its beginning is damaged; name another file",
            path.display()
        )),
        error @ LedgerError::Newer { .. } => input(error),
        error => failed(&error),
    }
}

/// Keeps other processes out.
fn hold(path: &Path) -> Result<File, PyErr> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let lock = File::options().write(true).create(true).truncate(false).open(&name);
    let lock = lock.map_err(|e| input(format!("cannot write {}: {e}", name.display())))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::new_err(format!(
            "the ledger {} is in use: one search at a time works with it, in this process or another; close that one (search.close())",
            path.display()
        ))),
        Err(TryLockError::Error(e)) => Err(input(format!("cannot lock {}: {e}", name.display()))),
    }
}
