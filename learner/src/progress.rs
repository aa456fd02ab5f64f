//! What a run reports of itself while it goes on.

use crate::{
    limits::{Limit, Times},
    service::{Lags, MembersReport},
};
use std::{collections::BTreeMap, fmt, time::Duration};

/// Recent episodes of one group of tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GroupRegret {
    /// Episodes.
    pub episodes: u64,
    /// Mean normalised regret at their ends.
    pub mean: f64,
}

/// Who is ahead on the held-out tasks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standings {
    /// Paid queries of each search.
    pub queries: usize,
    /// Mean normalised regret over tasks and starts by method; empty while nothing is known.
    pub regrets: BTreeMap<String, f64>,
}

impl fmt::Display for Standings {
    /// The best first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut order: Vec<(&String, &f64)> = self.regrets.iter().collect();
        order.sort_by(|a, b| a.1.total_cmp(b.1));
        write!(f, "held out after {} queries", self.queries)?;
        for (method, regret) in order {
            write!(f, " {method} {regret:.3}")?;
        }
        Ok(())
    }
}

/// The state of a run; rates are over the time since the report before.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Time since the start.
    pub elapsed: Duration,
    /// Share of the run that is over, 0 to 1.
    pub share: f64,
    /// Live actors.
    pub actors: usize,
    /// Environment steps in all and per second.
    pub environment_steps: u64,
    /// See `environment_steps`.
    pub environment_rate: f64,
    /// Transitions accepted in all and per second.
    pub transitions: u64,
    /// See `transitions`.
    pub transition_rate: f64,
    /// Updates in all and per second.
    pub updates: u64,
    /// See `updates`.
    pub update_rate: f64,
    /// Transitions in replay.
    pub replay: usize,
    /// How often each transition was drawn so far.
    pub samples_per_insert: f64,
    /// Version of the newest policy.
    pub policy_version: u64,
    /// Policy lags since the report before.
    pub lags: Lags,
    /// Batches rejected as too old, and as malformed.
    pub rejects: (u64, u64),
    /// Updates in the newest checkpoint of this process.
    pub checkpoint: Option<u64>,
    /// Distinct measurements.
    pub measurements: usize,
    /// Updates skipped because a loss or a gradient was not a number.
    pub skipped: u64,
    /// Mean loss since the report before; `None` without an update since.
    pub loss: Option<f64>,
    /// Recent episodes by task group.
    pub groups: BTreeMap<String, GroupRegret>,
    /// Gain of the trained policy over the rule in the newest check, in shaped quality, with its 95 % interval.
    pub gain: Option<(f64, [f64; 2])>,
    /// Who is ahead on the held-out tasks, if anybody compares.
    pub standings: Standings,
    /// Where actors and learner spent their time since the start.
    pub times: Times,
    /// What holds the throughput down, over the last ten seconds or so.
    pub limit: Limit,
}

impl Progress {
    /// Fills in what the members say; `before` is the report before, for the rates.
    pub(crate) fn count(&mut self, members: &MembersReport, before: &Progress) {
        self.actors = members.live.len();
        self.environment_steps = members.total.environment_steps;
        self.transitions = members.total.transitions;
        self.rejects = (members.total.stale, members.total.malformed);
        self.rate(before);
    }

    /// Makes the rates those over the time since `before`.
    pub fn rate(&mut self, before: &Progress) {
        let seconds = self.elapsed.saturating_sub(before.elapsed).as_secs_f64().max(1e-3);
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        self.environment_rate = rate(self.environment_steps, before.environment_steps);
        self.transition_rate = rate(self.transitions, before.transitions);
        self.update_rate = rate(self.updates, before.updates);
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} actor(s) · {:.0} env steps/s ({} in all) · {:.0} transitions/s · {:.1} updates/s · replay {} · policy {} · lag {}/{:.1}/{} · \
             rejects {} stale {} malformed · {} measurements",
            self.actors,
            self.environment_rate,
            self.environment_steps,
            self.transition_rate,
            self.update_rate,
            self.replay,
            self.policy_version,
            self.lags.min,
            self.lags.mean(),
            self.lags.max,
            self.rejects.0,
            self.rejects.1,
            self.measurements,
        )?;
        if let Some(loss) = self.loss {
            write!(f, " · loss {loss:.4}")?;
        }
        if self.skipped > 0 {
            write!(f, " · {} updates skipped", self.skipped)?;
        }
        if !self.groups.is_empty() {
            f.write_str(" · regret")?;
            for (name, group) in &self.groups {
                write!(f, " {name} {:.3}", group.mean)?;
            }
        }
        if let Some((gain, [low, high])) = self.gain {
            write!(f, " · gain over the rule {gain:+.3} [{low:+.3}, {high:+.3}]")?;
        }
        if !self.standings.regrets.is_empty() {
            write!(f, " · {}", self.standings)?;
        }
        write!(f, " · {}", self.limit)
    }
}
