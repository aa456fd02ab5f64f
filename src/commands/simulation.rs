//! What a run simulates on top of its oracle.

use clap::Args;
use srnas_config::{Latency, layers::Override};

/// On each option: a heading for all that follows would also cover the options of the command itself.
const HEADING: &str = "Simulated oracle (one machine shows what costly measurements would do)";

/// Changes to `[simulation]` of the configuration.
#[derive(Debug, Args)]
pub struct SimulationArgs {
    /// Each measurement takes so long: 20ms, lognormal:20ms:0.5 (median, sigma) or
    /// column:cifar10/train_time*0.00001 (a metric of the benchmark in seconds, scaled)
    #[arg(long = "simulate-latency", help_heading = HEADING, value_name = "L")]
    latency: Option<Latency>,
    /// Normal noise on each measurement, as a share of the task's gap (best − median)
    #[arg(long = "simulate-noise", help_heading = HEADING, value_name = "SHARE")]
    noise: Option<f64>,
    /// Share of the measurements that fail: such an architecture counts as not in the table
    #[arg(long = "simulate-failures", help_heading = HEADING, value_name = "SHARE")]
    failures: Option<f64>,
}

impl SimulationArgs {
    /// What was given, for the layers of the configuration.
    pub fn overrides(&self) -> impl Iterator<Item = Override> {
        let latency = self
            .latency
            .as_ref()
            .map(|latency| Override::new("--simulate-latency", "simulation.latency", latency.to_string()));
        let noise = self.noise.map(|noise| Override::new("--simulate-noise", "simulation.noise", noise));
        let failures =
            self.failures.map(|share| Override::new("--simulate-failures", "simulation.failures", share));
        [latency, noise, failures].into_iter().flatten()
    }
}
