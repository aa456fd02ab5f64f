//! `srnas bench fit`: a surrogate of a partial table, as a benchmark of its own.

use super::{
    Output, Usage,
    numbers::{megabytes, number, thousands},
    place, write,
};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use srnas_oracle::{
    benchmark::BenchmarkError,
    catalog::Catalog,
    fit::{FitError, fit},
};
use std::time::Instant;

#[derive(Debug, Args)]
pub(super) struct Fit {
    /// Name of the benchmark, such as nb101
    benchmark: String,
    /// The metric, such as cifar10/val, of which the mean over seeds is taken; its shorter trainings are fitted with it; may be given several times
    #[arg(long = "metric", value_name = "METRIC", required = true)]
    metrics: Vec<String>,
    /// Name of the benchmark to make, such as nb101-surrogate; it is written where imports go
    #[arg(long, value_name = "NAME")]
    out: String,
    /// Refuse a surrogate whose Kendall's τ on architectures held out is less
    #[arg(long, value_name = "TAU", default_value_t = 0.6, value_parser = least_tau)]
    least_tau: f64,
    /// Seed of the weights, the order and what is held out
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Overwrite the benchmark of this name that is there already
    #[arg(long)]
    replace: bool,
}

fn least_tau(text: &str) -> Result<f64, String> {
    let tau = text.parse::<f64>().ok().filter(|tau| (-1.0..=1.0).contains(tau));
    tau.ok_or_else(|| "a number from -1 to 1".into())
}

impl Fit {
    pub(super) fn run(self, catalog: &Catalog, out: &mut Output) -> anyhow::Result<()> {
        let began = Instant::now();
        Catalog::check_own_name(&self.out)?;
        let path = place(catalog, &self.out)?;
        // Before minutes of fitting, not after.
        if path.exists() && !self.replace {
            return Err(BenchmarkError::Present { path }.into());
        }
        let benchmark = catalog.open(&self.benchmark)?;
        let style = ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} steps, {eta} left");
        let bar = ProgressBar::new(0).with_style(style.expect("a template"));
        let fitted =
            fit(&benchmark, &self.metrics, &self.out, self.least_tau, self.seed, &mut |done, total| {
                bar.set_length(total as u64);
                bar.set_position(done as u64);
            });
        bar.finish_and_clear();
        let fitted = fitted.map_err(|error| match error {
            FitError::Metric(_) | FitError::Unfit { .. } => Usage(error.to_string()).into(),
            error => anyhow::Error::from(error),
        })?;
        let rows = fitted.benchmark.rows();
        let (path, bytes) = write(catalog, fitted.benchmark, self.replace)?;
        let seconds = began.elapsed().as_secs_f64();
        if out.json {
            let held_out = fitted.held_out.iter().map(|(metric, found)| {
                json!({
                    "metric": metric, "rows": found.rows, "kendall": found.kendall, "spearman": found.spearman,
                    "mean_error": found.mean_error,
                })
            });
            return out.line(json!({
                "benchmark": self.out, "path": path, "rows": rows, "bytes": bytes, "seconds": seconds,
                "held_out": held_out.collect::<Vec<_>>(),
            }));
        }
        let (rows, size) = (thousands(rows), megabytes(bytes as usize));
        out.line(format!(
            "wrote  {}: {rows} rows as they were measured and a network for all else, {size}, in {seconds:.0} s\n",
            path.display()
        ))?;
        let row = |(metric, found): &(String, srnas_oracle::benchmark::HeldOut)| {
            let tau = [found.kendall, found.spearman].map(|value| format!("{value:.3}"));
            vec![
                metric.clone(),
                thousands(found.rows),
                tau[0].clone(),
                tau[1].clone(),
                number(found.mean_error),
            ]
        };
        let rows: Vec<Vec<String>> = fitted.held_out.iter().map(row).collect();
        out.table(&["metric", "held out", "Kendall's tau", "Spearman's rho", "mean error"], &rows)
    }
}
