//! The ledger's file: SQLite, so that any SQL tool reads it. `docs/run-directory.md` explains the tables.

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use srnas_common::wire::Measurements;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Version of the schema, in `PRAGMA user_version`; a file with a higher one is refused.
const SCHEMA: u32 = 3;

const TABLES: &str = "
CREATE TABLE run (
    name TEXT NOT NULL,
    software TEXT NOT NULL,
    space TEXT NOT NULL,
    seed TEXT NOT NULL,
    policy_version INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE benchmarks (name TEXT PRIMARY KEY, content_hash TEXT NOT NULL);
CREATE TABLE tasks (task INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, family TEXT NOT NULL);
CREATE TABLE measurements (
    id INTEGER PRIMARY KEY,
    task INTEGER NOT NULL REFERENCES tasks,
    key INTEGER NOT NULL,
    fidelity REAL NOT NULL,
    architecture TEXT NOT NULL,
    value REAL NOT NULL,
    actor TEXT NOT NULL,
    UNIQUE (task, key, fidelity)
);
CREATE TABLE actors (
    actor TEXT NOT NULL,
    incarnation INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL,
    environment_steps INTEGER NOT NULL,
    transitions INTEGER NOT NULL,
    episodes INTEGER NOT NULL,
    PRIMARY KEY (actor, incarnation)
) WITHOUT ROWID;
CREATE VIEW incumbents AS
    SELECT tasks.name AS task, max(value) AS value, architecture, count(*) AS measurements
    FROM measurements JOIN tasks USING (task) GROUP BY task;
";

/// What schema 2 added: everything else that an oracle said, and where it said that there is nothing.
const ANSWERS: &str = "
CREATE TABLE metrics (
    measurement INTEGER NOT NULL REFERENCES measurements,
    name TEXT NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY (measurement, name)
) WITHOUT ROWID;
CREATE TABLE infeasible (
    task INTEGER NOT NULL REFERENCES tasks,
    key INTEGER NOT NULL,
    fidelity REAL NOT NULL,
    architecture TEXT NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    UNIQUE (task, key, fidelity)
);
";

/// What schema 3 added: what was paid, where a training went on after a shorter one; and incumbents are of full trainings.
const COSTS: &str = "
ALTER TABLE measurements ADD COLUMN cost REAL;
ALTER TABLE infeasible ADD COLUMN cost REAL;
DROP VIEW incumbents;
CREATE VIEW incumbents AS
    SELECT tasks.name AS task, max(value) AS value, architecture, count(*) AS measurements
    FROM measurements JOIN tasks USING (task) WHERE fidelity = 1.0 GROUP BY task;
";

/// What a costly oracle said of an architecture.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerRecord {
    /// By what the architecture is paid for.
    pub key: u64,
    /// Its choices.
    pub choices: Vec<u8>,
    /// How much of a full training it took; 1 is all of it.
    pub fidelity: f64,
    /// What was paid, in full trainings: less than the fidelity where it went on after a shorter training.
    pub cost: f64,
    /// The value of the objective and every metric; or why it has none.
    pub said: Result<(f64, BTreeMap<String, f64>), String>,
}

/// What the ledger knows of its run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// Name of the run.
    pub name: String,
    /// Name of the space.
    pub space: String,
    /// Seed of the run.
    pub seed: u64,
    /// Name and family of each task, in the order of their indices.
    pub tasks: Vec<(String, String)>,
    /// Name and content hash (hex) of each benchmark.
    pub benchmarks: Vec<(String, String)>,
}

/// What was taken in of one incarnation of an actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorRecord {
    /// Name of the actor.
    pub actor: String,
    /// Its incarnation.
    pub incarnation: u64,
    /// Highest sequence number that was taken in.
    pub acknowledged: u64,
    /// Environment steps that it made.
    pub environment_steps: u64,
    /// Transitions taken in.
    pub transitions: u64,
    /// Episodes that ended.
    pub episodes: u64,
}

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// SQLite failed.
    #[error("the ledger {path}: {source}")]
    Sqlite {
        /// The file.
        path: String,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// It was written by a newer program.
    #[error(
        "the ledger {path} has schema {found}, and this version of srnas knows {SCHEMA}; go on with the version that wrote it"
    )]
    Newer {
        /// The file.
        path: String,
        /// Its schema.
        found: u32,
    },
    /// It is no ledger.
    #[error("{path} is not a ledger of srnas; choose another directory with --run-dir")]
    Foreign {
        /// The file.
        path: String,
    },
    /// It belongs to another run.
    #[error("the ledger {path} is of another run: {difference}; choose another directory with --run-dir")]
    OtherRun {
        /// The file.
        path: String,
        /// What differs.
        difference: String,
    },
    /// The new file cannot get its name.
    #[error("cannot write the ledger {path}: {source}")]
    Name {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Its thread is gone.
    #[error("the ledger could not be written, so what came last is not acknowledged: the actors keep it")]
    Unwritten,
    /// No thread.
    #[error("cannot start the ledger's thread: {0}")]
    Thread(std::io::Error),
}

