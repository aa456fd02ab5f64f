//! What a run shows while it goes on and at its end.

use indicatif::{ProgressBar, ProgressStyle};
use srnas_common::{config::Config, policy::Acts};
use srnas_learner::{Progress, Summary};
use std::{io::IsTerminal, path::Path, time::Duration};
use tokio::sync::watch;
use tracing::info;

/// Time between log lines where there is no terminal.
const LINE: Duration = Duration::from_secs(10);

/// Shows reports until there are no more: a progress bar on a terminal, else a log line every 10 s.
pub async fn show(mut reports: watch::Receiver<Progress>) {
    if std::io::stderr().is_terminal() {
        let style = ProgressStyle::with_template("{elapsed_precise} {bar:30} {percent:>3} %  {wide_msg}");
        let bar = ProgressBar::new(1000).with_style(style.expect("a valid template"));
        while reports.changed().await.is_ok() {
            let progress = reports.borrow_and_update().clone();
            bar.set_position((1000.0 * progress.share) as u64);
            bar.set_message(progress.to_string());
        }
        bar.finish_and_clear();
        return;
    }
    let mut timer = tokio::time::interval(LINE);
    timer.tick().await;
    let mut before = Progress::default();
    loop {
        timer.tick().await;
        // Nothing new while the last check runs.
        if !reports.has_changed().unwrap_or(false) {
            continue;
        }
        let mut progress = reports.borrow_and_update().clone();
        // A line speaks for the time since the line before it.
        progress.rate(&before);
        info!("{:.0} % · {progress}", 100.0 * progress.share);
        before = progress;
    }
}

/// The arguments that search what the run has never seen.
fn held_out(config: &Config) -> String {
    let arguments = config.tasks.held_out.iter().map(|name| {
        let option = if config.task_sets.contains_key(name) { "--task-set" } else { "--task" };
        format!("{option} {name}")
    });
    let arguments: Vec<String> = arguments.collect();
    if arguments.is_empty() { "--task BENCHMARK/DATASET/METRIC".into() } else { arguments.join(" ") }
}

/// Prints what was exported, why, where it is, and what to try next.
pub fn print_summary(summary: &Summary, command: &str, run_dir: &Path, config: &Config) {
    let (policy, progress) = (&summary.policy, &summary.progress);
    println!(
        "Trained for {:.0} s: {} environment steps, {} updates, {} distinct measurements.",
        progress.elapsed.as_secs_f64(),
        progress.environment_steps,
        progress.updates,
        progress.measurements
    );
    match &policy.validation {
        None if summary.stopped => println!(
            "Stopped before the end. Exported: the base rule, for the last check needs the end of the run."
        ),
        None => println!("Exported: the base rule. Nothing was kept out to check the trained part on."),
        Some(v) => {
            let [low, high] = v.interval;
            let verdict = match policy.acts {
                Acts::Trained => "Exported: the trained policy. It beat the base rule",
                Acts::Rule => "Exported: the base rule. The trained policy did not beat it beyond chance",
            };
            println!(
                "{verdict} on {} tasks kept out, {} starts each:\n  gain in shaped quality {:+.4}, 95 % interval [{low:+.4}, {high:+.4}]",
                v.tasks.len(),
                v.starts,
                v.gain
            );
            println!("  normalised regret after      rule   trained");
            for (n, rule) in &v.rule {
                println!("  {n:>4} paid queries        {rule:.4}    {:.4}", v.trained[n]);
            }
        }
    }
    println!("Policy: {}", summary.path.display());
    if summary.stopped {
        println!("Go on: srnas {command} --resume --run-dir {}", run_dir.display());
    }
    println!("Next: srnas search --policy {} {} --budget 25", run_dir.display(), held_out(config));
}
