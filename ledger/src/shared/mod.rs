//! A ledger that several searches share: a PostgreSQL database beside each search's own file. What one measured the others read, and
//! nobody measures what another is measuring: who begins a training holds a claim on it, which lapses when its holder is not heard of.
//!
//! Whatever happens to the server, each search has what it knows in its own file.

mod address;
mod rows;
mod schema;
mod verify;

pub use address::Address;
pub use verify::{SharedFindings, repair, verify};

use crate::{AnswerRecord, LedgerError, RunRecord, rows::Row};
use postgres::{Client, IsolationLevel, Transaction};
use sha2::{Digest, Sha256};
use srnas_basics::text::{hex, with_causes};
use srnas_space::SearchSpace;
use std::{
    collections::{BTreeMap, HashSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// So many draws tell spaces apart.
const DRAWN: usize = 256;

/// Of what a ledger that is shared is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Name of the task: who measures, and what is searched for.
    pub name: String,
    /// Its family.
    pub family: String,
    /// Name of the space.
    pub space: String,
    /// What tells the space from others, see [`fingerprint`].
    pub space_hash: String,
    /// Who measures.
    pub benchmark: String,
    /// SHA-256 of what its answers depend on, in hex.
    pub content_hash: String,
}

impl Subject {
    /// The task of a search in a space.
    pub fn of(run: &RunRecord, space: &SearchSpace) -> Subject {
        let (name, family) = run.tasks.first().cloned().unwrap_or_default();
        let (benchmark, content_hash) = run.benchmarks.first().cloned().unwrap_or_default();
        Subject {
            name,
            family,
            space: run.space.clone(),
            space_hash: fingerprint(space),
            benchmark,
            content_hash,
        }
    }
}

/// SHA-256, in hex, of a space's decisions and of the keys that it gives to architectures: under the same one, a key is of the same
/// architecture.
pub fn fingerprint(space: &SearchSpace) -> String {
    let mut hash = Sha256::new();
    let mut text = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    for decision in space.decisions() {
        text(&decision.name);
        decision.choices.iter().for_each(|choice| text(choice));
        text("");
    }
    // The same in every version of this program: drawn by SplitMix64 (Steele et al. 2014), not by a library.
    let mut state = 0u64;
    let mut draw = |n: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as u8
    };
    for _ in 0..DRAWN {
        let choices: Vec<u8> =
            space.decisions().iter().map(|decision| draw(decision.choices.len())).collect();
        let key = space.is_valid(&choices).then(|| space.canonical_key(&choices));
        hash.update([u8::from(key.is_some())]);
        hash.update(key.unwrap_or_default().to_le_bytes());
    }
    hex(&hash.finalize())
}

/// By what a training is known: the key of its architecture, and the bits of its fidelity.
pub type Flight = (u64, u64);

/// Whose a training is.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// Of whoever asked, from now on.
    Ours,
    /// Of somebody who measures it now.
    Theirs,
    /// Of nobody: it is answered.
    Answered(AnswerRecord),
}

/// What came since somebody looked.
#[derive(Debug, Default)]
pub struct News {
    /// Answers, in the order in which they came.
    pub answers: Vec<AnswerRecord>,
    /// What others measure now.
    pub theirs: HashSet<Flight>,
    /// Up to which of all answers this is.
    pub last: i64,
    /// Answers that are not what was written: they count as if they were not there.
    pub unusable: Vec<String>,
}

/// An earlier task of a shared ledger: its subject, and its answers.
pub type SharedTask = (Subject, Vec<AnswerRecord>);

/// A task of a ledger that is shared, as one search works with it; from any thread.
pub struct SharedLedger {
    address: Address,
    task: i32,
    holder: String,
    lease: Duration,
    client: Mutex<Option<Client>>,
}

