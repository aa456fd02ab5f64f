//! Whether a ledger's file is what was written.

use super::rows::{self, Tally};
use rusqlite::Connection;

/// Faults that are told one by one.
const TOLD: usize = 20;

/// What reading every answer of a file of the newest schema found.
#[derive(Debug, Default)]
pub(super) struct Audit {
    /// Of what is there.
    pub tally: Tally,
    /// The highest id.
    pub last: i64,
    /// What is wrong, the first of it.
    pub faults: Vec<String>,
}

impl Audit {
    /// Reads everything.
    pub fn of(connection: &Connection) -> rusqlite::Result<Audit> {
        let noted = Tally::noted(connection)?;
        let mut audit =
            Audit { tally: Tally { repaired: noted.repaired, ..Tally::default() }, ..Audit::default() };
        let mut wrong = 0;
        rows::for_each(connection, |read| {
            let fault = match read {
                Err(error) => Some(format!("an answer cannot be read: {error}")),
                Ok((row, checksum)) => {
                    audit.tally.add(row.checksum());
                    audit.last = audit.last.max(row.id);
                    row.fault(checksum).map(|fault| format!("{row}: {fault}"))
                }
            };
            if let Some(fault) = fault {
                wrong += 1;
                if audit.faults.len() < TOLD {
                    audit.faults.push(fault);
                }
            }
            Ok(())
        })?;
        if wrong > TOLD {
            audit.faults.push(format!("and {} more", wrong - TOLD));
        }
        if audit.tally.answers != noted.answers {
            let (there, written) = (audit.tally.answers, noted.answers);
            audit.faults.push(format!("it has {there} answers, and {written} were written"));
        } else if audit.tally != noted && wrong == 0 {
            audit.faults.push("its answers are not those that were written".into());
        }
        Ok(audit)
    }
}