/// An open ledger file.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    path: PathBuf,
}

impl Database {
    /// Makes the file of a new run.
    ///
    /// # Errors
    /// [`LedgerError::Sqlite`], and nothing of a file is left.
    pub fn create(path: &Path, run: &RunRecord) -> Result<Database, LedgerError> {
        // Under another name until it is whole: a kill in between leaves no half ledger.
        let unfinished = path.with_extension("unfinished");
        let remove = || {
            for suffix in ["", "-wal", "-shm"] {
                let mut file = unfinished.as_os_str().to_owned();
                file.push(suffix);
                let _ = std::fs::remove_file(PathBuf::from(file));
            }
        };
        remove();
        let made = Database::connect(&unfinished, OpenFlags::SQLITE_OPEN_CREATE)
            .and_then(|mut database| database.define(run).map_err(|source| database.failed(source)));
        if made.is_err() {
            remove();
        }
        made?;
        std::fs::rename(&unfinished, path)
            .map_err(|source| LedgerError::Name { path: path.display().to_string(), source })?;
        Database::connect(path, OpenFlags::empty())
    }

    /// Opens the file of a run that is to go on, with another seed perhaps, but on the same tasks.
    ///
    /// # Errors
    /// Refuses what is no ledger, a newer schema, and another run's ledger; the file is not changed.
    pub fn open(path: &Path, run: &RunRecord) -> Result<Database, LedgerError> {
        let (database, found) = Database::open_any(path)?;
        match difference(&found, run) {
            Some(difference) => Err(LedgerError::OtherRun { path: path.display().to_string(), difference }),
            None => Ok(database),
        }
    }

    /// The ledger of whatever run is there, and whose it is.
    ///
    /// # Errors
    /// As [`Database::open`], but for the run.
    pub fn open_any(path: &Path) -> Result<(Database, RunRecord), LedgerError> {
        let foreign = || LedgerError::Foreign { path: path.display().to_string() };
        let database = Database::connect(path, OpenFlags::empty())?;
        let schema = database.connection.query_row("PRAGMA user_version", [], |row| row.get::<_, u32>(0));
        match schema {
            Ok(SCHEMA) => {}
            Ok(older @ 1..SCHEMA) => database.upgrade(older).map_err(|source| database.failed(source))?,
            Ok(0) => return Err(foreign()),
            Ok(found) => return Err(LedgerError::Newer { path: path.display().to_string(), found }),
            Err(rusqlite::Error::SqliteFailure(e, _)) if e.code == rusqlite::ErrorCode::NotADatabase => {
                return Err(foreign());
            }
            Err(source) => return Err(database.failed(source)),
        }
        let found = database.run().map_err(|source| database.failed(source))?;
        Ok((database, found))
    }

