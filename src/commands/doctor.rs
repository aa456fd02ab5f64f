//! `srnas doctor`: whether a run would work here, and what to do if not.

use super::{address::listen_address, config::ConfigArgs, security::CallerSecurity};
use crate::doctor::{self, Status};
use anyhow::bail;
use clap::Args;
use srnas_oracle::catalog::Catalog;
use std::{net::SocketAddr, path::PathBuf};

const EXAMPLES: &str = "Examples:
  srnas doctor --config configs/nb201-transfer.toml        before a run
  srnas doctor --learner http://learner:7777               on the machine of an actor";

/// Check ports, disk, benchmarks, versions, clock and cores: each line is ok or says what to do
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DoctorCommand {
    #[command(flatten)]
    config: ConfigArgs,
    /// Address that a learner is to listen on [default: 127.0.0.1:7777, unless --learner is given]
    #[arg(long, value_name = "ADDR", value_parser = listen_address)]
    listen: Option<SocketAddr>,
    /// Address of the learner's HTTP pages
    #[arg(long, value_name = "ADDR", value_parser = listen_address)]
    http: Option<SocketAddr>,
    /// Where the run's files are to go
    #[arg(long, value_name = "D", default_value = "runs")]
    run_dir: PathBuf,
    /// Address of a learner that this machine is to reach
    #[arg(long, value_name = "URL")]
    learner: Option<String>,
    #[command(flatten)]
    security: CallerSecurity,
    /// Folder of benchmark files, searched before $SRNAS_BENCH_DIR and the user's data directory
    #[arg(long, value_name = "DIR")]
    bench_dir: Option<PathBuf>,
    /// Print one JSON object per check
    #[arg(long)]
    json: bool,
}

impl DoctorCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let catalog = Catalog::new(self.bench_dir.clone());
        let mut checks = doctor::machine(&self.run_dir);
        checks.extend(doctor::benchmarks(&catalog));
        checks.extend(doctor::tasks(self.config.resolve([]), &catalog));
        checks.extend(doctor::ports(&self.addresses()));
        if let Some(url) = &self.learner {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let security = self.security.load(url)?;
            checks.extend(runtime.block_on(doctor::learner(url, &security)));
        }
        for check in &checks {
            match self.json {
                true => println!("{}", serde_json::to_string(check)?),
                false => println!("{check}"),
            }
        }
        match checks.iter().filter(|check| check.status == Status::Failed).count() {
            0 => Ok(()),
            failed => bail!("{failed} of {} checks failed", checks.len()),
        }
    }

    fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let usual = self.learner.is_none().then(|| SocketAddr::from(([127, 0, 0, 1], 7777)));
        let listen = self.listen.or(usual).map(|address| ("--listen", address));
        listen.into_iter().chain(self.http.map(|address| ("--http", address))).collect()
    }
}
