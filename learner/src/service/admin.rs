//! Admin: what a learner tells the people who operate it, and what they may ask of it.

use crate::{
    progress::Progress,
    service::{MemberReport, Members},
    trainer::Order,
};
use srnas_ledger::Incumbents;
use srnas_proto::v1::{self, admin_server};
use srnas_space::SearchSpace;
use srnas_task::Task;
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tracing::info;

/// Longest wait for a checkpoint.
const CHECKPOINT: Duration = Duration::from_secs(60);

/// Implements the wire's `Admin`.
#[derive(Debug)]
pub struct Admin {
    /// Name of the run.
    pub run_id: String,
    /// Space of the run.
    pub space: Arc<SearchSpace>,
    /// The tasks.
    pub tasks: Vec<Arc<Task>>,
    /// The actors.
    pub members: Arc<Members>,
    /// The newest report.
    pub progress: watch::Receiver<Progress>,
    /// The best of each task.
    pub incumbents: Arc<Incumbents>,
    /// To the trainer.
    pub(crate) orders: mpsc::Sender<Order>,
    /// Stops the learner.
    pub stop: CancellationToken,
}

impl Admin {
    /// The best of each task that has one.
    pub(crate) fn best_of_each(&self) -> Vec<v1::Incumbent> {
        let found = self.tasks.iter().zip(0..).filter_map(|(task, index)| {
            let best = self.incumbents.get(index)?;
            Some(v1::Incumbent {
                task: task.name().into(),
                value: task.shown(best.value) as f32,
                architecture: self.space.format(&best.architecture),
                measurements: best.measurements,
            })
        });
        found.collect()
    }
}

#[tonic::async_trait]
impl admin_server::Admin for Admin {
    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        let (progress, members) = (self.progress.borrow().clone(), self.members.report());
        Ok(Response::new(v1::StatusResponse {
            run_id: self.run_id.clone(),
            software: concat!("srnas ", env!("CARGO_PKG_VERSION")).into(),
            share: progress.share,
            elapsed_s: progress.elapsed.as_secs_f64(),
            environment_steps: members.total.environment_steps,
            environment_steps_per_s: progress.environment_rate,
            transitions: members.total.transitions,
            transitions_per_s: progress.transition_rate,
            updates: progress.updates,
            updates_per_s: progress.update_rate,
            replay: progress.replay as u64,
            samples_per_insert: progress.samples_per_insert,
            policy_version: progress.policy_version,
            measurements: progress.measurements as u64,
            stale_batches: members.total.stale,
            malformed_batches: members.total.malformed,
            skipped_updates: progress.skipped,
            actors: members.live.iter().map(actor).collect(),
            limit: progress.limit.to_string(),
            checkpoint: progress.checkpoint,
        }))
    }

    async fn best(&self, _: Request<v1::BestRequest>) -> Result<Response<v1::BestResponse>, Status> {
        Ok(Response::new(v1::BestResponse { incumbents: self.best_of_each() }))
    }

    async fn checkpoint(
        &self,
        _: Request<v1::CheckpointRequest>,
    ) -> Result<Response<v1::CheckpointResponse>, Status> {
        let (answer, written) = oneshot::channel();
        let ending = || Status::unavailable("the learner is ending; it writes a checkpoint by itself");
        let ask = async {
            self.orders.send(Order::Checkpoint(answer)).await.map_err(|_| ending())?;
            written.await.map_err(|_| ending())?.map_err(Status::internal)
        };
        match tokio::time::timeout(CHECKPOINT, ask).await {
            Ok(path) => Ok(Response::new(v1::CheckpointResponse { path: path?.display().to_string() })),
            Err(_) => Err(Status::deadline_exceeded(
                "the checkpoint is not written yet; the log will say when it is",
            )),
        }
    }

    async fn drain(&self, _: Request<v1::DrainRequest>) -> Result<Response<v1::DrainResponse>, Status> {
        info!("asked to drain");
        self.stop.cancel();
        Ok(Response::new(v1::DrainResponse {}))
    }
}

fn actor(report: &MemberReport) -> v1::ActorStatus {
    let (counters, joined) = (&report.counters, report.joined.as_secs_f64());
    v1::ActorStatus {
        id: report.id.to_string(),
        software: report.software.clone(),
        episodes: report.episodes,
        joined_s: joined,
        silent_s: report.silent.as_secs_f64(),
        environment_steps: counters.environment_steps,
        environment_steps_per_s: counters.environment_steps as f64 / joined.max(1e-3),
        transitions: counters.transitions,
        policy_lag: report.policy_lag,
        stale_batches: counters.stale,
        malformed_batches: counters.malformed,
    }
}