    fn connect(path: &Path, more: OpenFlags) -> Result<Database, LedgerError> {
        let failed = |source| LedgerError::Sqlite { path: path.display().to_string(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        Ok(Database { connection, path: path.to_path_buf() })
    }

    /// Write-ahead log, flushed to the disk at every commit: what is committed survives a power cut.
    fn durable(&self) -> rusqlite::Result<()> {
        self.connection.pragma_update(None, "journal_mode", "wal")?;
        self.connection.pragma_update(None, "synchronous", "full")?;
        self.connection.busy_timeout(std::time::Duration::from_secs(5))
    }

    fn define(&mut self, run: &RunRecord) -> rusqlite::Result<()> {
        self.durable()?;
        let transaction = self.connection.transaction()?;
        transaction.execute_batch(TABLES)?;
        transaction.execute_batch(ANSWERS)?;
        transaction.execute_batch(COSTS)?;
        transaction.execute(
            "INSERT INTO run (name, software, space, seed) VALUES (?1, ?2, ?3, ?4)",
            params![run.name, env!("CARGO_PKG_VERSION"), run.space, run.seed.to_string()],
        )?;
        for (index, (name, family)) in run.tasks.iter().enumerate() {
            transaction
                .execute("INSERT INTO tasks VALUES (?1, ?2, ?3)", params![index as i64, name, family])?;
        }
        for (name, hash) in &run.benchmarks {
            transaction.execute("INSERT INTO benchmarks VALUES (?1, ?2)", params![name, hash])?;
        }
        transaction.pragma_update(None, "user_version", SCHEMA)?;
        transaction.commit()
    }

    /// Adds to a file of an older schema what later ones have more, in one transaction.
    fn upgrade(&self, schema: u32) -> rusqlite::Result<()> {
        let answers = if schema < 2 { ANSWERS } else { "" };
        self.connection
            .execute_batch(&format!("BEGIN; {answers} {COSTS} PRAGMA user_version = {SCHEMA}; COMMIT;"))
    }

    fn run(&self) -> rusqlite::Result<RunRecord> {
        let pairs = |sql: &str| -> rusqlite::Result<Vec<(String, String)>> {
            self.connection.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        let (tasks, benchmarks) = (
            pairs("SELECT name, family FROM tasks ORDER BY task")?,
            pairs("SELECT name, content_hash FROM benchmarks ORDER BY name")?,
        );
        self.connection.query_row("SELECT name, space, seed FROM run", [], |row| {
            let seed: String = row.get(2)?;
            Ok(RunRecord {
                name: row.get(0)?,
                space: row.get(1)?,
                seed: seed.parse().unwrap_or_default(),
                tasks,
                benchmarks,
            })
        })
    }

    fn failed(&self, source: rusqlite::Error) -> LedgerError {
        LedgerError::Sqlite { path: self.path.display().to_string(), source }
    }

    /// All measurements in the order in which they came, the first `most` of them.
    ///
    /// # Errors
    /// [`LedgerError::Sqlite`], also for a row that is damaged.
    pub fn measurements(&self, most: Option<usize>) -> Result<Measurements, LedgerError> {
        self.load(most).map_err(|source| self.failed(source))
    }

    fn load(&self, most: Option<usize>) -> rusqlite::Result<Measurements> {
        let mut loaded = Measurements::default();
        let mut statement = self.connection.prepare(
            "SELECT task, key, fidelity, architecture, value FROM measurements ORDER BY id LIMIT ?1",
        )?;
        // A negative limit is none.
        let mut rows = statement.query([most.map_or(-1, |n| n as i64)])?;
        while let Some(row) = rows.next()? {
            loaded.tasks.push(row.get(0)?);
            loaded.keys.push(row.get::<_, i64>(1)? as u64);
            loaded.fidelities.push(row.get::<_, f64>(2)? as f32);
            loaded.architectures.append(&mut split_choices(row.get_ref(3)?.as_str()?, 3)?);
            loaded.values.push(row.get::<_, f64>(4)? as f32);
        }
        Ok(loaded)
    }

    /// What was taken in of every actor.
    ///
    /// # Errors
    /// [`LedgerError::Sqlite`].
    pub fn actors(&self) -> Result<Vec<ActorRecord>, LedgerError> {
        let load = || -> rusqlite::Result<Vec<ActorRecord>> {
            let mut statement = self.connection.prepare(
                "SELECT actor, incarnation, acknowledged, environment_steps, transitions, episodes FROM actors",
            )?;
            let number = |row: &rusqlite::Row, i| row.get::<_, i64>(i).map(|n| n as u64);
            let rows = statement.query_map([], |row| {
                Ok(ActorRecord {
                    actor: row.get(0)?,
                    incarnation: number(row, 1)?,
                    acknowledged: number(row, 2)?,
                    environment_steps: number(row, 3)?,
                    transitions: number(row, 4)?,
                    episodes: number(row, 5)?,
                })
            })?;
            rows.collect()
        };
        load().map_err(|source| self.failed(source))
    }

    /// The highest policy version that was broadcast while something was recorded.
    ///
    /// # Errors
    /// [`LedgerError::Sqlite`].
    pub fn policy_version(&self) -> Result<u64, LedgerError> {
        let found =
            self.connection.query_row("SELECT policy_version FROM run", [], |row| row.get::<_, i64>(0));
        Ok(found.optional().map_err(|source| self.failed(source))?.unwrap_or(0) as u64)
    }

    /// Sets what was taken in of the actors back to `records`: a deterministic run repeats what came after. Commits are
    /// durable from then on.
    ///
    /// # Errors
    /// [`LedgerError::Sqlite`].
    pub fn reset_actors(&mut self, records: &[ActorRecord]) -> Result<(), LedgerError> {
        let reset = |connection: &mut Connection| -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            transaction.execute("DELETE FROM actors", [])?;
            for r in records {
                add_actor(&transaction, r)?;
            }
            transaction.commit()
        };
        self.durable().and_then(|()| reset(&mut self.connection)).map_err(|source| self.failed(source))
    }

    /// Writes records in one transaction: all of it is durable when this returns, or nothing is.
    ///
    /// # Errors
    /// [`LedgerError::Sqlite`], such as a full disk; it may be tried again.
    pub fn commit(&mut self, records: &[super::Record]) -> Result<(), LedgerError> {
        let write = |connection: &mut Connection| -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            let mut version = 0;
            {
                let mut insert = transaction.prepare_cached(
                    "INSERT OR IGNORE INTO measurements (task, key, fidelity, architecture, value, actor)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?;
                let mut text = String::new();
                for record in records {
                    let m = &record.measurements;
                    let decisions = m.architectures.len() / m.tasks.len().max(1);
                    for i in 0..m.tasks.len() {
                        join_choices(&m.architectures[i * decisions..][..decisions], &mut text);
                        insert.execute(params![
                            m.tasks[i],
                            m.keys[i] as i64,
                            f64::from(m.fidelities[i]),
                            text,
                            f64::from(m.values[i]),
                            record.progress.actor
                        ])?;
                    }
                    add_actor(&transaction, &record.progress)?;
                    version = version.max(record.policy_version);
                }
            }
            transaction
                .execute("UPDATE run SET policy_version = max(policy_version, ?1)", [version as i64])?;
            transaction.commit()
        };
        write(&mut self.connection).map_err(|source| self.failed(source))
    }

    /// Every answer about a task, in the order in which they were recorded.
    ///
    /// # Errors
    /// [`LedgerError::Sqlite`].
    pub fn answers(&self, task: u16) -> Result<Vec<AnswerRecord>, LedgerError> {
        let load = || -> rusqlite::Result<Vec<AnswerRecord>> {
            let mut metrics =
                self.connection.prepare("SELECT name, value FROM metrics WHERE measurement = ?1")?;
            // A time of recording that both tables share is not needed: what is infeasible comes last, and its order
            // among the others says nothing.
            let mut measured = self.connection.prepare(
                "SELECT id, key, architecture, value, fidelity, ifnull(cost, fidelity) FROM measurements
                 WHERE task = ?1 ORDER BY id",
            )?;
            let mut answers = Vec::new();
            let mut rows = measured.query([task])?;
            while let Some(row) = rows.next()? {
                let pairs = metrics.query_map([row.get::<_, i64>(0)?], |m| Ok((m.get(0)?, m.get(1)?)))?;
                let said = Ok((row.get(3)?, pairs.collect::<rusqlite::Result<_>>()?));
                answers.push(AnswerRecord {
                    key: row.get::<_, i64>(1)? as u64,
                    choices: split_choices(row.get_ref(2)?.as_str()?, 2)?,
                    fidelity: row.get(4)?,
                    cost: row.get(5)?,
                    said,
                });
            }
            let mut infeasible = self.connection.prepare(
                "SELECT key, architecture, reason, fidelity, ifnull(cost, fidelity) FROM infeasible
                 WHERE task = ?1 ORDER BY rowid",
            )?;
            let mut rows = infeasible.query([task])?;
            while let Some(row) = rows.next()? {
                answers.push(AnswerRecord {
                    key: row.get::<_, i64>(0)? as u64,
                    choices: split_choices(row.get_ref(1)?.as_str()?, 1)?,
                    fidelity: row.get(3)?,
                    cost: row.get(4)?,
                    said: Err(row.get(2)?),
                });
            }
            Ok(answers)
        };
        load().map_err(|source| self.failed(source))
    }

    /// Records an answer about a task, by `actor`; it is durable when this returns. What is there already stays.
    ///
    /// # Errors
    /// [`LedgerError::Sqlite`], such as a full disk; it may be tried again.
    pub fn record_answer(
        &mut self,
        task: u16,
        answer: &AnswerRecord,
        actor: &str,
    ) -> Result<(), LedgerError> {
        let write = |connection: &mut Connection| -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            let mut text = String::new();
            join_choices(&answer.choices, &mut text);
            match &answer.said {
                Ok((value, metrics)) => {
                    let new = transaction.execute(
                        "INSERT OR IGNORE INTO measurements (task, key, fidelity, architecture, value, actor, cost)
                         VALUES (?1, ?2, ?6, ?3, ?4, ?5, ?7)",
                        params![task, answer.key as i64, text, value, actor, answer.fidelity, answer.cost],
                    )?;
                    let id = transaction.last_insert_rowid();
                    // SQLite has no numbers that are not one.
                    for (name, value) in metrics.iter().filter(|(_, value)| new > 0 && value.is_finite()) {
                        transaction
                            .execute("INSERT INTO metrics VALUES (?1, ?2, ?3)", params![id, name, value])?;
                    }
                }
                Err(reason) => {
                    transaction.execute(
                        "INSERT OR IGNORE INTO infeasible VALUES (?1, ?2, ?6, ?3, ?4, ?5, ?7)",
                        params![task, answer.key as i64, text, reason, actor, answer.fidelity, answer.cost],
                    )?;
                }
            }
            transaction.commit()
        };
        self.durable().and_then(|()| write(&mut self.connection)).map_err(|source| self.failed(source))
    }

    /// Makes commits durable from now on; to be called before the first.
    pub(super) fn prepare(&self) -> Result<(), LedgerError> {
        self.durable().map_err(|source| self.failed(source))
    }
}

/// Adds to what was taken in of an incarnation.
fn add_actor(connection: &Connection, r: &ActorRecord) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO actors VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (actor, incarnation) DO UPDATE SET
         acknowledged = max(acknowledged, excluded.acknowledged),
         environment_steps = environment_steps + excluded.environment_steps,
         transitions = transitions + excluded.transitions,
         episodes = episodes + excluded.episodes",
    )?;
    statement.execute(params![
        r.actor,
        r.incarnation as i64,
        r.acknowledged as i64,
        r.environment_steps as i64,
        r.transitions as i64,
        r.episodes as i64
    ])?;
    Ok(())
}

