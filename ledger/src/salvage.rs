//! Reading a file that may be damaged: every answer that can be read, and where none can.

use super::{
    care::Fits,
    rows::{Metrics, Row, Tally},
};
use rusqlite::{Connection, params};

/// Where nothing is known of how far ids go, they are looked for so much farther than the last that was read.
const BEYOND: i64 = 4096;

/// What can be read of a ledger.
#[derive(Debug, Default)]
pub(super) struct Salvage {
    /// Answers that are what was written, in the order in which they ended.
    pub whole: Vec<Row>,
    /// What cannot be kept, and why.
    pub lost: Vec<String>,
    /// What the file says that it has; older ones do not say.
    pub noted: Option<Tally>,
}

impl Salvage {
    /// Reads everything that can be read of a file of some schema; `fits` says what is wrong with an architecture of a task
    /// under its key.
    pub fn of(connection: &Connection, schema: u32, fits: Fits) -> Salvage {
        let mut salvage = Salvage::default();
        if schema >= 4 {
            match Tally::noted(connection) {
                Ok(noted) => salvage.noted = Some(noted),
                Err(error) => salvage.lost.push(format!("how many answers there were: {error}")),
            }
        }
        let cost = if schema >= 3 { "cost" } else { "NULL" };
        let checksum = if schema >= 4 { "checksum" } else { "NULL" };
        let id = if schema >= 4 { "id" } else { "rowid" };
        let measurements = format!(
            "id, task, key, fidelity, architecture, value, NULL, actor, {cost}, {checksum} FROM measurements"
        );
        let infeasible = format!(
            "{id}, task, key, fidelity, architecture, NULL, reason, actor, {cost}, {checksum} FROM infeasible"
        );
        salvage.table(connection, &measurements, schema >= 2, fits);
        if schema >= 2 {
            let before = salvage.whole.len();
            let last = salvage.whole.iter().map(|row| row.id).max().unwrap_or(0);
            salvage.table(connection, &infeasible, false, fits);
            if schema < 4 {
                // What has no value has ids of its own there.
                salvage.whole[before..].iter_mut().for_each(|row| row.id += last);
            }
        }
        salvage.whole.sort_by_key(|row| row.id);
        // What was read in two goes may be told twice.
        salvage.lost.dedup();
        salvage
    }

    fn table(&mut self, connection: &Connection, columns: &str, has_metrics: bool, fits: Fits) {
        let mut reader = Reader { connection, columns, found: Vec::new(), lost: Vec::new() };
        reader.read_all(self.noted.map_or(0, |noted| noted.answers as i64));
        self.lost.append(&mut reader.lost);
        let mut metrics = match has_metrics.then(|| Metrics::new(connection)).transpose() {
            Ok(metrics) => metrics,
            Err(error) => {
                self.lost.push(format!("the metrics beside the values: {error}"));
                None
            }
        };
        for (mut row, checksum) in reader.found {
            // With metrics that cannot be read its checksum is another.
            let read = metrics.as_mut().map_or(Ok(()), |metrics| metrics.add_to(&mut row));
            let unread =
                read.err().filter(|_| checksum.is_none()).map(|e| format!("its metrics cannot be read: {e}"));
            let misfit = || {
                let choices = super::rows::split_choices(&row.architecture).ok()?;
                fits(row.task, row.key, &choices).err()
            };
            match unread.or_else(|| row.fault(checksum)).or_else(misfit) {
                None => self.whole.push(row),
                Some(fault) => self.lost.push(format!("{row}: {fault}")),
            }
        }
    }
}

/// Reads one table by the ids of its rows, around whatever cannot be read.
struct Reader<'c> {
    connection: &'c Connection,
    columns: &'c str,
    found: Vec<(Row, Option<u64>)>,
    lost: Vec<String>,
}

impl Reader<'_> {
    fn read_all(&mut self, noted: i64) {
        // From both ends as far as it goes, and what is left in between by halves.
        let Err(error) = self.read(1, i64::MAX, false) else { return };
        let first = self.found.iter().map(|(row, _)| row.id).max().unwrap_or(0);
        let before = self.found.len();
        let from_the_end = self.read(first + 1, i64::MAX, true);
        let last = self.found[before..].iter().map(|(row, _)| row.id).min();
        let gap = match last {
            Some(last) => first + 1..=last - 1,
            None => first + 1..=noted.max(first + BEYOND),
        };
        if from_the_end.is_ok() && last.is_none() {
            return;
        }
        let before = self.found.len();
        self.halves(*gap.start(), *gap.end());
        let inside = self.found.len() - before;
        self.lost.push(format!(
            "between answers {first} and {}, where {inside} can be read: {error}",
            gap.end() + 1
        ));
    }

    fn halves(&mut self, from: i64, to: i64) {
        if from > to {
            return;
        }
        let before = self.found.len();
        if self.read(from, to, false).is_ok() {
            return;
        }
        let from = self.found[before..].last().map_or(from, |(row, _)| row.id + 1);
        if from < to {
            let middle = from + (to - from) / 2;
            self.halves(from, middle);
            self.halves(middle + 1, to);
        }
    }

    /// The rows with these ids until there is an error.
    fn read(&mut self, from: i64, to: i64, backwards: bool) -> rusqlite::Result<()> {
        let order = if backwards { "DESC" } else { "ASC" };
        let sql = format!("SELECT {} WHERE rowid BETWEEN ?1 AND ?2 ORDER BY rowid {order}", self.columns);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![from, to])?;
        let mut last: Option<i64> = None;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            // A damaged tree may lead anywhere.
            if !(from..=to).contains(&id)
                || last.is_some_and(|last| if backwards { id >= last } else { id <= last })
            {
                return Err(rusqlite::Error::InvalidQuery);
            }
            last = Some(id);
            match Row::read(row) {
                Ok(read) => self.found.push(read),
                Err(error) => self.lost.push(format!("answer {id} cannot be read: {error}")),
            }
        }
        Ok(())
    }
}
