//! Answers in the tables of a shared ledger.

use super::{clean, clean_metrics};
use crate::{
    AnswerRecord,
    rows::{COLUMNS, Row, Tally, join_choices},
};
use postgres::{Error, Transaction, types::ToSql};
use std::collections::BTreeMap;

/// An answer, with the checksum that it should have.
type Read = (Row, u64);

/// Writes an answer if there is none, and counts it then; whether it did.
pub(super) fn publish(
    transaction: &mut Transaction,
    task: i32,
    answer: &AnswerRecord,
    actor: &str,
) -> Result<bool, Error> {
    let id = lock(transaction)?;
    let key = answer.key as i64;
    let sql = "SELECT 1 FROM answers WHERE task = $1 AND key = $2 AND fidelity = $3";
    if transaction.query_opt(sql, &[&task, &key, &answer.fidelity])?.is_some() {
        return Ok(false);
    }
    let (said, metrics) = match &answer.said {
        Ok((value, metrics)) => (Ok(*value), clean_metrics(metrics)),
        Err(reason) => (Err(clean(reason)), BTreeMap::new()),
    };
    let row = Row {
        id,
        task: task as u16,
        key: answer.key,
        fidelity: answer.fidelity,
        architecture: join_choices(&answer.choices),
        said,
        actor: clean(actor),
        cost: Some(answer.cost),
        metrics,
    };
    let (table, column, said): (_, _, &(dyn ToSql + Sync)) = match &row.said {
        Ok(value) => ("measurements", "value", value),
        Err(reason) => ("infeasible", "reason", reason),
    };
    let checksum = row.checksum();
    let sql = format!(
        "INSERT INTO {table} (id, task, key, fidelity, architecture, {column}, actor, cost, checksum)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
    );
    let signed = checksum as i64;
    let values: [&(dyn ToSql + Sync); 9] =
        [&id, &task, &key, &row.fidelity, &row.architecture, said, &row.actor, &row.cost, &signed];
    transaction.execute(&sql, &values)?;
    for (name, value) in &row.metrics {
        transaction.execute("INSERT INTO metrics VALUES ($1, $2, $3)", &[&id, name, value])?;
    }
    let mut tally = tally(transaction, task)?;
    tally.add(checksum);
    note(transaction, task, tally)?;
    transaction.execute("UPDATE ledger SET next = $1", &[&(id + 1)])?;
    Ok(true)
}

/// Keeps other writers out until the transaction ends: numbers are given in the order in which answers become visible, so that nobody
/// misses one. The next number.
pub(super) fn lock(transaction: &mut Transaction) -> Result<i64, Error> {
    Ok(transaction.query_one("SELECT next FROM ledger FOR UPDATE", &[])?.get(0))
}

/// Takes an answer out if it has no value.
pub(super) fn forget_infeasible(
    transaction: &mut Transaction,
    task: i32,
    key: i64,
    fidelity: f64,
) -> Result<(), Error> {
    let sql = "DELETE FROM infeasible WHERE task = $1 AND key = $2 AND fidelity = $3 RETURNING checksum";
    if let Some(row) = transaction.query_opt(sql, &[&task, &key, &fidelity])? {
        let mut left = tally(transaction, task)?;
        left.remove(row.get::<_, i64>(0) as u64);
        note(transaction, task, left)?;
    }
    Ok(())
}

/// What a task says of itself.
pub(super) fn tally(transaction: &mut Transaction, task: i32) -> Result<Tally, Error> {
    let row = transaction.query_one("SELECT answers, checksum FROM tasks WHERE task = $1", &[&task])?;
    let (answers, checksum) = (row.get::<_, i64>(0) as u64, row.get::<_, i64>(1) as u64);
    Ok(Tally { answers, checksum, repaired: 0 })
}

/// Notes it.
pub(super) fn note(transaction: &mut Transaction, task: i32, tally: Tally) -> Result<(), Error> {
    let sql = "UPDATE tasks SET answers = $2, checksum = $3 WHERE task = $1";
    transaction.execute(sql, &[&task, &(tally.answers as i64), &(tally.checksum as i64)]).map(|_| ())
}

/// The answers about a task that came after another, in their order.
pub(super) fn after(transaction: &mut Transaction, task: i32, last: i64) -> Result<Vec<Read>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM answers WHERE task = $1 AND id > $2 ORDER BY id");
    let read = transaction.query(&sql, &[&task, &last])?;
    let sql =
        "SELECT measurement, metrics.name, metrics.value FROM metrics JOIN measurements ON id = measurement
        WHERE task = $1 AND id > $2";
    let metrics = transaction.query(sql, &[&task, &last])?;
    Ok(with_metrics(read, metrics))
}

/// The answer about one training.
pub(super) fn of_flight(
    transaction: &mut Transaction,
    task: i32,
    key: i64,
    fidelity: f64,
) -> Result<Option<Read>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM answers WHERE task = $1 AND key = $2 AND fidelity = $3");
    let read = transaction.query(&sql, &[&task, &key, &fidelity])?;
    let Some(id) = read.first().map(|row| row.get::<_, i64>(0)) else { return Ok(None) };
    let sql = "SELECT measurement, name, value FROM metrics WHERE measurement = $1";
    let metrics = transaction.query(sql, &[&id])?;
    Ok(with_metrics(read, metrics).pop())
}

fn with_metrics(rows: Vec<postgres::Row>, metrics: Vec<postgres::Row>) -> Vec<Read> {
    let mut by_measurement: BTreeMap<i64, BTreeMap<String, f64>> = BTreeMap::new();
    for row in metrics {
        by_measurement.entry(row.get(0)).or_default().insert(row.get(1), row.get(2));
    }
    let of = |row: postgres::Row| {
        let id: i64 = row.get(0);
        let said = match row.get::<_, Option<String>>(6) {
            Some(reason) => Err(reason),
            None => Ok(row.get::<_, Option<f64>>(5).unwrap_or(f64::NAN)),
        };
        let metrics =
            if said.is_ok() { by_measurement.remove(&id).unwrap_or_default() } else { BTreeMap::new() };
        let read = Row {
            id,
            task: row.get::<_, i32>(1) as u16,
            key: row.get::<_, i64>(2) as u64,
            fidelity: row.get(3),
            architecture: row.get(4),
            said,
            actor: row.get(7),
            cost: row.get(8),
            metrics,
        };
        (read, row.get::<_, i64>(9) as u64)
    };
    rows.into_iter().map(of).collect()
}
