//! Metrics: one table of everything that `/metrics` shows, rendered from the newest reports whenever somebody asks.
//!
//! Nothing is registered and nothing global: an actor that left is simply not in the next answer.

use crate::{failures::Failures, limits::Limit, progress::Progress, service::MembersReport};
use std::{fmt::Write, sync::atomic::Ordering::Relaxed};

/// What an answer is made of.
pub(crate) struct Reading<'a> {
    pub progress: &'a Progress,
    pub members: &'a MembersReport,
    pub failures: &'a Failures,
    pub ready: bool,
}

/// Prometheus's kinds, as far as they are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only rises, from the start of the process (or, of a resumed run, of the run).
    Counter,
    /// Rises and falls.
    Gauge,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        }
    }
}

/// A value, with a value for each label of its metric.
struct Sample {
    labels: Vec<String>,
    value: f64,
}

/// A metric and how it is read.
pub(crate) struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
    read: fn(&Reading) -> Vec<Sample>,
}

/// All metrics; `docs/metrics.md` has the same table.
pub(crate) const METRICS: &[Metric] = &[
    gauge("srnas_build_info", &["version"], "Always 1; the label says which release runs", |_| {
        vec![sample([env!("CARGO_PKG_VERSION")], 1.0)]
    }),
    gauge(
        "srnas_ready",
        &[],
        "Whether actors may join and the learner trains (1) or not (0); as `/readyz`",
        |r| one(f64::from(u8::from(r.ready))),
    ),
    gauge("srnas_elapsed_seconds", &[], "Time since training began", |r| {
        one(r.progress.elapsed.as_secs_f64())
    }),
    gauge("srnas_done_ratio", &[], "Share of the run that is over, 0 to 1", |r| one(r.progress.share)),
    gauge(
        "srnas_limited_by",
        &["by"],
        "1 for what limits the throughput now (unknown, actors, oracle, computing, network, learner, credits or disk), 0 for \
         the others",
        |r| {
            let now = r.progress.limit.name();
            Limit::NAMES.map(|name| sample([name], f64::from(u8::from(name == now)))).into()
        },
    ),
    gauge("srnas_actors", &[], "Live actors", |r| count(r.members.live.len() as u64)),
    counter("srnas_environment_steps_total", &[], "Environment steps that the actors made", |r| {
        count(r.members.total.environment_steps)
    }),
    counter("srnas_transitions_total", &[], "Transitions taken in", |r| count(r.members.total.transitions)),
    counter("srnas_episodes_total", &[], "Episodes that ended", |r| count(r.members.total.episodes)),
    counter("srnas_batches_total", &[], "Batches of experience taken in", |r| count(r.members.total.batches)),
    counter(
        "srnas_batches_rejected_total",
        &["reason"],
        "Batches whose transitions were refused: acted by too old a policy (stale) or unreadable (malformed)",
        |r| {
            let total = r.members.total;
            vec![sample(["stale"], total.stale as f64), sample(["malformed"], total.malformed as f64)]
        },
    ),
    counter("srnas_batches_repeated_total", &[], "Batches ignored because they had come before", |r| {
        count(r.members.total.duplicates)
    }),
    counter(
        "srnas_batches_held_seconds_total",
        &[],
        "Time from a batch's arrival until it was taken in, over all batches; its rate is the number of batches that wait for the learner",
        |r| one(r.members.total.held_us as f64 * 1e-6),
    ),
    counter("srnas_measurements_total", &[], "Distinct measurements in the ledger", |r| {
        count(r.progress.measurements as u64)
    }),
    counter(
        "srnas_measurements_reported_total",
        &[],
        "Measurements that the actors reported; several may report the same",
        |r| count(r.members.total.measurements),
    ),
    gauge("srnas_replay_transitions", &[], "Transitions in replay", |r| count(r.progress.replay as u64)),
    gauge(
        "srnas_samples_per_insert",
        &[],
        "Draws of each transition so far; learning.samples_per_insert is its band",
        |r| one(r.progress.samples_per_insert),
    ),
    counter("srnas_updates_total", &[], "Updates of the policy's weights", |r| count(r.progress.updates)),
    counter(
        "srnas_updates_skipped_total",
        &[],
        "Updates skipped because a loss or a gradient was not a number",
        |r| count(r.progress.skipped),
    ),
    gauge("srnas_loss", &[], "Mean loss of the last second's updates; absent where there was none", |r| {
        r.progress.loss.map(one).unwrap_or_default()
    }),
    counter(
        "srnas_learner_seconds_total",
        &["activity"],
        "Time of the learner's thread: intake of experience, updates, waiting for experience, other",
        |r| {
            let t = r.progress.times;
            [("intake", t.intake), ("updates", t.updates), ("waiting", t.waiting), ("other", t.other)]
                .map(|(activity, seconds)| sample([activity], seconds))
                .into()
        },
    ),
    gauge("srnas_policy_version", &[], "Version of the newest policy: one for each broadcast", |r| {
        count(r.progress.policy_version)
    }),
    gauge(
        "srnas_policy_lag_versions",
        &["statistic"],
        "Policy versions between acting and learning over the batches of the last second: min, mean, max",
        |r| {
            let lags = r.progress.lags;
            match lags.batches {
                0 => Vec::new(),
                _ => vec![
                    sample(["min"], lags.min as f64),
                    sample(["mean"], lags.mean()),
                    sample(["max"], lags.max as f64),
                ],
            }
        },
    ),
    gauge(
        "srnas_normalised_regret",
        &["group"],
        "Mean normalised regret at the end of recent episodes, by group of tasks; 0 is optimal, 1 the median",
        |r| r.progress.groups.iter().map(|(name, group)| sample([name.as_str()], group.mean)).collect(),
    ),
    counter("srnas_group_episodes_total", &["group"], "Episodes that ended, by group of tasks", |r| {
        r.progress.groups.iter().map(|(name, group)| sample([name.as_str()], group.episodes as f64)).collect()
    }),
    gauge(
        "srnas_validation_gain",
        &["bound"],
        "Gain of the best trained policy over the rule on the tasks kept out, in shaped quality: mean, and low and high \
         end of its 95 % interval",
        |r| match r.progress.gain {
            Some((gain, [low, high])) => {
                vec![sample(["mean"], gain), sample(["low"], low), sample(["high"], high)]
            }
            None => Vec::new(),
        },
    ),
    gauge(
        "srnas_held_out_regret",
        &["method"],
        "Mean normalised regret on the held-out tasks after comparison.budgets' middle number of queries, by method; absent without --baseline",
        |r| {
            let regrets = &r.progress.standings.regrets;
            regrets.iter().map(|(method, regret)| sample([method.as_str()], *regret)).collect()
        },
    ),
    counter("srnas_actor_seconds_total", &[], "Time of all actors' environment threads", |r| {
        one(r.members.total.elapsed_us as f64 * 1e-6)
    }),
    counter(
        "srnas_actor_wait_seconds_total",
        &["for"],
        "Of that time, spent waiting for credit (the learner or the network) and for the oracle",
        |r| {
            let total = r.members.total;
            vec![
                sample(["credit"], total.credit_us as f64 * 1e-6),
                sample(["oracle"], total.oracle_us as f64 * 1e-6),
            ]
        },
    ),
    counter("srnas_actor_environment_steps_total", &["actor"], "Environment steps of a live actor", |r| {
        each(r, |m| m.counters.environment_steps as f64)
    }),
    counter("srnas_actor_transitions_total", &["actor"], "Transitions taken in of a live actor", |r| {
        each(r, |m| m.counters.transitions as f64)
    }),
    gauge("srnas_actor_episodes", &["actor"], "Episodes that a live actor walks at the same time", |r| {
        each(r, |m| f64::from(m.episodes))
    }),
    gauge("srnas_actor_joined_seconds", &["actor"], "Time since a live actor joined", |r| {
        each(r, |m| m.joined.as_secs_f64())
    }),
    gauge("srnas_actor_silent_seconds", &["actor"], "Time since a live actor was last heard", |r| {
        each(r, |m| m.silent.as_secs_f64())
    }),
    counter(
        "srnas_record_failures_total",
        &["file"],
        "Records of the run directory that could not be written: metrics.csv, events (TensorBoard), checkpoint, and ledger, \
         whose commits are tried again each second while nothing is acknowledged",
        |r| {
            let f = r.failures;
            [
                ("metrics.csv", &f.csv),
                ("events", &f.events),
                ("checkpoint", &f.checkpoints),
                ("ledger", &f.ledger),
            ]
            .map(|(file, failures)| sample([file], failures.load(Relaxed) as f64))
            .into()
        },
    ),
];

