//! Limits: what holds the throughput of a run down now, found from where actors and learner spend their time.

use crate::service::Counters;
use std::{
    collections::VecDeque,
    fmt,
    ops::Sub,
    time::{Duration, Instant},
};

/// Readings that a limit is judged over; one comes each second.
const READINGS: usize = 10;
/// Share of the batches under way that the learner must hold to be what the actors wait for.
const HOLDS: f64 = 0.5;

/// Seconds spent since the start, or, as the difference of two readings, in between.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Times {
    /// The actors' environment threads, in all.
    pub actors: f64,
    /// Of these, waiting for credit.
    pub credit: f64,
    /// Of these, waiting for the oracle.
    pub oracle: f64,
    /// Batches were with the learner, from arrival until taken in, over all batches.
    pub held: f64,
    /// The learner's thread: taking experience in.
    pub intake: f64,
    /// The learner's thread: updates, and the broadcasts that follow them.
    pub updates: f64,
    /// The learner's thread: waiting for experience.
    pub waiting: f64,
    /// The learner's thread: everything else.
    pub other: f64,
}

impl Times {
    /// From the actors' and the learner's own clocks.
    pub(crate) fn new(counters: &Counters, laps: &Laps) -> Times {
        let seconds = |us: u64| us as f64 * 1e-6;
        let lap = |activity: Activity| laps.spent[activity as usize].as_secs_f64();
        Times {
            actors: seconds(counters.elapsed_us),
            credit: seconds(counters.credit_us),
            oracle: seconds(counters.oracle_us),
            held: seconds(counters.held_us),
            intake: lap(Activity::Intake),
            updates: lap(Activity::Updates),
            waiting: lap(Activity::Waiting),
            other: lap(Activity::Other),
        }
    }
}

impl Sub for Times {
    type Output = Times;

    fn sub(self, before: Times) -> Times {
        Times {
            actors: self.actors - before.actors,
            credit: self.credit - before.credit,
            oracle: self.oracle - before.oracle,
            held: self.held - before.held,
            intake: self.intake - before.intake,
            updates: self.updates - before.updates,
            waiting: self.waiting - before.waiting,
            other: self.other - before.other,
        }
    }
}

/// What holds the throughput down. Shares are of the actors' time unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Limit {
    /// No batch told in the time looked at.
    #[default]
    Unknown,
    /// Nobody walks.
    Actors,
    /// The actors wait for measurements.
    Oracle {
        /// Share of the time spent so.
        share: f64,
    },
    /// The actors' own work: posteriors, network, environment.
    Computing {
        /// Share of the time spent so.
        share: f64,
    },
    /// The actors wait for credit while the learner holds little: batches or acknowledgements are on their way.
    Network {
        /// Share of the time spent waiting.
        share: f64,
    },
    /// The actors wait for credit while the learner holds their batches, busy with updates.
    Learner {
        /// Share of the time spent waiting.
        share: f64,
        /// Share of the learner's time spent on updates.
        updates: f64,
    },
    /// The actors wait for credit while the learner takes batches in as fast as it can.
    Credits {
        /// Share of the time spent waiting.
        share: f64,
    },
    /// The ledger cannot be written: nothing is acknowledged, and the actors wait.
    Disk,
}

impl Limit {
    /// All names, as they stand in metrics and files.
    pub const NAMES: [&str; 8] =
        ["unknown", "actors", "oracle", "computing", "network", "learner", "credits", "disk"];

    /// The name of the limit.
    pub fn name(&self) -> &'static str {
        Self::NAMES[match self {
            Limit::Unknown => 0,
            Limit::Actors => 1,
            Limit::Oracle { .. } => 2,
            Limit::Computing { .. } => 3,
            Limit::Network { .. } => 4,
            Limit::Learner { .. } => 5,
            Limit::Credits { .. } => 6,
            Limit::Disk => 7,
        }]
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: &f64| (100.0 * share).round();
        match self {
            Limit::Unknown => f.write_str("limit unknown: no batch came that tells"),
            Limit::Actors => f.write_str("limited by the actors: none is connected"),
            Limit::Oracle { share } => {
                write!(f, "limited by the oracle ({} % of the actors' time)", percent(share))
            }
            Limit::Computing { share } => {
                write!(f, "limited by the actors' own computing ({} % of their time)", percent(share))
            }
            Limit::Network { share } => write!(
                f,
                "limited by the network: the actors wait {} % of their time for credits, and the learner holds little",
                percent(share)
            ),
            Limit::Learner { share, updates } => write!(
                f,
                "limited by the learner: updates take {} % of its time, and the actors wait {} % of theirs for credits",
                percent(updates),
                percent(share)
            ),
            Limit::Credits { share } => write!(
                f,
                "limited by credits: the learner takes in no faster, and the actors wait {} % of their time",
                percent(share)
            ),
            Limit::Disk => f.write_str(
                "limited by the disk: the ledger cannot be written, and nothing is acknowledged until it can",
            ),
        }
    }
}