fn join_choices(choices: &[u8], text: &mut String) {
    use std::fmt::Write;
    text.clear();
    for (i, choice) in choices.iter().enumerate() {
        let _ = if i > 0 { write!(text, ",{choice}") } else { write!(text, "{choice}") };
    }
}

/// The choices of a text in a column.
fn split_choices(text: &str, column: usize) -> rusqlite::Result<Vec<u8>> {
    let parsed = text.split(',').map(|choice| {
        choice.parse().map_err(|e| {
            rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(e))
        })
    });
    parsed.collect()
}

/// In what two runs differ, if they cannot share a ledger.
fn difference(found: &RunRecord, wanted: &RunRecord) -> Option<String> {
    if found.space != wanted.space {
        return Some(format!("its space is {}, not {}", found.space, wanted.space));
    }
    if let Some((a, b)) = found.tasks.iter().zip(&wanted.tasks).find(|(a, b)| a != b) {
        return Some(format!("it has the task {} where {} is now", a.0, b.0));
    }
    if found.tasks.len() != wanted.tasks.len() {
        return Some(format!("it has {} tasks, not {}", found.tasks.len(), wanted.tasks.len()));
    }
    let other = wanted.benchmarks.iter().find(|b| !found.benchmarks.contains(b));
    other.map(|(name, hash)| {
        format!(
            "its benchmark {name} had another content than the file at hand ({})",
            &hash[..hash.len().min(12)]
        )
    })
}

