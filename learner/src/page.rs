//! A run as a source of pages: by what it writes into its directory, and, in the learner's own process, by what it knows.

use crate::{
    RunDir,
    http::Outlook,
    progress::Progress,
    service::{Admin, Members},
};
use serde_json::{Value, json};
use srnas_page::{Deed, Rows, Source, View};
use srnas_proto::v1::{self, admin_server::Admin as _};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};
use tokio::{runtime::Handle, sync::watch};

/// The file with a row every ten seconds.
const METRICS: &str = "metrics.csv";

/// A run that is watched.
pub struct RunSource {
    run_dir: PathBuf,
    live: Option<Live>,
}

/// What the learner's process knows besides.
struct Live {
    progress: watch::Receiver<Progress>,
    members: Arc<Members>,
    doing: watch::Receiver<String>,
    /// What can be asked of it, when it trains.
    controls: Arc<OnceLock<Arc<Admin>>>,
    runtime: Handle,
}

impl RunSource {
    /// By its directory alone.
    pub fn of_directory(run_dir: &Path) -> Self {
        Self { run_dir: run_dir.into(), live: None }
    }

    /// Of the learner in this process.
    pub(crate) fn of_learner(
        run_dir: &Path,
        outlook: &Outlook,
        controls: Arc<OnceLock<Arc<Admin>>>,
        runtime: Handle,
    ) -> Self {
        let (progress, members) = (outlook.progress.clone(), outlook.members.clone());
        let live = Live { progress, members, doing: outlook.doing.clone(), controls, runtime };
        Self { run_dir: run_dir.into(), live: Some(live) }
    }

    /// What was written every ten seconds: numbers, nothing where there was none, and words.
    fn rows(&self) -> Result<Rows, String> {
        let path = self.run_dir.join(METRICS);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
        };
        // A line that is being written is not there yet.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut reader = csv::ReaderBuilder::new().from_reader(whole.as_bytes());
        let names: Vec<String> =
            reader.headers().map_err(|e| e.to_string())?.iter().map(str::to_string).collect();
        let records: Vec<csv::StringRecord> = reader.records().filter_map(Result::ok).collect();
        let value = |text: &str| match text.parse::<f64>() {
            Ok(number) => Value::from(number),
            Err(_) if text.is_empty() => Value::Null,
            Err(_) => Value::from(text),
        };
        let column = |rows: Rows, (place, name): (usize, &String)| {
            rows.with(name, records.iter().map(|record| value(record.get(place).unwrap_or_default())))
        };
        Ok(names.iter().enumerate().fold(Rows::new(records.len()), column))
    }

    fn head(&self, rows: &Rows) -> Value {
        let last = |name: &str| rows.last(name).cloned().unwrap_or_default();
        let number = |name: &str| last(name).as_f64();
        let mut head = json!({
            "headline": match RunDir::holder(&self.run_dir) {
                Some(holder) => format!("running ({holder})"),
                None => "not running".into(),
            },
            "share": number("done").unwrap_or(0.0),
            "limit": last("limited_by").as_str().map(|limit| format!("limited by {limit}")).unwrap_or_default(),
            "facts": facts([
                ("environment steps", number("environment_steps")),
                ("transitions", number("transitions")),
                ("updates", number("updates")),
                ("updates skipped", number("updates_skipped")),
                ("measurements", number("measurements")),
                ("transitions in replay", number("replay_transitions")),
                ("policy version", number("policy_version")),
                ("batches too old", number("batches_stale")),
                ("batches malformed", number("batches_malformed")),
            ]),
            "actors": null, "best": null,
        });
        let mut elapsed = number("elapsed_seconds").unwrap_or(0.0);
        if let Some(live) = &self.live {
            elapsed = live.add_to(&mut head);
        }
        let share = head["share"].as_f64().unwrap_or(0.0).clamp(0.0, 1.0);
        let running = self.live.is_some() || RunDir::holder(&self.run_dir).is_some();
        let left = (running && share > 0.0 && share < 1.0).then(|| (elapsed * (1.0 - share) / share).round());
        head["left"] = left.into();
        head["basis"] = format!("{:.1} % of the run took {elapsed:.0} s", 100.0 * share).into();
        head
    }
}

/// Numbers with their names, for people.
fn facts<const N: usize>(all: [(&str, Option<f64>); N]) -> Vec<[String; 2]> {
    all.map(|(name, value)| [name.to_string(), value.map_or("–".into(), |value| format!("{value:.0}"))])
        .into()
}