const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&Reading) -> Vec<Sample>,
) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help, read }
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&Reading) -> Vec<Sample>,
) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help, read }
}

fn sample<const N: usize>(labels: [&str; N], value: f64) -> Sample {
    Sample { labels: labels.map(String::from).into(), value }
}

fn one(value: f64) -> Vec<Sample> {
    vec![sample([], value)]
}

fn count(value: u64) -> Vec<Sample> {
    one(value as f64)
}

fn each(reading: &Reading, value: fn(&crate::service::MemberReport) -> f64) -> Vec<Sample> {
    reading.members.live.iter().map(|member| sample([&*member.id], value(member))).collect()
}

/// The answer to a scrape, in Prometheus's text format.
pub(crate) fn render(reading: &Reading) -> String {
    let mut text = String::with_capacity(8 << 10);
    for metric in METRICS {
        let samples = (metric.read)(reading);
        if samples.is_empty() {
            continue;
        }
        let (name, help, kind) = (metric.name, metric.help, metric.kind.name());
        // Writing to a String does not fail.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for Sample { labels, value } in samples {
            text.push_str(name);
            let pairs = metric.labels.iter().zip(&labels);
            for (i, (label, value)) in pairs.enumerate() {
                text.push(if i == 0 { '{' } else { ',' });
                let _ = write!(text, "{label}=\"{}\"", escape(value));
            }
            if !labels.is_empty() {
                text.push('}');
            }
            let _ = writeln!(text, " {value}");
        }
    }
    text
}

