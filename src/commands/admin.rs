//! `srnas status`, `best`, `checkpoint` and `drain`: asking a learner that runs; a search answers by its run directory.

use super::{
    Usage,
    live::{look::Look, status},
    resume::Kind,
    security::CallerSecurity,
};
use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::json;
use srnas_actor::client::encounter::Meant;
use srnas_basics::text::followed_by_causes;
use srnas_proto::v1::{self, admin_client::AdminClient};
use srnas_security::Bearer;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tonic::{
    Code, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

const CONNECT: Duration = Duration::from_secs(5);
pub const ANSWER: Duration = Duration::from_secs(10);
/// A checkpoint takes as long as the disk needs.
const CHECKPOINT: Duration = Duration::from_secs(90);

/// Which learner is asked.
#[derive(Debug, Args)]
pub struct LearnerAddress {
    /// Address of the learner
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7777")]
    learner: String,
    #[command(flatten)]
    security: CallerSecurity,
}

/// Which search is looked at, if one is.
#[derive(Debug, Args)]
pub struct SearchDirectory {
    /// Run directory of a search by --oracle, which is asked in place of a learner
    #[arg(value_name = "DIR", conflicts_with = "learner")]
    dir: Option<PathBuf>,
}

impl SearchDirectory {
    /// The directory, where one is named; it holds a search.
    fn of_search(&self) -> anyhow::Result<Option<&Path>> {
        let Some(dir) = &self.dir else { return Ok(None) };
        match Kind::of(dir) {
            Some(Kind::Training) => Err(Usage(format!(
                "{} holds the training of a policy: ask its learner by --learner URL; `srnas top {0}` shows what it writes",
                dir.display()
            ))
            .into()),
            _ => Ok(Some(dir)),
        }
    }
}

pub type Admin = AdminClient<InterceptedService<Channel, Bearer>>;

impl LearnerAddress {
    /// Connects and asks; waits for the answer for `patience` at most.
    pub fn ask<T>(
        &self,
        patience: Duration,
        question: impl AsyncFnOnce(Admin) -> Result<T, Status>,
    ) -> anyhow::Result<T> {
        let security = self.security.load(&self.learner)?;
        let learner = &self.learner;
        let url = if learner.contains("://") { learner.clone() } else { format!("http://{learner}") };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut endpoint = Endpoint::from_shared(url)
                .with_context(|| {
                    format!("`{learner}` is not the address of a learner; expected http://HOST:PORT")
                })?
                .connect_timeout(CONNECT);
            if learner.starts_with("https://") {
                endpoint = endpoint.tls_config(security.tls.config().timeout(CONNECT))?;
            }
            let uri = endpoint.uri().clone();
            // Why it fails may be that somebody else answers there.
            let misdirected = async || match Meant::Learner.misdirected(&uri).await {
                Some(reason) => Err(anyhow!("no learner at {learner}: {reason}")),
                None => Ok(()),
            };
            let channel = match endpoint.connect().await {
                Ok(channel) => channel,
                Err(error) => {
                    misdirected().await?;
                    return Err(anyhow::Error::from(error).context(format!(
                        "no learner at {learner}; is it running, and is the address right? (--learner URL)"
                    )));
                }
            };
            let bearer = Bearer::from(security.token.as_ref());
            let admin = AdminClient::with_interceptor(channel.clone(), bearer);
            // A learner that is still building its tasks listens, and answers nobody yet.
            let answered = tokio::time::timeout(patience, question(admin)).await.map_err(|_| {
                let seconds = patience.as_secs();
                anyhow!("learner {learner} does not answer within {seconds} s; its log says what it does")
            })?;
            let status = match answered {
                Ok(answer) => return Ok(answer),
                Err(status) => status,
            };
            if status.code() == Code::Unimplemented {
                return Err(anyhow!("no learner at {learner}: {}", Meant::Learner.instead(channel).await));
            }
            if matches!(status.code(), Code::Unknown | Code::Unavailable | Code::Internal) {
                misdirected().await?;
            }
            let said = followed_by_causes(status.message().into(), std::error::Error::source(&status));
            Err(anyhow!("learner {learner}: {said}"))
        })
    }
}

/// Show how a run goes (throughput, actors, policy), or a search: what is measured, what runs, the best
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  srnas status
  srnas status runs/search-1
  srnas status --learner http://learner:7777 --token-file token --json")]
pub struct StatusCommand {
    #[command(flatten)]
    search: SearchDirectory,
    #[command(flatten)]
    learner: LearnerAddress,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl StatusCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        if let Some(dir) = self.search.of_search()? {
            Look::at(dir)?.print_status(self.json);
            return Ok(());
        }
        let status =
            self.learner.ask(ANSWER, async |mut admin: Admin| admin.status(v1::StatusRequest {}).await)?;
        let s = status.into_inner();
        if self.json {
            println!("{}", status_json(&s));
            return Ok(());
        }
        println!(
            "run {} · {:.1} % · {:.0} s · {} · policy {} · {}",
            s.run_id,
            100.0 * s.share,
            s.elapsed_s,
            s.software,
            s.policy_version,
            s.limit
        );
        println!(
            "{} environment steps ({:.0}/s) · {} transitions ({:.0}/s) · {} updates ({:.1}/s) · {} measurements",
            s.environment_steps,
            s.environment_steps_per_s,
            s.transitions,
            s.transitions_per_s,
            s.updates,
            s.updates_per_s,
            s.measurements
        );
        println!(
            "replay {} · {:.2} draws per transition · rejected batches {} stale {} malformed · {} updates skipped",
            s.replay, s.samples_per_insert, s.stale_batches, s.malformed_batches, s.skipped_updates
        );
        match s.checkpoint {
            Some(updates) => println!("newest checkpoint: after {updates} updates"),
            None => println!("no checkpoint yet since the learner started; `srnas checkpoint` writes one"),
        }
        if s.actors.is_empty() {
            println!("no actor is connected");
            return Ok(());
        }
        let width = s.actors.iter().map(|a| a.id.chars().count()).max().unwrap_or(0).max("actor".len());
        println!();
        println!(
            "{:width$}  {:>8}  {:>9}  {:>12}  {:>4}  {:>7}  rejects",
            "actor", "episodes", "joined", "env steps/s", "lag", "silent"
        );
        for a in &s.actors {
            println!(
                "{:width$}  {:>8}  {:>7.0} s  {:>12.0}  {:>4}  {:>5.1} s  {} stale, {} malformed",
                a.id,
                a.episodes,
                a.joined_s,
                a.environment_steps_per_s,
                a.policy_lag,
                a.silent_s,
                a.stale_batches,
                a.malformed_batches
            );
        }
        Ok(())
    }
}

