//! Whether a shared ledger is what was written, and what is kept of it if not.

use super::{Address, Subject, in_words, ready, rows, subjects};
use crate::{LedgerError, Tally, rows::Row};
use postgres::{Client, Error, IsolationLevel, Transaction};

/// What a look at every answer of a task found.
#[derive(Debug)]
pub struct SharedFindings {
    /// The task.
    pub subject: Subject,
    /// Answers that are what was written.
    pub whole: u64,
    /// Those among them without a value.
    pub without_value: u64,
    /// What is wrong.
    pub faults: Vec<String>,
}

/// Looks at every answer of every task; nothing is changed.
///
/// # Errors
/// As [`super::SharedLedger::open`].
pub fn verify(address: &Address) -> Result<Vec<SharedFindings>, LedgerError> {
    let look = |client: &mut Client| -> Result<Vec<SharedFindings>, Error> {
        // One state of it, also while somebody writes.
        let snapshot = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead);
        let mut transaction = snapshot.read_only(true).start()?;
        let mut found = Vec::new();
        for (task, subject) in subjects(&mut transaction)? {
            let noted = rows::tally(&mut transaction, task)?;
            let (whole, damaged) = sorted(&mut transaction, task)?;
            let without_value = whole.iter().filter(|row| row.said.is_err()).count() as u64;
            let mut faults: Vec<String> = damaged.into_iter().map(|(_, fault)| fault).collect();
            let tally = tally_of(&whole);
            if faults.is_empty() && tally.answers != noted.answers {
                faults.push(format!("it has {} answers, and {} were written", tally.answers, noted.answers));
            } else if faults.is_empty() && tally.checksum != noted.checksum {
                faults.push("its answers are not those that were written".into());
            }
            found.push(SharedFindings { subject, whole: tally.answers, without_value, faults });
        }
        Ok(found)
    };
    look(&mut ready(address)?).map_err(|error| address.failed(in_words(&error)))
}

/// Takes out what is not what was written; what is left counts as what was. Returns what was lost: searches that still know it write it
/// again when they go on, others measure it anew.
///
/// # Errors
/// As [`verify`]; nothing is changed then.
pub fn repair(address: &Address) -> Result<Vec<String>, LedgerError> {
    let mend = |client: &mut Client| -> Result<Vec<String>, Error> {
        let mut transaction = client.transaction()?;
        rows::lock(&mut transaction)?;
        let mut lost = Vec::new();
        for (task, _) in subjects(&mut transaction)? {
            let noted = rows::tally(&mut transaction, task)?;
            let (whole, damaged) = sorted(&mut transaction, task)?;
            let tally = tally_of(&whole);
            let there = tally.answers + damaged.len() as u64;
            if there < noted.answers {
                lost.push(format!("{} answers of task {task} are not there", noted.answers - there));
            }
            for (row, fault) in damaged {
                for table in ["measurements", "infeasible"] {
                    transaction.execute(&format!("DELETE FROM {table} WHERE id = $1"), &[&row.id])?;
                }
                lost.push(fault);
            }
            if tally != noted {
                rows::note(&mut transaction, task, tally)?;
            }
        }
        transaction.commit()?;
        Ok(lost)
    };
    mend(&mut ready(address)?).map_err(|error| address.failed(in_words(&error)))
}

/// An answer that is not what was written, and what is wrong.
type Damaged = (Row, String);

/// The answers about a task that are what was written, and those that are not, each with what is wrong.
fn sorted(transaction: &mut Transaction, task: i32) -> Result<(Vec<Row>, Vec<Damaged>), Error> {
    let (mut whole, mut damaged) = (Vec::new(), Vec::new());
    for (row, checksum) in rows::after(transaction, task, 0)? {
        match row.fault(Some(checksum)) {
            None => whole.push(row),
            Some(fault) => {
                let fault = format!("{row}: {fault}");
                damaged.push((row, fault));
            }
        }
    }
    Ok((whole, damaged))
}

fn tally_of(rows: &[Row]) -> Tally {
    let mut tally = Tally::default();
    rows.iter().for_each(|row| tally.add(row.checksum()));
    tally
}
