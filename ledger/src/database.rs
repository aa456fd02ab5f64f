//! The ledger's file: SQLite, so that any SQL tool reads it. `docs/run-directory.md` explains the tables.

use super::{
    ActorRecord, AnswerRecord, LedgerError, RunRecord,
    audit::Audit,
    file::{connect, durable, failed, remove, schema_of},
    records::difference,
    rows::{self, Known, Row, Tally, join_choices, split_choices},
    schema::{self, SCHEMA},
};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use srnas_wire::Measurements;
use std::path::{Path, PathBuf};

/// An open ledger file: whole when it was opened.
#[derive(Debug)]
pub struct Database {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    /// Of all answers in the file.
    tally: Tally,
    /// The id of the next answer.
    next: i64,
}

impl Database {
    /// Makes the file of a new run.
    ///
    /// # Errors
    /// [`LedgerError::Sqlite`], and nothing of a file is left.
    pub fn create(path: &Path, run: &RunRecord) -> Result<Database, LedgerError> {
        // Under another name until it is whole: a kill in between leaves no half ledger.
        let unfinished = path.with_extension("unfinished");
        remove(&unfinished);
        let made = connect(&unfinished, OpenFlags::SQLITE_OPEN_CREATE).and_then(|mut connection| {
            durable(&connection)
                .and_then(|()| schema::define(&mut connection, run))
                .map_err(|source| failed(&unfinished, source))
        });
        if made.is_err() {
            remove(&unfinished);
        }
        made?;
        std::fs::rename(&unfinished, path)
            .map_err(|source| LedgerError::Name { path: path.display().to_string(), source })?;
        let connection = connect(path, OpenFlags::empty())?;
        Ok(Database { connection, path: path.into(), tally: Tally::default(), next: 1 })
    }