impl Live {
    /// What is known now, in place of what was written last; the time since the start in seconds.
    fn add_to(&self, head: &mut Value) -> f64 {
        let (progress, members) = (self.progress.borrow().clone(), self.members.report());
        let doing = self.doing.borrow().clone();
        if self.controls.get().is_none() {
            head["headline"] = format!("not ready yet: the learner {doing}").into();
        }
        head["share"] = progress.share.into();
        head["limit"] = progress.limit.to_string().into();
        head["facts"] = json!(facts([
            ("environment steps", Some(members.total.environment_steps as f64)),
            ("transitions", Some(members.total.transitions as f64)),
            ("updates", Some(progress.updates as f64)),
            ("updates skipped", Some(progress.skipped as f64)),
            ("measurements", Some(progress.measurements as f64)),
            ("transitions in replay", Some(progress.replay as f64)),
            ("policy version", Some(progress.policy_version as f64)),
            ("updates in the newest checkpoint", progress.checkpoint.map(|updates| updates as f64)),
            ("batches too old", Some(members.total.stale as f64)),
            ("batches malformed", Some(members.total.malformed as f64)),
        ]));
        let actors = members.live.iter().map(|a| {
            let rate = a.counters.environment_steps as f64 / a.joined.as_secs_f64().max(1e-3);
            let silent = format!("{:.1} s", a.silent.as_secs_f64());
            [a.id.to_string(), a.episodes.to_string(), format!("{rate:.0}"), a.policy_lag.to_string(), silent]
        });
        head["actors"] = json!(actors.collect::<Vec<_>>());
        if let Some(admin) = self.controls.get() {
            let best = admin.best_of_each().into_iter().map(|best| {
                [best.task, format!("{:.4}", best.value), best.measurements.to_string(), best.architecture]
            });
            head["best"] = json!(best.collect::<Vec<_>>());
        }
        progress.elapsed.as_secs_f64()
    }
}

impl Source for RunSource {
    fn look(&self) -> Result<View, String> {
        let rows = self.rows()?;
        let head = self.head(&rows);
        let title = format!("Run {}", self.run_dir.display());
        Ok(View { about: json!({ "kind": "run", "title": title }), head, rows })
    }

    fn deeds(&self) -> Vec<&'static str> {
        if self.live.is_some() { vec!["checkpoint", "drain"] } else { Vec::new() }
    }

    fn act(&self, deed: &Deed) -> Result<String, String> {
        let live = self.live.as_ref().ok_or("ask the learner that trains it")?;
        let admin = live.controls.get().ok_or("the learner is not ready yet")?;
        let said = |status: tonic::Status| status.message().to_string();
        match deed {
            Deed::Checkpoint => {
                let asked = admin.checkpoint(tonic::Request::new(v1::CheckpointRequest {}));
                let written = live.runtime.block_on(asked).map_err(said)?.into_inner();
                Ok(format!("written: {}", written.path))
            }
            Deed::Drain => {
                live.runtime.block_on(admin.drain(tonic::Request::new(v1::DrainRequest {}))).map_err(said)?;
                Ok("the learner takes in what is there, writes a checkpoint and ends; --resume goes on"
                    .into())
            }
            Deed::Stop | Deed::Add(_) | Deed::Dismiss(_) => Err("a run is drained".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_shown_by_what_it_wrote_but_for_a_line_that_is_half_there() {
        let folder = tempfile::tempdir().unwrap();
        let source = RunSource::of_directory(folder.path());
        assert!(source.look().unwrap().rows.is_empty());
        let text =
            "elapsed_seconds,done,loss,limited_by,\"regret/a,b\"\n10,0.25,,actors,0.5\n20,0.5,0.1,oracle,";
        fs::write(folder.path().join(METRICS), text).unwrap();
        let view = source.look().unwrap();
        assert_eq!(view.rows.len(), 1);
        assert_eq!(view.rows.last("regret/a,b"), Some(&json!(0.5)));
        assert!(view.rows.last("loss").unwrap().is_null());
        assert_eq!((&view.head["share"], &view.head["limit"]), (&json!(0.25), &json!("limited by actors")));
        assert!(view.head["left"].is_null(), "nothing runs");
        fs::write(folder.path().join(METRICS), format!("{text}0.4\n")).unwrap();
        assert!(source.look().unwrap().rows.continues(&view.rows));
        assert!(source.act(&Deed::Drain).is_err());
    }
}
