//! What a run shows while it goes on and at its end.

use super::own;
use indicatif::{ProgressBar, ProgressStyle};
use srnas_basics::text::shell;
use srnas_config::Config;
use srnas_learner::Progress;
use srnas_oracle::{benchmark::Source, catalog::Catalog};
use srnas_policy::Acts;
use srnas_search::{HeldOut, compare_held_out, report::Summary};
use srnas_telemetry as telemetry;
use std::{io::IsTerminal, path::Path, time::Duration};
use tokio::sync::watch;
use tracing::info;

/// The space whose architectures `--oracle train` trains.
const TRAINED_SPACE: &str = "nb201";

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
        match telemetry::for_machines() {
            true => log_fields(&progress),
            false => info!("{:.0} % · {progress}", 100.0 * progress.share),
        }
        before = progress;
    }
}

/// The line for machines: every number a field of its own.
fn log_fields(progress: &Progress) {
    let regrets: Vec<String> =
        progress.groups.iter().map(|(name, g)| format!("{name} {:.4}", g.mean)).collect();
    let held_out: Vec<String> =
        progress.standings.regrets.iter().map(|(m, r)| format!("{m} {r:.4}")).collect();
    info!(
        done = progress.share,
        elapsed_s = progress.elapsed.as_secs_f64(),
        actors = progress.actors,
        environment_steps = progress.environment_steps,
        environment_steps_per_s = progress.environment_rate,
        transitions = progress.transitions,
        transitions_per_s = progress.transition_rate,
        updates = progress.updates,
        updates_per_s = progress.update_rate,
        updates_skipped = progress.skipped,
        replay = progress.replay,
        policy = progress.policy_version,
        policy_lag = progress.lags.mean(),
        batches_stale = progress.rejects.0,
        batches_malformed = progress.rejects.1,
        measurements = progress.measurements,
        loss = progress.loss,
        gain = progress.gain.map(|(gain, _)| gain),
        regret = (!regrets.is_empty()).then(|| regrets.join(" ")),
        held_out_regret = (!held_out.is_empty()).then(|| held_out.join(" ")),
        limit = %progress.limit,
        "progress"
    );
}

/// The arguments that search what the run has never seen.
fn held_out_arguments(config: &Config) -> String {
    let arguments = config.tasks.held_out.iter().map(|name| {
        let option = if config.task_sets.contains_key(name) { "--task-set" } else { "--task" };
        format!("{option} {name}")
    });
    let arguments: Vec<String> = arguments.collect();
    if arguments.is_empty() { "--task BENCHMARK/DATASET/METRIC".into() } else { arguments.join(" ") }
}

/// Prints what was exported, why, where it is, and what to try next.
pub fn print_summary(summary: &srnas_learner::Summary, command: &str, run_dir: &Path) {
    let (policy, progress) = (&summary.policy, &summary.progress);
    println!(
        "Trained for {:.0} s: {} environment steps, {} updates, {} distinct measurements.",
        progress.elapsed.as_secs_f64(),
        progress.environment_steps,
        progress.updates,
        progress.measurements
    );
    match &policy.validation {
        None if policy.agent.is_some() => println!(
            "Exported: the agent, and the base rule beside it; the agent was not checked{}.",
            if summary.stopped {
                ": the run was stopped before its end"
            } else {
                ": nothing was kept out to check it on"
            }
        ),
        None if summary.stopped => println!(
            "Stopped before the end. Exported: the base rule, for the last check needs the end of the run."
        ),
        None => println!("Exported: the base rule. Nothing was kept out to check the trained part on."),
        Some(v) => {
            let [low, high] = v.interval;
            let unit = super::unit_of(policy);
            let first = v.until.map(|until| format!("for the first {until} {}", unit.trim()));
            let (verdict, rule) = match policy.acts {
                _ if policy.agent.is_some() => (
                    "Exported: the agent, and the base rule beside it. Fine-tuned, against one that began from scratch,".into(),
                    "scratch",
                ),
                Acts::Trained => match first {
                    None => ("Exported: the trained policy. It beat the base rule".into(), "rule"),
                    Some(first) => (
                        format!("Exported: the trained policy {first}, then the base rule. Together they beat the rule alone"),
                        "rule",
                    ),
                },
                Acts::Rule => {
                    let first = first.map_or_else(String::new, |first| format!(", followed {first} and then the rule,"));
                    (format!("Exported: the base rule. The trained policy{first} did not beat it beyond chance"), "rule")
                }
            };
            println!(
                "{verdict} on {} task{} kept out, {} starts each:\n  gain in shaped quality {:+.4}, 95 % interval [{low:+.4}, {high:+.4}]",
                v.tasks.len(),
                if v.tasks.len() == 1 { "" } else { "s" },
                v.starts,
                v.gain
            );
            println!("  normalised regret after   {rule:>7}   trained");
            for (n, rule) in &v.rule {
                println!("  {n:>4} {unit:<18}  {rule:.4}    {:.4}", v.trained[n]);
            }
        }
    }
    println!("Policy: {}", summary.path.display());
    if summary.stopped {
        println!("Go on: srnas {command} --resume --run-dir {}", shell(run_dir));
    }
}