    /// Opens the file of a run that is to go on, with another seed perhaps, but on the same tasks.
    ///
    /// # Errors
    /// Refuses what is no ledger, a newer schema, a damaged file, and another run's ledger; the file is not changed.
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
        let at = |source| failed(path, source);
        let mut connection = connect(path, OpenFlags::empty())?;
        match schema_of(&connection).map_err(at)? {
            SCHEMA => {}
            older @ 1..SCHEMA => schema::upgrade(&mut connection, older).map_err(at)?,
            0 => return Err(LedgerError::Foreign { path: path.display().to_string() }),
            found => {
                return Err(LedgerError::Newer { path: path.display().to_string(), found, known: SCHEMA });
            }
        }
        let found = run_of(&connection).map_err(at)?;
        let audit = Audit::of(&connection).map_err(at)?;
        if let Some(reason) = audit.faults.first() {
            return Err(LedgerError::Damaged { path: path.display().to_string(), reason: reason.clone() });
        }
        Ok((Database { connection, path: path.into(), tally: audit.tally, next: audit.last + 1 }, found))
    }

    /// Whose ledger a file is; nothing of it is changed, nor looked through.
    ///
    /// # Errors
    /// As [`Database::open_any`].
    pub fn whose(path: &Path) -> Result<RunRecord, LedgerError> {
        let connection = connect(path, OpenFlags::empty())?;
        let run = schema_of(&connection).and_then(|schema| Ok((schema, run_of(&connection)?)));
        match run.map_err(|source| failed(path, source))? {
            (0, _) => Err(LedgerError::Foreign { path: path.display().to_string() }),
            (1..=SCHEMA, run) => Ok(run),
            (found, _) => Err(LedgerError::Newer { path: path.display().to_string(), found, known: SCHEMA }),
        }
    }

    /// What is wrong with something that was read, as an error of this file.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`].
    pub fn expect(&self, found: Result<(), String>) -> Result<(), LedgerError> {
        found.map_err(|reason| LedgerError::Damaged { path: self.path.display().to_string(), reason })
    }

    /// Number and running hash of all that it holds.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Whether it holds everything that was in it at a checkpoint.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] says what is lost.
    pub fn still_holds(&self, known: Known) -> Result<(), LedgerError> {
        let lost = known.lost_in(self.tally, |answers| self.first(answers))?;
        self.expect(lost.map_or(Ok(()), Err))
    }

    /// The tally of the answers that ended first.
    fn first(&self, answers: u64) -> Result<Tally, LedgerError> {
        let add = || -> rusqlite::Result<Tally> {
            let mut statement =
                self.connection.prepare("SELECT checksum FROM answers ORDER BY id LIMIT ?1")?;
            let mut rows = statement.query([answers as i64])?;
            let mut tally = Tally::default();
            while let Some(row) = rows.next()? {
                tally.add(row.get::<_, i64>(0)? as u64);
            }
            Ok(tally)
        };
        add().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: rusqlite::Error) -> LedgerError {
        failed(&self.path, source)
    }

    /// All measurements in the order in which they came, the first `most` of them; `fits` says what is wrong with an
    /// architecture of a task under its key.
    ///
    /// # Errors
    /// [`LedgerError::Sqlite`], and [`LedgerError::Damaged`] for what does not fit.
    pub fn measurements(
        &self,
        most: Option<usize>,
        fits: impl Fn(u16, u64, &[u8]) -> Result<(), String>,
    ) -> Result<Measurements, LedgerError> {
        let (loaded, misfit) = self.load(most, fits).map_err(|source| self.failed(source))?;
        self.expect(misfit.map_or(Ok(()), Err))?;
        Ok(loaded)
    }

    fn load(
        &self,
        most: Option<usize>,
        fits: impl Fn(u16, u64, &[u8]) -> Result<(), String>,
    ) -> rusqlite::Result<(Measurements, Option<String>)> {
        let mut loaded = Measurements::default();
        let mut statement = self.connection.prepare(
            "SELECT task, key, fidelity, architecture, value FROM measurements ORDER BY id LIMIT ?1",
        )?;
        // A negative limit is none.
        let mut rows = statement.query([most.map_or(-1, |n| n as i64)])?;
        while let Some(row) = rows.next()? {
            let (task, key) = (row.get(0)?, row.get::<_, i64>(1)? as u64);
            let mut architecture = choices(row.get_ref(3)?.as_str()?)?;
            if let Err(misfit) = fits(task, key, &architecture) {
                let text = join_choices(&architecture);
                return Ok((loaded, Some(format!("architecture {text} of task {task}: {misfit}"))));
            }
            loaded.tasks.push(task);
            loaded.keys.push(key);
            loaded.fidelities.push(row.get::<_, f64>(2)? as f32);
            loaded.architectures.append(&mut architecture);
            loaded.values.push(row.get::<_, f64>(4)? as f32);
        }
        Ok((loaded, None))
    }

    /// What was taken in of every actor.
    ///
    /// # Errors
    /// [`LedgerError::Sqlite`].
    pub fn actors(&self) -> Result<Vec<ActorRecord>, LedgerError> {
        actors_of(&self.connection).map_err(|source| self.failed(source))
    }

    /// The highest policy version that was broadcast while something was recorded.
    ///
    /// # Errors
    /// [`LedgerError::Sqlite`].
    pub fn policy_version(&self) -> Result<u64, LedgerError> {
        policy_version_of(&self.connection).map_err(|source| self.failed(source))
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
        durable(&self.connection)
            .and_then(|()| reset(&mut self.connection))
            .map_err(|source| failed(&self.path, source))
    }

    /// Writes records in one transaction: all of it is durable when this returns, or nothing is.
    ///
    /// # Errors
    /// [`LedgerError::Sqlite`], such as a full disk; it may be tried again.
    pub fn commit(&mut self, records: &[super::Record]) -> Result<(), LedgerError> {
        let version = records.iter().map(|record| record.policy_version).max().unwrap_or(0);
        self.write(|transaction, tally, next| {
            for record in records {
                let m = &record.measurements;
                let decisions = m.architectures.len() / m.tasks.len().max(1);
                for i in 0..m.tasks.len() {
                    let row = Row {
                        id: *next,
                        task: m.tasks[i],
                        key: m.keys[i],
                        fidelity: m.fidelities[i].into(),
                        architecture: join_choices(&m.architectures[i * decisions..][..decisions]),
                        said: Ok(m.values[i].into()),
                        actor: record.progress.actor.clone(),
                        cost: None,
                        metrics: Default::default(),
                    };
                    row.enter(transaction, tally, next)?;
                }
                add_actor(transaction, &record.progress)?;
            }
            transaction
                .execute("UPDATE run SET policy_version = max(policy_version, ?1)", [version as i64])
                .map(|_| ())
        })
    }

    /// Every answer about a task, in the order in which they ended.
    ///
    /// # Errors
    /// [`LedgerError::Sqlite`].
    pub fn answers(&self, task: u16) -> Result<Vec<AnswerRecord>, LedgerError> {
        Ok(self.rows(task)?.into_iter().map(|(_, answer)| answer).collect())
    }

    fn rows(&self, task: u16) -> Result<Vec<(Row, AnswerRecord)>, LedgerError> {
        answers_of(&self.connection, task).map_err(|source| self.failed(source))
    }

    /// Whose ledger a file is and every answer about a task, in the order in which they ended, at one moment: also while somebody
    /// writes, and without looking for damage.
    ///
    /// # Errors
    /// As [`Database::open_any`].
    pub fn look(path: &Path, task: u16) -> Result<(RunRecord, Vec<AnswerRecord>), LedgerError> {
        let at = |source| failed(path, source);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(at)?;
        connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(at)?;
        connection.execute_batch("BEGIN").map_err(at)?;
        if schema_of(&connection).map_err(at)? != SCHEMA {
            drop(connection);
            let (database, run) = Database::open_any(path)?;
            return Ok((run, database.answers(task)?));
        }
        let answers = answers_of(&connection, task).map_err(at)?;
        Ok((run_of(&connection).map_err(at)?, answers.into_iter().map(|(_, answer)| answer).collect()))
    }

    /// Takes out those answers about a task that have no value and whose reason is one of `which`: they are as if they had
    /// never been asked for. Returns them, in the order in which they ended.
    ///
    /// # Errors
    /// [`LedgerError::Sqlite`]; nothing is taken out then.
    pub fn forget_infeasible(
        &mut self,
        task: u16,
        which: impl Fn(&str) -> bool,
    ) -> Result<Vec<AnswerRecord>, LedgerError> {
        let mut found = self.rows(task)?;
        found.retain(|(row, _)| row.said.as_ref().is_err_and(|reason| which(reason)));
        durable(&self.connection).map_err(|source| self.failed(source))?;
        self.write(|transaction, tally, _| {
            for (row, _) in &found {
                transaction.execute("DELETE FROM infeasible WHERE id = ?1", [row.id])?;
                tally.remove(row.checksum());
            }
            Ok(())
        })?;
        Ok(found.into_iter().map(|(_, answer)| answer).collect())
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
        let (said, mut metrics) = match answer.said.clone() {
            Ok((value, metrics)) => (Ok(value), metrics),
            Err(reason) => (Err(reason), Default::default()),
        };
        // SQLite has no numbers that are not one.
        metrics.retain(|_, value| value.is_finite());
        let row = Row {
            id: 0,
            task,
            key: answer.key,
            fidelity: answer.fidelity,
            architecture: join_choices(&answer.choices),
            said,
            actor: actor.into(),
            cost: Some(answer.cost),
            metrics,
        };
        durable(&self.connection).map_err(|source| self.failed(source))?;
        self.write(|transaction, tally, next| {
            Row { id: *next, ..row.clone() }.enter(transaction, tally, next)
        })?;
        // Each answer was dear: none is left to a second file that somebody may remove. Where that fails, as it does while
        // somebody reads, it is safe in that second file, and moved after the next.
        let _ = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        Ok(())
    }

    /// One transaction, with the tally and the next id as they are after it.
    pub(super) fn write(
        &mut self,
        fill: impl FnOnce(&Connection, &mut Tally, &mut i64) -> rusqlite::Result<()>,
    ) -> Result<(), LedgerError> {
        let (mut tally, mut next) = (self.tally, self.next);
        let write = || -> rusqlite::Result<()> {
            let transaction = self.connection.transaction()?;
            fill(&transaction, &mut tally, &mut next)?;
            tally.note(&transaction)?;
            transaction.commit()
        };
        write().map_err(|source| failed(&self.path, source))?;
        (self.tally, self.next) = (tally, next);
        Ok(())
    }

    /// Makes commits durable from now on; to be called before the first.
    pub fn prepare(&self) -> Result<(), LedgerError> {
        durable(&self.connection).map_err(|source| self.failed(source))
    }
}