/// What limits a run that spent these times with so many live actors, each with so many credits.
pub fn limit(times: &Times, live: usize, credits: u32) -> Limit {
    if live == 0 {
        return Limit::Actors;
    }
    if times.actors <= 0.0 {
        return Limit::Unknown;
    }
    let share = |part: f64| (part / times.actors).clamp(0.0, 1.0);
    let (credit, oracle) = (share(times.credit), share(times.oracle));
    let computing = (1.0 - credit - oracle).max(0.0);
    if oracle >= credit && oracle >= computing {
        return Limit::Oracle { share: oracle };
    }
    if computing >= credit {
        return Limit::Computing { share: computing };
    }
    // Who waits for credit has all of them under way. What the learner does not hold, the network does.
    if times.held < HOLDS * f64::from(credits) * times.credit {
        return Limit::Network { share: credit };
    }
    let learner = times.intake + times.updates + times.waiting + times.other;
    if times.updates >= 0.5 * learner {
        return Limit::Learner { share: credit, updates: times.updates / learner.max(f64::MIN_POSITIVE) };
    }
    Limit::Credits { share: credit }
}

/// What the learner's thread may be at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Activity {
    Intake,
    Updates,
    Waiting,
    Other,
}

/// The learner's thread's clock: each lap is time spent on one activity.
#[derive(Debug)]
pub(crate) struct Laps {
    since: Instant,
    spent: [Duration; 4],
}

impl Laps {
    pub fn start() -> Laps {
        Laps { since: Instant::now(), spent: [Duration::ZERO; 4] }
    }

    /// All since the last lap was this.
    pub fn lap(&mut self, activity: Activity) {
        let now = Instant::now();
        self.spent[activity as usize] += now - self.since;
        self.since = now;
    }
}

/// The newest readings.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    readings: VecDeque<Times>,
}

impl Recent {
    /// Takes a reading; the times spent since the oldest one that is kept.
    pub fn push(&mut self, now: Times) -> Times {
        let oldest = self.readings.front().copied().unwrap_or_default();
        if self.readings.len() == READINGS {
            self.readings.pop_front();
        }
        self.readings.push_back(now);
        now - oldest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two actors over ten seconds.
    fn times(credit: f64, oracle: f64) -> Times {
        Times { actors: 20.0, credit, oracle, updates: 9.0, intake: 1.0, ..Times::default() }
    }

    #[test]
    fn the_largest_share_of_the_actors_time_is_the_limit() {
        assert_eq!(limit(&times(2.5, 15.0), 2, 8), Limit::Oracle { share: 0.75 });
        assert_eq!(limit(&times(5.0, 2.5), 2, 8), Limit::Computing { share: 0.625 });
        assert_eq!(limit(&times(12.5, 2.5), 2, 8), Limit::Network { share: 0.625 });
    }

    #[test]
    fn whoever_holds_the_batches_is_waited_for() {
        // All eight batches of each actor lie with the learner while the actors wait.
        let held = Times { held: 8.0 * 14.0, ..times(14.0, 0.0) };
        assert_eq!(limit(&held, 2, 8), Limit::Learner { share: 0.7, updates: 0.9 });
        let intake = Times { updates: 1.0, intake: 9.0, ..held };
        assert_eq!(limit(&intake, 2, 8), Limit::Credits { share: 0.7 });
        // A fast learner at the end of a long line: a batch of a hundred milliseconds' trip is with it for two.
        let line = Times { held: 0.02 * 8.0 * 20.0, ..times(14.0, 0.0) };
        assert_eq!(limit(&line, 2, 8), Limit::Network { share: 0.7 });
    }

    #[test]
    fn silence_and_nobody_are_told_apart_and_nonsense_is_no_panic() {
        assert_eq!(limit(&Times::default(), 2, 8), Limit::Unknown);
        assert_eq!(limit(&times(1.0, 1.0), 0, 8), Limit::Actors);
        let nonsense = Times { actors: 1.0, credit: 1e13, oracle: 1e13, ..Times::default() };
        assert_eq!(limit(&nonsense, 1, 8), Limit::Oracle { share: 1.0 });
    }

    #[test]
    fn names_and_words_fit() {
        let all = [
            Limit::Unknown,
            Limit::Actors,
            Limit::Oracle { share: 0.834 },
            Limit::Computing { share: 0.5 },
            Limit::Network { share: 0.5 },
            Limit::Learner { share: 0.5, updates: 0.9 },
            Limit::Credits { share: 0.5 },
            Limit::Disk,
        ];
        assert_eq!(all.len(), Limit::NAMES.len());
        for (limit, name) in all.iter().zip(Limit::NAMES) {
            assert_eq!(limit.name(), name);
            assert!(limit.to_string().contains(name), "{limit}");
        }
        assert_eq!(all[2].to_string(), "limited by the oracle (83 % of the actors' time)");
    }

    #[test]
    fn recent_times_forget_the_start() {
        let mut recent = Recent::default();
        let reading = |actors: f64| Times { actors, ..Times::default() };
        assert_eq!(recent.push(reading(5.0)).actors, 5.0);
        for second in 6..=14 {
            recent.push(reading(f64::from(second)));
        }
        assert_eq!(recent.push(reading(15.0)).actors, 10.0);
        assert_eq!(recent.push(reading(16.0)).actors, 10.0);
    }

    #[test]
    fn laps_add_up_to_the_time_that_passed() {
        let start = Instant::now();
        let mut laps = Laps::start();
        std::thread::sleep(Duration::from_millis(3));
        laps.lap(Activity::Updates);
        std::thread::sleep(Duration::from_millis(2));
        laps.lap(Activity::Waiting);
        let spent = |activity: Activity| laps.spent[activity as usize];
        assert!(spent(Activity::Updates) >= Duration::from_millis(3));
        assert!(spent(Activity::Waiting) >= Duration::from_millis(2));
        assert_eq!(spent(Activity::Intake), Duration::ZERO);
        assert!(laps.spent.iter().sum::<Duration>() <= start.elapsed());
    }
}