/// Prints where the run is and what most people want next: the policy on what it never saw, and by real trainings.
pub fn print_next(summary: &srnas_learner::Summary, run_dir: &Path, config: &Config) {
    let run = shell(run_dir);
    println!("\nEverything of this run is in {run}. Next:");
    if own::is_own(config) {
        println!("  srnas search --space FILE --oracle 'cmd:PROGRAM' --minimise METRIC --policy {run}");
        println!(
            "  srnas search --space FILE --oracle 'cmd:PROGRAM' --minimise METRIC            by the shipped method"
        );
        return;
    }
    let held_out = held_out_arguments(config);
    if summary.policy.agent.is_some() {
        let (cost, teacher) = (&config.compress.cost, config.compress.held_out.first());
        let teacher = teacher.map_or_else(String::new, |teacher| format!(" --teacher '{teacher}'"));
        let part = format!("{held_out}{teacher} --within '{cost} <= 50%'");
        println!("  srnas search --policy {run} --finetune 25 {part}");
        println!("  srnas search --policy {run} --budget 25 {part}            by the rule beside the agent");
        return;
    }
    println!("  srnas search --policy {run} {held_out} --budget 25");
    // What is trained here is cells of one space; a policy of another would have nothing to say.
    if summary.policy.space == TRAINED_SPACE {
        println!(
            "  srnas search --policy {run} --oracle train --data digits --maximise val/noise --budget 40"
        );
    }
}

/// Compares what the run exported with other methods on its held-out tasks, and prints what came of it.
///
/// # Errors
/// Why there is no comparison.
pub fn held_out(config: &Config, catalog: &Catalog, run_dir: &Path) -> anyhow::Result<()> {
    let style = ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} searches, {eta} left");
    let bar = ProgressBar::new(0).with_style(style.expect("a valid template"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let stop = runtime.block_on(async { super::stop_on_signal() });
    let compared = compare_held_out(config, catalog, run_dir, &stop, &|done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let Some(HeldOut { summary, best }) = compared? else { return Ok(()) };
    let plan = &summary.plan;
    println!(
        "\nOn {} tasks that the run never saw, {} starts each: normalised regret (0 is the best, 1 the median) after",
        plan.problems.len(),
        plan.seeds
    );
    let named = |method: &str| match method {
        _ if method.starts_with("policy:") && config.compress.train => {
            "the rule beside the agent".to_string()
        }
        _ if method.starts_with("policy:") => "this policy".to_string(),
        _ if method.starts_with("rc-nas:policy=") => "this agent, fine-tuned".to_string(),
        "rc-nas" => "rc-nas, from scratch".to_string(),
        other => other.to_string(),
    };
    let wide = summary.overall.iter().map(|o| named(&o.method).len()).max().unwrap_or(0);
    print!("  {:wide$}", "");
    plan.budgets.iter().for_each(|b| print!("  {:<22}", format!("{b} queries")));
    println!();
    for of in &summary.overall {
        print!("  {:wide$}", named(&of.method));
        for budget in &plan.budgets {
            let Some(e) = of.normalised_regret.get(budget) else { continue };
            print!("  {:<22}", format!("{:.3} [{:.3}, {:.3}]", e.mean, e.ci95[0], e.ci95[1]));
        }
        println!();
    }
    println!("  (mean, 95 % bootstrap interval over the starts)");
    print_verdict(&summary);
    // What is best for a surrogate is nothing to build.
    if let (Some(best), Some([task]), false) =
        (best, plan.problems.first().map(Vec::as_slice), own::is_own(config))
    {
        print_best(catalog, task, &best)?;
    }
    println!("Report: {}", run_dir.join("report/report.html").display());
    Ok(())
}

/// Whether this policy is worth more than what searches where no policy is given, if that was compared.
fn print_verdict(summary: &Summary) {
    let Some(shipped) = summary.paired.iter().find(|paired| paired.method == own::SHIPPED) else { return };
    println!(
        "\nAgainst `{}`, which `srnas search` uses where no policy is given, from the same starts:",
        own::SHIPPED
    );
    let (mut better, mut worse) = (0, 0);
    for (budget, difference) in &shipped.difference {
        let [low, high] = difference.ci95;
        let verdict = match () {
            () if low > 0.0 => "better",
            () if high < 0.0 => "worse",
            () => "cannot be told apart",
        };
        better += usize::from(low > 0.0);
        worse += usize::from(high < 0.0);
        println!(
            "  after {budget:>3} queries this policy's regret is lower by {:+.3} [{low:+.3}, {high:+.3}]: {verdict}",
            difference.mean
        );
    }
    let advice = match (better, worse) {
        (0, 0) => {
            "In simulation they are as good as each other: the policy gains nothing, search without it."
        }
        (_, 0) => "In simulation this policy wins: search with it.",
        (0, _) => "In simulation this policy loses: search without it.",
        _ => "In simulation each wins at some budgets: take the one that wins at yours.",
    };
    println!("{advice}");
}

/// An architecture with what its benchmark knows of it.
fn print_best(catalog: &Catalog, task: &str, choices: &[u8]) -> anyhow::Result<()> {
    let benchmark = catalog.open(task.split('/').next().unwrap_or(task))?;
    println!("Best found for {task}: {}", benchmark.space().format(choices));
    let mut line = String::new();
    for metric in benchmark.metrics() {
        let unit = &metric.info().unit;
        let gap = if unit.is_empty() { "" } else { " " };
        let Some((value, source)) = benchmark.answer(&metric, choices) else { continue };
        let value = significant(value);
        let said = if source == Source::Predicted { " (predicted)" } else { "" };
        let cell = format!("  {} {value}{gap}{unit}{said}", metric.name());
        if line.chars().count() + cell.chars().count() > 110 {
            println!("{line}");
            line.clear();
        }
        line += &cell;
    }
    if !line.is_empty() {
        println!("{line}");
    }
    Ok(())
}

/// A number with about four digits.
fn significant(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.1 => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    }
}
