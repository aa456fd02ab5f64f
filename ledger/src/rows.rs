//! One answer as it lies in the file, and its checksum: what changes on the disk by itself is not taken for a measurement.

use super::AnswerRecord;
use rusqlite::{CachedStatement, Connection, params};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fmt};

/// Columns of [`Row`], in the order in which [`Row::read`] wants them.
pub(super) const COLUMNS: &str =
    "id, task, key, fidelity, architecture, value, reason, actor, cost, checksum";

/// Number of the answers, and their checksums added up: the ledger's running hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Answers, those without a value among them.
    pub answers: u64,
    /// The sum of their checksums, modulo 2^64.
    pub checksum: u64,
    /// How often the file was repaired: what was lost then is not lost anew.
    pub repaired: u64,
}

impl Tally {
    /// Counts an answer.
    pub(super) fn add(&mut self, checksum: u64) {
        self.answers += 1;
        self.checksum = self.checksum.wrapping_add(checksum);
    }

    /// Takes an answer out.
    pub(super) fn remove(&mut self, checksum: u64) {
        self.answers -= 1;
        self.checksum = self.checksum.wrapping_sub(checksum);
    }

    /// What the file says of itself.
    pub(super) fn noted(connection: &Connection) -> rusqlite::Result<Tally> {
        connection.query_row("SELECT answers, checksum, repaired FROM run", [], |row| {
            let number = |i| row.get::<_, i64>(i).map(|n| n as u64);
            Ok(Tally { answers: number(0)?, checksum: number(1)?, repaired: number(2)? })
        })
    }

    /// Notes it in the file.
    pub(super) fn note(&self, connection: &Connection) -> rusqlite::Result<()> {
        let numbers = params![self.answers as i64, self.checksum as i64, self.repaired as i64];
        connection.execute("UPDATE run SET answers = ?1, checksum = ?2, repaired = ?3", numbers).map(|_| ())
    }
}

/// What a checkpoint knew of its ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Distinct measurements.
    pub answers: u64,
    /// What was in the file; older checkpoints do not say.
    pub tally: Option<Tally>,
}

impl Known {
    /// What a ledger with a tally has lost of it, if it has; `first` is the tally of so many that ended first.
    pub(super) fn lost_in<E>(
        &self,
        now: Tally,
        first: impl FnOnce(u64) -> Result<Tally, E>,
    ) -> Result<Option<String>, E> {
        // A file that older checkpoints go with was never repaired.
        let then = self.tally.unwrap_or(Tally { answers: self.answers, ..Tally::default() });
        if now.repaired > then.repaired {
            // What was lost before a repair has been said.
            return Ok(None);
        }
        if now.answers < then.answers {
            return Ok(Some(format!(
                "it has {} measurements, and the newest checkpoint knew of {}: the last ones are gone (was ledger.sqlite-wal \
                 removed, or an older copy put in its place?)",
                now.answers, then.answers
            )));
        }
        let another = self.tally.is_some() && first(then.answers)?.checksum != then.checksum;
        Ok(another.then(|| {
            format!(
                "its first {} measurements are not those that the newest checkpoint knew of",
                then.answers
            )
        }))
    }
}

/// An answer in the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub id: i64,
    pub task: u16,
    pub key: u64,
    pub fidelity: f64,
    pub architecture: String,
    /// The value, or why there is none.
    pub said: Result<f64, String>,
    pub actor: String,
    pub cost: Option<f64>,
    pub metrics: BTreeMap<String, f64>,
}

impl Row {
    /// A row of [`COLUMNS`], with the checksum that it should have; its metrics are read elsewhere.
    pub fn read(row: &rusqlite::Row) -> rusqlite::Result<(Row, Option<u64>)> {
        let said = match row.get::<_, Option<String>>(6)? {
            Some(reason) => Err(reason),
            None => Ok(row.get(5)?),
        };
        let read = Row {
            id: row.get(0)?,
            task: row.get(1)?,
            key: row.get::<_, i64>(2)? as u64,
            fidelity: row.get(3)?,
            architecture: row.get(4)?,
            said,
            actor: row.get(7)?,
            cost: row.get(8)?,
            metrics: BTreeMap::new(),
        };
        Ok((read, row.get::<_, Option<i64>>(9)?.map(|n| n as u64)))
    }