impl SharedLedger {
    /// Opens the ledger that is there, or makes its tables. `holder` is who claims: the same name whenever the same search goes on, and no
    /// other's; what it had claimed before is free again. A claim lapses when it was not renewed for `lease`.
    ///
    /// # Errors
    /// [`LedgerError::Server`], and [`LedgerError::Newer`].
    pub fn open(
        address: Address,
        subject: &Subject,
        holder: &str,
        lease: Duration,
    ) -> Result<Self, LedgerError> {
        let client = ready(&address)?;
        let mut shared =
            Self { address, task: 0, holder: clean(holder), lease, client: Mutex::new(Some(client)) };
        shared.task = shared.call(|client| {
            let mut transaction = client.transaction()?;
            let task = task_of(&mut transaction, subject)?;
            transaction
                .execute("DELETE FROM claims WHERE task = $1 AND holder = $2", &[&task, &shared.holder])?;
            transaction.commit()?;
            Ok(task)
        })?;
        Ok(shared)
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Asks for a training to be left to this search.
    ///
    /// # Errors
    /// [`LedgerError::Server`].
    pub fn claim(&self, flight: Flight, choices: &[u8]) -> Result<Claim, LedgerError> {
        let (key, fidelity) = (flight.0 as i64, f64::from_bits(flight.1));
        let (architecture, lease) = (crate::rows::join_choices(choices), self.lease.as_secs_f64());
        self.call(|client| {
            let mut transaction = client.transaction()?;
            // First the claim, then the look: whoever answers gives up its claim in the same moment.
            let sql = "INSERT INTO claims (task, key, fidelity, architecture, holder, until)
                 VALUES ($1, $2, $3, $4, $5, now() + make_interval(secs => $6))
                 ON CONFLICT (task, key, fidelity) DO UPDATE SET holder = excluded.holder, since = now(), until = excluded.until
                 WHERE claims.until < now() OR claims.holder = excluded.holder";
            let params: [&(dyn postgres::types::ToSql + Sync); 6] =
                [&self.task, &key, &fidelity, &architecture, &self.holder, &lease];
            let ours = transaction.execute(sql, &params)? > 0;
            let found = rows::of_flight(&mut transaction, self.task, key, fidelity)?;
            let answered = found.and_then(|(row, checksum)| whole(row, checksum).ok());
            if let Some(answer) = answered {
                // What was claimed in vain goes with the transaction.
                transaction.rollback()?;
                return Ok(Claim::Answered(answer));
            }
            transaction.commit()?;
            Ok(if ours { Claim::Ours } else { Claim::Theirs })
        })
    }

    /// Gives a training back that came to no end here.
    ///
    /// # Errors
    /// [`LedgerError::Server`]; the claim lapses by itself then.
    pub fn release(&self, flight: Flight) -> Result<(), LedgerError> {
        let (key, fidelity) = (flight.0 as i64, f64::from_bits(flight.1));
        self.call(|client| {
            let sql = "DELETE FROM claims WHERE task = $1 AND key = $2 AND fidelity = $3 AND holder = $4";
            client.execute(sql, &[&self.task, &key, &fidelity, &self.holder]).map(|_| ())
        })
    }

    /// Gives everything back.
    ///
    /// # Errors
    /// As [`Self::release`].
    pub fn release_all(&self) -> Result<(), LedgerError> {
        self.call(|client| {
            let sql = "DELETE FROM claims WHERE task = $1 AND holder = $2";
            client.execute(sql, &[&self.task, &self.holder]).map(|_| ())
        })
    }

    /// Says that this search is still at all that it has claimed.
    ///
    /// # Errors
    /// As [`Self::release`].
    pub fn renew(&self) -> Result<(), LedgerError> {
        let lease = self.lease.as_secs_f64();
        self.call(|client| {
            let sql =
                "UPDATE claims SET until = now() + make_interval(secs => $3) WHERE task = $1 AND holder = $2";
            client.execute(sql, &[&self.task, &self.holder, &lease]).map(|_| ())
        })
    }

    /// Writes an answer, by `actor`, and gives up the claim on it: it is durable when this returns. Whether it was new; what is there
    /// stays.
    ///
    /// # Errors
    /// [`LedgerError::Server`]; nothing was written then.
    pub fn publish(&self, answer: &AnswerRecord, actor: &str) -> Result<bool, LedgerError> {
        self.call(|client| {
            let mut transaction = client.transaction()?;
            let new = rows::publish(&mut transaction, self.task, answer, actor)?;
            let (key, fidelity) = (answer.key as i64, answer.fidelity);
            let sql = "DELETE FROM claims WHERE task = $1 AND key = $2 AND fidelity = $3";
            transaction.execute(sql, &[&self.task, &key, &fidelity])?;
            transaction.commit()?;
            Ok(new)
        })
    }

    /// Takes out what has no value of these trainings.
    ///
    /// # Errors
    /// [`LedgerError::Server`]; nothing is taken out then.
    pub fn forget_infeasible(&self, flights: &[Flight]) -> Result<(), LedgerError> {
        self.call(|client| {
            let mut transaction = client.transaction()?;
            rows::lock(&mut transaction)?;
            for (key, fidelity) in flights {
                rows::forget_infeasible(&mut transaction, self.task, *key as i64, f64::from_bits(*fidelity))?;
            }
            transaction.commit()
        })
    }

    /// All that came after the answer `last`, and what others measure, at one moment.
    ///
    /// # Errors
    /// [`LedgerError::Server`].
    pub fn news(&self, last: i64) -> Result<News, LedgerError> {
        self.call(|client| {
            let mut transaction = client
                .build_transaction()
                .isolation_level(IsolationLevel::RepeatableRead)
                .read_only(true)
                .start()?;
            let mut news = News { last, ..News::default() };
            for (row, checksum) in rows::after(&mut transaction, self.task, last)? {
                news.last = row.id;
                match whole(row, checksum) {
                    Ok(answer) => news.answers.push(answer),
                    Err(fault) => news.unusable.push(fault),
                }
            }
            let sql = "SELECT key, fidelity FROM claims WHERE task = $1 AND holder <> $2 AND until > now()";
            for claim in transaction.query(sql, &[&self.task, &self.holder])? {
                news.theirs.insert((claim.get::<_, i64>(0) as u64, claim.get::<_, f64>(1).to_bits()));
            }
            transaction.commit()?;
            Ok(news)
        })
    }

    fn call<T>(
        &self,
        mut work: impl FnMut(&mut Client) -> Result<T, postgres::Error>,
    ) -> Result<T, LedgerError> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        // What is broken shows when it is used: a server that was started anew is asked again at once.
        let mut again = client.as_ref().is_some_and(|client| !client.is_closed());
        loop {
            let open = match client.as_mut().filter(|client| !client.is_closed()) {
                Some(open) => open,
                None => client.insert(ready(&self.address)?),
            };
            match work(open) {
                Err(error) if open.is_closed() && again => {
                    again = false;
                    tracing::debug!("the connection to {} broke: {}", self.address, in_words(&error));
                }
                result => return result.map_err(|error| self.address.failed(in_words(&error))),
            }
        }
    }
}