/// Names of actors and of task sets may be anything.
fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        progress::{GroupRegret, Standings},
        service::{Counters, Lags, MemberReport},
    };
    use std::{collections::HashSet, time::Duration};

    fn member(id: &str) -> MemberReport {
        MemberReport {
            id: id.into(),
            incarnation: 1,
            software: "test".into(),
            episodes: 96,
            first_episode: 0,
            joined: Duration::from_secs(60),
            silent: Duration::from_millis(250),
            acknowledged: 5,
            policy_lag: 1,
            counters: Counters { environment_steps: 77, ..Counters::default() },
        }
    }

    fn rendered(progress: &Progress, members: &MembersReport) -> String {
        render(&Reading { progress, members, failures: &Failures::default(), ready: true })
    }

    fn full() -> String {
        let progress = Progress {
            loss: Some(0.25),
            gain: Some((0.5, [0.25, 0.75])),
            limit: Limit::Oracle { share: 0.9 },
            lags: Lags::of(3),
            groups: [("related".into(), GroupRegret { episodes: 3, mean: 0.125 })].into(),
            standings: Standings { queries: 25, regrets: [("local".into(), 0.375)].into() },
            ..Progress::default()
        };
        let total =
            Counters { environment_steps: 900, credit_us: 1_500_000, stale: 2, ..Counters::default() };
        rendered(&progress, &MembersReport { live: vec![member("rack \"2\"\\7"), member("b")], total })
    }

    #[test]
    fn values_come_with_their_labels_and_any_name_is_escaped() {
        let text = full();
        for line in [
            "# TYPE srnas_environment_steps_total counter",
            "srnas_environment_steps_total 900",
            "srnas_batches_rejected_total{reason=\"stale\"} 2",
            "srnas_held_out_regret{method=\"local\"} 0.375",
            "srnas_actor_wait_seconds_total{for=\"credit\"} 1.5",
            "srnas_actor_environment_steps_total{actor=\"rack \\\"2\\\"\\\\7\"} 77",
            "srnas_actor_silent_seconds{actor=\"b\"} 0.25",
            "srnas_limited_by{by=\"oracle\"} 1",
            "srnas_limited_by{by=\"network\"} 0",
            "srnas_normalised_regret{group=\"related\"} 0.125",
            "srnas_validation_gain{bound=\"high\"} 0.75",
            "srnas_loss 0.25",
            "srnas_ready 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_absent() {
        let text =
            rendered(&Progress::default(), &MembersReport { live: vec![], total: Counters::default() });
        for name in
            ["srnas_loss", "srnas_policy_lag_versions", "srnas_validation_gain", "srnas_actor_episodes"]
        {
            assert!(!text.contains(name), "{text}");
        }
    }

    #[test]
    fn names_follow_the_convention_and_samples_their_labels() {
        let (text, mut names) = (full(), HashSet::new());
        for metric in METRICS {
            let name = metric.name;
            assert!(name.starts_with("srnas_") && names.insert(name), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            assert!(text.contains(&format!("# TYPE {name} ")), "{name} is nowhere read");
        }
        let progress = Progress::default();
        let members = MembersReport { live: vec![member("a")], total: Counters::default() };
        let reading =
            Reading { progress: &progress, members: &members, failures: &Failures::default(), ready: false };
        for metric in METRICS {
            for sample in (metric.read)(&reading) {
                assert_eq!(sample.labels.len(), metric.labels.len(), "{}", metric.name);
            }
        }
    }

    /// The page and the table say the same, both ways.
    #[test]
    fn the_reference_page_has_every_metric_and_no_other() {
        let page = include_str!("../../docs/metrics.md");
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `srnas_")).collect();
        let table: Vec<String> = METRICS
            .iter()
            .map(|m| {
                let labels: Vec<String> = m.labels.iter().map(|label| format!("`{label}`")).collect();
                format!("| `{}` | {} | {} | {} |", m.name, m.kind.name(), labels.join(", "), m.help)
            })
            .collect();
        assert!(rows == table, "docs/metrics.md should have these rows:\n{}\n", table.join("\n"));
    }
}
