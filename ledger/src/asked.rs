//! What a search asked for and was not told of: whoever goes on after a kill asks for it again.

use super::{
    Database, LedgerError,
    file::failed,
    rows::{join_choices, split_choices},
};
use rusqlite::{Connection, params, types::Type};

/// Beside the answers, and no part of them: it is not counted, and nothing is lost with it but the order of asking.
const TABLE: &str = "
CREATE TABLE IF NOT EXISTS asked (
    id INTEGER PRIMARY KEY,
    task INTEGER NOT NULL,
    key INTEGER NOT NULL,
    fidelity REAL NOT NULL,
    architecture TEXT NOT NULL,
    UNIQUE (task, key, fidelity)
)";

/// Pages of the log after which SQLite moves them into the file by itself, as it does where nothing is said.
const CHECKPOINT: u32 = 1000;

/// A training that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct AskedRecord {
    /// By what the architecture is paid for.
    pub key: u64,
    /// Its choices.
    pub choices: Vec<u8>,
    /// How much of a full training; 1 is all of it.
    pub fidelity: f64,
}

impl Database {
    /// Notes that a training of a task was asked for. It outlives the process, not a power cut: to wait for the disk would cost more
    /// than to ask.
    ///
    /// # Errors
    /// [`LedgerError::Sqlite`].
    pub fn record_asked(&mut self, task: u16, asked: &AskedRecord) -> Result<(), LedgerError> {
        self.on_file(|connection| {
            // The next answer waits for the disk, for this with it. What is moved out of the log must be on the disk before, so
            // nothing is moved here.
            connection.pragma_update(None, "synchronous", "off")?;
            let noted = note(connection, task, asked);
            // Whatever became of it, answers wait for the disk.
            connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT)?;
            connection.pragma_update(None, "synchronous", "full")?;
            noted
        })
    }

    /// Forgets that a training of a task was asked for.
    ///
    /// # Errors
    /// [`LedgerError::Sqlite`].
    pub fn forget_asked(&mut self, task: u16, key: u64, fidelity: f64) -> Result<(), LedgerError> {
        self.on_file(|connection| {
            connection.execute_batch(TABLE)?;
            let mut delete = connection
                .prepare_cached("DELETE FROM asked WHERE task = ?1 AND key = ?2 AND fidelity = ?3")?;
            delete.execute(params![task, key as i64, fidelity]).map(|_| ())
        })
    }

    /// What was asked for of a task and has no answer, in the order of asking; what has one is forgotten.
    ///
    /// # Errors
    /// [`LedgerError::Sqlite`], and [`LedgerError::Damaged`] for what is no architecture.
    pub fn asked(&mut self, task: u16) -> Result<Vec<AskedRecord>, LedgerError> {
        self.on_file(|connection| {
            connection.execute_batch(TABLE)?;
            connection.execute(
                "DELETE FROM asked WHERE EXISTS (SELECT 1 FROM answers WHERE answers.task = asked.task
                 AND answers.key = asked.key AND answers.fidelity = asked.fidelity)",
                [],
            )?;
            let mut select = connection
                .prepare("SELECT key, architecture, fidelity FROM asked WHERE task = ?1 ORDER BY id")?;
            let rows = select.query_map([task], |row| {
                let choices = split_choices(row.get_ref(1)?.as_str()?)
                    .map_err(|e| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(e)))?;
                Ok(AskedRecord { key: row.get::<_, i64>(0)? as u64, choices, fidelity: row.get(2)? })
            })?;
            rows.collect()
        })
    }

    fn on_file<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, LedgerError> {
        work(&self.connection).map_err(|source| failed(&self.path, source))
    }
}

fn note(connection: &Connection, task: u16, asked: &AskedRecord) -> rusqlite::Result<()> {
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.execute_batch(TABLE)?;
    let mut insert = connection.prepare_cached(
        "INSERT OR IGNORE INTO asked (task, key, fidelity, architecture) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let architecture = join_choices(&asked.choices);
    insert.execute(params![task, asked.key as i64, asked.fidelity, architecture]).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AnswerRecord, RunRecord, verify};

    #[test]
    fn what_was_asked_for_is_there_until_it_has_an_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.sqlite");
        let run = RunRecord {
            name: "r".into(),
            space: "s".into(),
            seed: 1,
            tasks: vec![("t".into(), "f".into())],
            benchmarks: vec![],
        };
        let asked = |key: u64, fidelity: f64| AskedRecord { key, choices: vec![key as u8, 0], fidelity };
        let mut ledger = Database::create(&path, &run).unwrap();
        ledger.prepare().unwrap();
        for record in
            [asked(3, 1.0), asked(1, 1.0), asked(3, 1.0), asked(3, 0.1), asked(9, 1.0), asked(u64::MAX, 1.0)]
        {
            ledger.record_asked(0, &record).unwrap();
        }
        let answer =
            AnswerRecord { key: 3, choices: vec![3, 0], fidelity: 0.1, cost: 0.1, said: Err("no".into()) };
        ledger.record_answer(0, &answer, "me").unwrap();
        ledger.forget_asked(0, 9, 1.0).unwrap();
        drop(ledger);
        // Who knows nothing of the table finds nothing wrong, and opens it.
        assert_eq!(verify(&path, &|_, _, _| Ok(()), None).unwrap().faults, Vec::<String>::new());
        let (mut ledger, _) = Database::open_any(&path).unwrap();
        let waits = [asked(3, 1.0), asked(1, 1.0), asked(u64::MAX, 1.0)];
        assert_eq!(ledger.asked(0).unwrap(), waits);
        assert_eq!(ledger.asked(1).unwrap(), []);
        assert_eq!(ledger.answers(0).unwrap().len(), 1);
    }

    #[test]
    fn answers_wait_for_the_disk_also_after_a_note_that_failed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.sqlite");
        let run = RunRecord {
            name: "r".into(),
            space: "s".into(),
            seed: 1,
            tasks: vec![("t".into(), "f".into())],
            benchmarks: vec![],
        };
        let mut ledger = Database::create(&path, &run).unwrap();
        ledger.connection.execute_batch("CREATE TABLE asked (something INTEGER)").unwrap();
        let asked = AskedRecord { key: 1, choices: vec![0], fidelity: 1.0 };
        assert!(ledger.record_asked(0, &asked).is_err());
        let set = |pragma: &str| -> i64 {
            ledger.connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0)).unwrap()
        };
        assert_eq!((set("synchronous"), set("wal_autocheckpoint")), (2, i64::from(CHECKPOINT)));
    }
}
