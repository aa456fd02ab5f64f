//! What a program says of architectures without training them: `--fidelity epochs=0,27`.

use super::ledger::SearchLedger;
use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use srnas_oracle::costly::{Answer, CostlyError, CostlyOracle};
use srnas_predictor::{Asked, PlainSettings};
use srnas_space::SearchSpace;
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use tracing::{info, warn};

/// So many architectures are asked about, or as many as there are.
const ARCHITECTURES: usize = 300;
/// So many draws for each of them.
const DRAWS: usize = 20;

/// Asks about a sample of the space, several at a time; each answer is durable before the next question, and asked for once. What is
/// said of these is expected of the others. Who says what is `searched` has trained all the same, and is asked nothing more.
pub fn ask(
    oracle: &dyn CostlyOracle,
    searched: &str,
    ledger: &mut SearchLedger,
    slots: usize,
    seed: u64,
    stop: &AtomicBool,
) -> anyhow::Result<Asked> {
    let (space, fidelities) = (oracle.space().clone(), oracle.fidelities().clone());
    let sample = sample(&space, seed);
    let mut said: HashMap<u64, Answer> = ledger.untrained()?;
    let left: Vec<&Vec<u8>> =
        sample.iter().filter(|choices| !said.contains_key(&space.canonical_key(choices))).collect();
    let before = sample.len() - left.len();
    if !left.is_empty() {
        info!(
            "asks the program about {} architectures without training them ({}=0), {slots} at a time{}",
            left.len(),
            fidelities.unit(),
            if before > 0 { format!("; {before} are known") } else { String::new() }
        );
    }
    let template = "{elapsed_precise} {bar:30} {pos}/{len} asked without training, {eta} left";
    let bar = ProgressBar::new(sample.len() as u64)
        .with_style(ProgressStyle::with_template(template).expect("a valid template"))
        .with_position(before as u64);
    let (shared, failed) = (Mutex::new((left.into_iter(), ledger, &mut said)), Mutex::new(None));
    thread::scope(|scope| {
        let work = || {
            while !stop.load(Ordering::Relaxed) && lock(&failed).is_none() {
                let Some(choices) = lock(&shared).0.next() else { return };
                let answer = match oracle.ask_untrained(choices, stop) {
                    Ok(answer) => answer,
                    Err(CostlyError::Stopped) => return,
                    Err(CostlyError::Failed(reason)) => {
                        lock(&failed).get_or_insert_with(|| anyhow::anyhow!("the oracle failed: {reason}"));
                        return;
                    }
                };
                if matches!(&answer, Answer::Metrics(numbers) if numbers.contains_key(searched)) {
                    lock(&failed).get_or_insert_with(|| trains_all_the_same(searched));
                    return;
                }
                let now = &mut *lock(&shared);
                if let Err(error) = now.1.keep_untrained(choices, &answer) {
                    lock(&failed).get_or_insert_with(|| error.into());
                    return;
                }
                now.2.insert(space.canonical_key(choices), answer);
                bar.inc(1);
            }
        };
        for _ in 0..slots.max(1) {
            scope.spawn(work);
        }
    });
    bar.finish_and_clear();
    drop(shared);
    if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    if said.len() < sample.len() {
        bail!(
            "stopped after {} of {} questions without training; the same command with --resume goes on",
            said.len(),
            sample.len()
        );
    }
    described(&space, &sample, &said)
}

fn trains_all_the_same(searched: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "the program says `{searched}` where SRNAS_FIDELITY is 0, which is what a training is to find: let it look at SRNAS_FIDELITY, and \
         say at 0 only what it knows without training; or leave the 0 out of --fidelity"
    )
}

/// What the answers describe.
fn described(
    space: &Arc<SearchSpace>,
    sample: &[Vec<u8>],
    said: &HashMap<u64, Answer>,
) -> anyhow::Result<Asked> {
    let (mut known, mut reason) = (Vec::new(), None);
    for choices in sample {
        match &said[&space.canonical_key(choices)] {
            Answer::Metrics(numbers) => known.push((choices.clone(), numbers.clone())),
            Answer::Infeasible(why) => reason = Some(why.clone()),
        }
    }
    let silent = sample.len() - known.len();
    if let Some(reason) = reason {
        if known.is_empty() {
            bail!(
                "the program says nothing of any architecture where SRNAS_FIDELITY is 0: {reason}; let it print a JSON object of what \
                 it knows without training, such as {{\"parameters\": 1234}}, or leave the 0 out of --fidelity"
            );
        }
        warn!(
            "of {silent} of {} architectures the program says nothing without training: {reason}",
            sample.len()
        );
    }
    let Some(asked) = Asked::new(space, &PlainSettings::default(), &known) else {
        let names: Vec<&str> = known[0].1.keys().map(String::as_str).collect();
        bail!(
            "what the program says where SRNAS_FIDELITY is 0 tells no architecture from another ({}): it needs a number that it says of \
             half of them at least, and that differs",
            if names.is_empty() { "no number".into() } else { names.join(", ") }
        );
    };
    Ok(asked)
}

/// Random architectures, each key once.
fn sample(space: &SearchSpace, seed: u64) -> Vec<Vec<u8>> {
    let (mut rng, mut seen) = (ChaCha8Rng::seed_from_u64(seed ^ 0x00de_5c21), HashSet::new());
    let (mut sample, mut choices) = (Vec::new(), vec![0; space.len()]);
    for _ in 0..DRAWS * ARCHITECTURES {
        space.sample(&mut rng, &mut choices);
        if seen.insert(space.canonical_key(&choices)) {
            sample.push(choices.clone());
            if sample.len() == ARCHITECTURES {
                break;
            }
        }
    }
    sample
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