fn status_json(s: &v1::StatusResponse) -> serde_json::Value {
    let actor = |a: &v1::ActorStatus| {
        json!({
            "id": a.id,
            "software": a.software,
            "episodes": a.episodes,
            "joined_s": a.joined_s,
            "silent_s": a.silent_s,
            "environment_steps": a.environment_steps,
            "environment_steps_per_s": a.environment_steps_per_s,
            "transitions": a.transitions,
            "policy_lag": a.policy_lag,
            "stale_batches": a.stale_batches,
            "malformed_batches": a.malformed_batches,
        })
    };
    json!({
        "run": s.run_id,
        "software": s.software,
        "share": s.share,
        "elapsed_s": s.elapsed_s,
        "limit": s.limit,
        "environment_steps": s.environment_steps,
        "environment_steps_per_s": s.environment_steps_per_s,
        "transitions": s.transitions,
        "transitions_per_s": s.transitions_per_s,
        "updates": s.updates,
        "updates_per_s": s.updates_per_s,
        "replay": s.replay,
        "samples_per_insert": s.samples_per_insert,
        "policy_version": s.policy_version,
        "measurements": s.measurements,
        "stale_batches": s.stale_batches,
        "malformed_batches": s.malformed_batches,
        "skipped_updates": s.skipped_updates,
        "checkpoint": s.checkpoint,
        "actors": s.actors.iter().map(actor).collect::<Vec<_>>(),
    })
}

/// Show the best architecture measured so far, of each training task or of a search
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  srnas best
  srnas best runs/search-1
  srnas best --learner http://learner:7777 --task nb201/cifar10/val --json")]
pub struct BestCommand {
    #[command(flatten)]
    search: SearchDirectory,
    #[command(flatten)]
    learner: LearnerAddress,
    /// Only tasks whose names contain this; may be repeated
    #[arg(long, value_name = "T")]
    task: Vec<String>,
    /// Print one JSON object per task
    #[arg(long)]
    json: bool,
}

impl BestCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        if let Some(dir) = self.search.of_search()? {
            if let Some(task) = self.task.first() {
                return Err(Usage(format!("--task {task} goes with a learner; a search has one")).into());
            }
            Look::at(dir)?.print_best(self.json);
            return Ok(());
        }
        let best = self.learner.ask(ANSWER, async |mut admin: Admin| admin.best(v1::BestRequest {}).await)?;
        let wanted = |name: &str| self.task.is_empty() || self.task.iter().any(|t| name.contains(t.as_str()));
        let mut incumbents = best.into_inner().incumbents;
        incumbents.retain(|i| wanted(&i.task));
        if self.json {
            for i in &incumbents {
                let line = json!({ "task": i.task, "value": i.value, "architecture": i.architecture, "measurements": i.measurements });
                println!("{line}");
            }
            return Ok(());
        }
        if incumbents.is_empty() {
            println!("nothing was measured yet");
            return Ok(());
        }
        let width = incumbents.iter().map(|i| i.task.len()).max().unwrap_or(0).max("task".len());
        println!("{:width$}  {:>10}  {:>12}  architecture", "task", "best", "measurements");
        for i in &incumbents {
            println!("{:width$}  {:>10.4}  {:>12}  {}", i.task, i.value, i.measurements, i.architecture);
        }
        Ok(())
    }
}

/// Let a learner write a checkpoint now
#[derive(Debug, Args)]
pub struct CheckpointCommand {
    #[command(flatten)]
    learner: LearnerAddress,
}

impl CheckpointCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let ask = async |mut admin: Admin| admin.checkpoint(v1::CheckpointRequest {}).await;
        println!("{}", self.learner.ask(CHECKPOINT, ask)?.into_inner().path);
        Ok(())
    }
}

/// Let a learner stop: it acknowledges what is in, writes a checkpoint and ends. A search begins nothing more, waits for what runs,
/// and ends
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  srnas drain
  srnas drain runs/search-1")]
pub struct DrainCommand {
    #[command(flatten)]
    search: SearchDirectory,
    #[command(flatten)]
    learner: LearnerAddress,
}

impl DrainCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        if let Some(dir) = self.search.of_search()? {
            let look = Look::at(dir)?;
            let Some(holder) = &look.holder else {
                return Err(anyhow!("no search runs in {}", dir.display()));
            };
            status::drain(dir).with_context(|| format!("cannot write in {}", dir.display()))?;
            println!("the search ({holder}) begins nothing more and ends when what runs has ended");
            return Ok(());
        }
        self.learner.ask(ANSWER, async |mut admin: Admin| admin.drain(v1::DrainRequest {}).await)?;
        println!("the learner drains; `srnas learner --resume` goes on with its run");
        Ok(())
    }
}