/// Every task of a shared ledger on a space, with its answers; those that are not what was written are left out.
///
/// # Errors
/// As [`SharedLedger::open`].
pub fn tasks_of_space(address: &Address, space: &SearchSpace) -> Result<Vec<SharedTask>, LedgerError> {
    let space_hash = fingerprint(space);
    let read = |client: &mut Client| -> Result<Vec<SharedTask>, postgres::Error> {
        let mut transaction = client.transaction()?;
        let mut found = Vec::new();
        for (task, subject) in subjects(&mut transaction)? {
            if subject.space_hash == space_hash {
                let rows = rows::after(&mut transaction, task, 0)?;
                let answers = rows.into_iter().filter_map(|(row, checksum)| whole(row, checksum).ok());
                found.push((subject, answers.collect()));
            }
        }
        Ok(found)
    };
    read(&mut ready(address)?).map_err(|error| address.failed(in_words(&error)))
}

/// A connection to a database with tables as they should be.
fn ready(address: &Address) -> Result<Client, LedgerError> {
    let mut client = address.connect()?;
    match schema::prepare(&mut client) {
        Ok(schema::SCHEMA) => Ok(client),
        Ok(found) => Err(LedgerError::Newer {
            path: address.to_string(),
            found: found.unsigned_abs(),
            known: schema::SCHEMA.unsigned_abs(),
        }),
        Err(error) => Err(address.failed(in_words(&error))),
    }
}

/// Every task, by its number.
fn subjects(transaction: &mut Transaction) -> Result<Vec<(i32, Subject)>, postgres::Error> {
    let sql =
        "SELECT task, name, family, space, space_hash, benchmark, content_hash FROM tasks ORDER BY task";
    let subject = |row: &postgres::Row| Subject {
        name: row.get(1),
        family: row.get(2),
        space: row.get(3),
        space_hash: row.get(4),
        benchmark: row.get(5),
        content_hash: row.get(6),
    };
    Ok(transaction.query(sql, &[])?.iter().map(|row| (row.get(0), subject(row))).collect())
}

/// The number of a task, which is there from now on.
fn task_of(transaction: &mut Transaction, subject: &Subject) -> Result<i32, postgres::Error> {
    let Subject { name, family, space, space_hash, benchmark, content_hash } = subject;
    let sql = "SELECT task FROM tasks WHERE space_hash = $1 AND name = $2 AND content_hash = $3";
    if let Some(row) = transaction.query_opt(sql, &[space_hash, name, content_hash])? {
        return Ok(row.get(0));
    }
    // Of two who come at once one makes it.
    let sql = "INSERT INTO tasks (name, family, space, space_hash, benchmark, content_hash) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (space_hash, name, content_hash) DO UPDATE SET name = excluded.name RETURNING task";
    let row = transaction.query_one(sql, &[name, family, space, space_hash, benchmark, content_hash])?;
    Ok(row.get(0))
}

/// An answer as it is told; of one that is not what was written, what is wrong.
fn whole(row: Row, checksum: u64) -> Result<AnswerRecord, String> {
    match (row.fault(Some(checksum)), row.answer()) {
        (None, Ok(answer)) => Ok(answer),
        (Some(fault), _) => Err(format!("{row}: {fault}")),
        (None, Err(error)) => Err(format!("{row}: {error}")),
    }
}

/// What a server or the way to it says.
fn in_words(error: &postgres::Error) -> String {
    let Some(said) = error.as_db_error() else { return with_causes(error) };
    let more = [said.detail(), said.hint()].into_iter().flatten().map(|more| format!("; {more}"));
    format!("{}{}", said.message(), more.collect::<String>())
}

/// A text as PostgreSQL can keep it.
fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Metrics as PostgreSQL can keep them, and those alone that say something.
fn clean_metrics(metrics: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    metrics.iter().filter(|(_, value)| value.is_finite()).map(|(name, value)| (clean(name), *value)).collect()
}