impl Row {
    /// Writes it if it is new, and counts it then.
    pub(super) fn enter(
        &self,
        connection: &Connection,
        tally: &mut Tally,
        next: &mut i64,
    ) -> rusqlite::Result<()> {
        if self.insert(connection)? {
            tally.add(self.checksum());
            *next = self.id + 1;
        }
        Ok(())
    }
}

/// Every answer about a task as it lies in the file, and as it is told.
fn answers_of(connection: &Connection, task: u16) -> rusqlite::Result<Vec<(Row, AnswerRecord)>> {
    let mut found = Vec::new();
    rows::for_each(connection, |read| {
        let (row, _) = read?;
        if row.task == task {
            let answer = row.answer().map_err(no_choices)?;
            found.push((row, answer));
        }
        Ok(())
    })?;
    Ok(found)
}

/// Whose ledger it is.
pub(super) fn run_of(connection: &Connection) -> rusqlite::Result<RunRecord> {
    let pairs = |sql: &str| -> rusqlite::Result<Vec<(String, String)>> {
        connection.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    let (tasks, benchmarks) = (
        pairs("SELECT name, family FROM tasks ORDER BY task")?,
        pairs("SELECT name, content_hash FROM benchmarks ORDER BY name")?,
    );
    connection.query_row("SELECT name, space, seed FROM run", [], |row| {
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

pub(super) fn policy_version_of(connection: &Connection) -> rusqlite::Result<u64> {
    let found = connection.query_row("SELECT policy_version FROM run", [], |row| row.get::<_, i64>(0));
    Ok(found.optional()?.unwrap_or(0) as u64)
}

pub(super) fn actors_of(connection: &Connection) -> rusqlite::Result<Vec<ActorRecord>> {
    let mut statement = connection.prepare(
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
}

/// Adds to what was taken in of an incarnation.
pub(super) fn add_actor(connection: &Connection, r: &ActorRecord) -> rusqlite::Result<()> {
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

/// The choices in a column of text.
fn choices(text: &str) -> rusqlite::Result<Vec<u8>> {
    split_choices(text).map_err(no_choices)
}

fn no_choices(error: std::num::ParseIntError) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
}