    /// Of everything in it.
    pub fn checksum(&self) -> u64 {
        let mut hash = Sha256::new();
        let mut number = |n: u64| hash.update(n.to_le_bytes());
        // SQLite keeps no sign of a zero.
        let real = |value: f64| (value + 0.0).to_bits();
        number(self.id as u64);
        number(self.task.into());
        number(self.key);
        number(real(self.fidelity));
        number(u64::from(self.cost.is_some()));
        number(real(self.cost.unwrap_or(0.0)));
        number(u64::from(self.said.is_ok()));
        number(self.said.as_ref().map_or(0, |value| real(*value)));
        let mut text = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        text(&self.architecture);
        text(&self.actor);
        text(self.said.as_ref().err().map_or("", |reason| reason));
        for (name, value) in &self.metrics {
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name);
            hash.update(real(*value).to_le_bytes());
        }
        let [a, b, c, d, e, f, g, h, ..] = hash.finalize()[..] else { unreachable!("it has 32 bytes") };
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// Writes it with its checksum; `false` if the same was there already.
    pub fn insert(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let (sql, said): (_, &dyn rusqlite::ToSql) = match &self.said {
            Ok(value) => (
                "INSERT OR IGNORE INTO measurements (id, task, key, fidelity, architecture, value, actor, cost, checksum)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                value,
            ),
            Err(reason) => (
                "INSERT OR IGNORE INTO infeasible (id, task, key, fidelity, architecture, reason, actor, cost, checksum)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                reason,
            ),
        };
        let new = connection.prepare_cached(sql)?.execute(params![
            self.id,
            self.task,
            self.key as i64,
            self.fidelity,
            self.architecture,
            said,
            self.actor,
            self.cost,
            self.checksum() as i64
        ])? > 0;
        if new && !self.metrics.is_empty() {
            let mut insert = connection.prepare_cached("INSERT INTO metrics VALUES (?1, ?2, ?3)")?;
            for (name, value) in &self.metrics {
                insert.execute(params![self.id, name, value])?;
            }
        }
        Ok(new)
    }

    /// The answer in it.
    ///
    /// # Errors
    /// An architecture that is no list of choices.
    pub fn answer(&self) -> Result<AnswerRecord, std::num::ParseIntError> {
        Ok(AnswerRecord {
            key: self.key,
            choices: split_choices(&self.architecture)?,
            fidelity: self.fidelity,
            cost: self.cost.unwrap_or(self.fidelity),
            said: self.said.clone().map(|value| (value, self.metrics.clone())),
        })
    }

    /// What is wrong with it by itself, if something is.
    pub fn fault(&self, checksum: Option<u64>) -> Option<String> {
        let numbers = [Some(self.fidelity), self.cost, self.said.as_ref().ok().copied()];
        let mut numbers = numbers.into_iter().flatten().chain(self.metrics.values().copied());
        if checksum.is_some_and(|expected| expected != self.checksum()) {
            return Some("it is not what was written: its checksum is another".into());
        }
        if let Some(number) = numbers.find(|number| !number.is_finite()) {
            return Some(format!("it has the number {number}"));
        }
        split_choices(&self.architecture)
            .err()
            .map(|e| format!("its architecture is no list of choices: {e}"))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answer {}: task {}, architecture {}", self.id, self.task, self.architecture)?;
        match &self.said {
            Ok(value) => write!(f, ", value {value}"),
            Err(reason) => write!(f, ", no value: {reason}"),
        }
    }
}

/// Reads the metrics of measurements, one after another.
pub(super) struct Metrics<'c>(Option<CachedStatement<'c>>);

impl<'c> Metrics<'c> {
    pub fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        // The ledger of a training has none: not a look for each of its many measurements.
        let some = connection.query_row("SELECT EXISTS (SELECT 1 FROM metrics)", [], |row| row.get(0))?;
        let sql = "SELECT name, value FROM metrics WHERE measurement = ?1";
        Ok(Self(if some { Some(connection.prepare_cached(sql)?) } else { None }))
    }

    /// Adds what a row has of them.
    pub fn add_to(&mut self, row: &mut Row) -> rusqlite::Result<()> {
        if let (Some(statement), Ok(_)) = (&mut self.0, &row.said) {
            let pairs = statement.query_map([row.id], |m| Ok((m.get(0)?, m.get(1)?)))?;
            row.metrics = pairs.collect::<rusqlite::Result<_>>()?;
        }
        Ok(())
    }
}

/// Every answer in the order in which they ended, with the checksum that it should have; or why it cannot be read.
pub(super) fn for_each(
    connection: &Connection,
    mut visit: impl FnMut(rusqlite::Result<(Row, Option<u64>)>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut metrics = Metrics::new(connection)?;
    let mut answers = connection.prepare(&format!("SELECT {COLUMNS} FROM answers ORDER BY id"))?;
    let mut rows = answers.query([])?;
    while let Some(row) = rows.next()? {
        visit(Row::read(row).and_then(|(mut row, checksum)| {
            metrics.add_to(&mut row)?;
            Ok((row, checksum))
        }))?;
    }
    Ok(())
}

/// Gives every answer that is there its checksum, and notes their tally: for files from before there were any.
pub(super) fn vouch_for_all(connection: &Connection) -> rusqlite::Result<()> {
    let mut sums = Vec::new();
    for_each(connection, |read| {
        let (row, _) = read?;
        sums.push((row.id, row.said.is_ok(), row.checksum()));
        Ok(())
    })?;
    let mut tally = Tally::default();
    for (id, has_value, checksum) in sums {
        let table = if has_value { "measurements" } else { "infeasible" };
        let sql = format!("UPDATE {table} SET checksum = ?2 WHERE id = ?1");
        connection.prepare_cached(&sql)?.execute(params![id, checksum as i64])?;
        tally.add(checksum);
    }
    tally.note(connection)
}

/// Choices as they are written.
pub(super) fn join_choices(choices: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(2 * choices.len());
    for (i, choice) in choices.iter().enumerate() {
        let _ = if i > 0 { write!(text, ",{choice}") } else { write!(text, "{choice}") };
    }
    text
}

/// Choices as they were written.
pub(super) fn split_choices(text: &str) -> Result<Vec<u8>, std::num::ParseIntError> {
    text.split(',').map(str::parse).collect()
}