#[cfg(test)]
mod tests {
    use super::{super::tests::measurements, *};

    fn record() -> RunRecord {
        RunRecord {
            name: "run".into(),
            space: "toy".into(),
            seed: u64::MAX,
            tasks: vec![("a".into(), "f".into()), ("b".into(), "g".into())],
            benchmarks: vec![("toy".into(), "00ff".into())],
        }
    }

    fn taken(incarnation: u64, acknowledged: u64, steps: u64) -> ActorRecord {
        let (actor, transitions, episodes) = ("a".into(), 2 * steps, 1);
        ActorRecord { actor, incarnation, acknowledged, environment_steps: steps, transitions, episodes }
    }

    #[test]
    fn what_is_committed_is_there_when_it_is_opened_again_and_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        let mut database = Database::create(&path, &record()).unwrap();
        let rows = [(0, u64::MAX, 1.0, 0.25), (1, 7, 0.06, -3.5)];
        let commit = |database: &mut Database, progress| {
            let record = super::super::Record::unacknowledged(measurements(&rows), progress, 5);
            database.commit(&[record]).unwrap();
        };
        commit(&mut database, taken(9, 1, 10));
        commit(&mut database, taken(9, 2, 10));
        commit(&mut database, taken(u64::MAX, 1, 3));
        drop(database);
        let database = Database::open(&path, &record()).unwrap();
        assert_eq!(database.measurements(None).unwrap(), measurements(&rows));
        assert_eq!(database.measurements(Some(1)).unwrap(), measurements(&rows[..1]));
        let mut actors = database.actors().unwrap();
        actors.sort_by_key(|a| a.incarnation);
        assert_eq!(actors, [ActorRecord { episodes: 2, ..taken(9, 2, 20) }, taken(u64::MAX, 1, 3)]);
        assert_eq!(database.policy_version().unwrap(), 5);
        let best: (String, f64) = database
            .connection
            .query_row("SELECT task, value FROM incumbents", [], |r| Ok((r.get(0)?, r.get(1)?)))
            .unwrap();
        // Of full trainings.
        assert_eq!(best, ("a".into(), 0.25));
    }

    #[test]
    fn answers_come_back_with_their_metrics_and_older_files_are_upgraded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        drop(Database::create(&path, &record()).unwrap());
        // As schema 1 was.
        let raw = Connection::open(&path).unwrap();
        raw.execute_batch(
            "DROP TABLE metrics; DROP TABLE infeasible; ALTER TABLE measurements DROP COLUMN cost; PRAGMA user_version = 1",
        )
        .unwrap();
        drop(raw);
        let mut database = Database::open(&path, &record()).unwrap();
        let metrics = BTreeMap::from([("loss".to_string(), 0.5), ("acc".into(), f64::NAN)]);
        let full =
            |key: u64, choices: Vec<u8>, said| AnswerRecord { key, choices, fidelity: 1.0, cost: 1.0, said };
        let good = full(u64::MAX, vec![0, 12], Ok((-0.5, metrics)));
        let bad = full(3, vec![1, 1], Err("it diverged".into()));
        // A shorter training of the same is another measurement, and none to be the best.
        let short =
            AnswerRecord { fidelity: 0.25, cost: 0.25, said: Ok((9.0, BTreeMap::new())), ..good.clone() };
        let rest = AnswerRecord { cost: 0.75, ..full(4, vec![2, 2], Ok((-0.75, BTreeMap::new()))) };
        for _ in 0..2 {
            for answer in [&bad, &good, &short, &rest] {
                database.record_answer(1, answer, "me").unwrap();
            }
        }
        drop(database);
        let database = Database::open(&path, &record()).unwrap();
        let mut kept = good.clone();
        kept.said = Ok((-0.5, BTreeMap::from([("loss".into(), 0.5)])));
        assert_eq!(database.answers(1).unwrap(), [kept, short, rest, bad]);
        assert_eq!(database.answers(0).unwrap(), []);
        assert_eq!(database.measurements(None).unwrap().values, [-0.5, 9.0, -0.75]);
        let best: (f64, u32) = database
            .connection
            .query_row("SELECT value, measurements FROM incumbents WHERE task = 'b'", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!(best, (-0.5, 2));
    }

    #[test]
    fn other_runs_newer_schemas_and_foreign_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        drop(Database::create(&path, &record()).unwrap());
        let refused = |run: &RunRecord| Database::open(&path, run).unwrap_err().to_string();
        assert!(refused(&RunRecord { space: "other".into(), ..record() }).contains("its space is toy"));
        let mut run = record();
        run.benchmarks[0].1 = "11".into();
        assert!(refused(&run).contains("benchmark toy had another content"));
        run = record();
        run.tasks.pop();
        assert!(refused(&run).contains("2 tasks, not 1"));
        let raw = Connection::open(&path).unwrap();
        raw.pragma_update(None, "user_version", 99).unwrap();
        drop(raw);
        assert!(refused(&record()).contains("schema 99"));
        std::fs::write(&path, "this is no database, and it is longer than a header of one hundred bytes would be, if it were one").unwrap();
        assert!(refused(&record()).contains("not a ledger"));
    }
}
