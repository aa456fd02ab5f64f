//! `srnas compare --oracle`: methods under one protocol where measurements are made.

use super::{CompareCommand, PAST_OF_NO_USE, watched::Searches};
use crate::commands::{
    Usage,
    live::{
        LiveArguments,
        config::LiveConfig,
        ledger::{SearchLedger, run_record},
        page::SearchSource,
        past::{self, UNTRAINED, wants_untrained},
    },
    stop_flag,
};
use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};
use srnas_basics::text::hex;
use srnas_learner::Start;
use srnas_oracle::OracleSpec;
use srnas_search::{
    Clock, Event, LiveComparison, LiveComparisonError, LiveError, MethodSpec, Past, Plan, check_method,
    report,
};
use srnas_task::Count;
use std::collections::BTreeMap;

/// What is compared; the same command goes on with the same.
const PLAN: &str = "plan.json";

impl CompareCommand {
    /// Compares where measurements are made: every one is kept, and none is made twice.
    pub(super) fn run_live(&self) -> anyhow::Result<()> {
        self.refuse_tables()?;
        let (methods, budgets) = (self.methods()?, self.budgets()?);
        let against = self.against(&methods)?;
        let arguments =
            LiveArguments { by: self.by.clone(), part: self.part.clone(), ..LiveArguments::default() };
        let (mut config, given) = LiveConfig::begun(&arguments, None, self.seed)?;
        config.method = None;
        if config.fidelities().asks_untrained() {
            let text = "--fidelity with an amount of 0: `srnas search` alone asks a program what it can say without training; with \
                        --oracle train give --past untrained";
            return Err(Usage(text.into()).into());
        }
        let goal = config.goal()?;
        let shorter = config.fidelities().shorter();
        for (i, method) in methods.iter().enumerate() {
            let tasks = self.past.iter().any(|past| past != UNTRAINED);
            let untrained = wants_untrained(&self.past) && method.knows_untrained();
            let knows = method.knows_a_past() && (tasks || untrained);
            check_method(method, &given.space, &goal, shorter, knows)?;
            if methods[..i].contains(method) {
                return Err(Usage(format!("method `{method}` is given twice")).into());
            }
        }
        let knowing = methods.iter().any(MethodSpec::knows_a_past);
        if !knowing && !self.past.is_empty() {
            return Err(Usage(PAST_OF_NO_USE.into()).into());
        }
        self.check_untrained(&methods)?;
        let (catalog, mut content) = (self.tasks.catalog(), BTreeMap::new());
        let past = match knowing {
            true => {
                let all = past::searches(&self.past, &given.space, &catalog)?;
                content.insert("past".to_string(), past::digest(&all));
                past::of_goal(&self.past, &goal, &given.space, &catalog)?
            }
            false => Past::default(),
        };
        let most = budgets.iter().copied().max().unwrap_or(0);
        let (oracle, held, resumed) = arguments.oracle(&given, &config, &self.out, Start::Either)?;
        let untrained = past::untrained(&self.past, oracle.as_ref())?;
        if let Some(untrained) = &untrained {
            content.insert(UNTRAINED.to_string(), untrained.names().join(", "));
        }
        let past = past.describing(untrained);
        let (name, identity) = oracle.identity();
        let objectives = goal.objectives().iter().map(ToString::to_string).collect();
        let sha = |text: &str| hex(&Sha256::digest(text));
        let space = if given.definition.is_empty() { &given.place } else { &given.definition };
        content.extend([(name, sha(&identity)), ("space".into(), sha(space))]);
        let plan = Plan {
            software: env!("CARGO_PKG_VERSION").into(),
            methods: methods.iter().map(MethodSpec::to_string).collect(),
            problems: vec![objectives],
            limits: self.part.in_words().collect(),
            report: vec![goal.to_string()],
            count: Count::Classes,
            budgets,
            seeds: self.seeds as usize,
            seed: self.seed,
            past: self.past.clone(),
            clock: Clock::default(),
            content,
        };
        self.check_plan(&plan, resumed)?;
        given.keep(&self.out)?;
        let run = run_record(&held, oracle.as_ref(), &config)?;
        let mut ledger = SearchLedger::open(&held, resumed, oracle.as_ref(), &config, &run)?;
        let known = ledger.known(&goal)?;
        let searches = methods.len() * plan.seeds;
        let made = Searches::new(format!("Comparison {}", self.out.display()), searches);
        // Its measurements are in a ledger as those of a search are.
        let measured = SearchSource::only_shown(&self.out);
        let _watched = self.watched(vec![Box::new(made.clone()), Box::new(measured)])?;
        let progress = ProgressBar::new(searches as u64).with_style(
            ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} searches, {eta} left")
                .expect("a valid template"),
        );
        let comparison = LiveComparison {
            oracle: oracle.as_ref(),
            goal,
            plan,
            methods,
            past,
            students: given.students.clone(),
            parallel: config.slots().min(most),
        };
        let stop = stop_flag()?;
        let tell = |event: Event| {
            if let Event::Ended { measured, seconds, .. } = event {
                tracing::debug!(seconds, "{}", given.space.format(&measured.training.choices));
            }
        };
        let done = |done: usize| {
            made.done(done);
            progress.set_position(done as u64);
            tracing::info!("{done} of {searches} searches");
        };
        let before = known.len();
        let found = comparison.run(known, &mut ledger, &stop, &tell, &done);
        progress.finish_and_clear();
        let found = match found {
            Err(LiveComparisonError::Search(LiveError::Stopped { .. })) => {
                anyhow::bail!("stopped; what was measured is kept, and the same command goes on")
            }
            found => found.context("what was measured is kept, and the same command goes on")?,
        };
        let measured = ledger.known(&comparison.goal)?.len();
        tracing::info!(measured, before, "every search is made");
        let (problems, outcomes) = ([found.problem], [found.outcomes]);
        let summary = report::write(&self.out, &comparison.plan, &problems, &outcomes, against)?;
        self.show(&summary)
    }

    /// What belongs to tables alone.
    fn refuse_tables(&self) -> anyhow::Result<()> {
        let Some(oracle) = &self.by.oracle else { return Ok(()) };
        let tables = [
            ("--objectives", !self.objectives.is_empty()),
            ("--report", self.report.is_some()),
            ("--past-set", !self.past_set.is_empty()),
            ("--simulate-latency", self.latency.is_some()),
            ("--workers", self.workers > 1),
            ("--config", self.config.is_some()),
        ];
        let named = tables.iter().find_map(|(option, given)| given.then_some(*option));
        if let Some(option) = self.tasks.named().or(named) {
            let text = format!(
                "{option} goes with tables; --oracle {oracle} measures what --space and the metrics name"
            );
            return Err(Usage(text).into());
        }
        if *oracle == OracleSpec::Remote {
            let text = "--oracle remote goes with `srnas search`; compare with --oracle cmd:PROGRAM or train";
            return Err(Usage(text.into()).into());
        }
        Ok(())
    }

    /// Keeps the plan, or finds it as it was.
    fn check_plan(&self, plan: &Plan, resumed: bool) -> anyhow::Result<()> {
        let path = self.out.join(PLAN);
        if !resumed && !path.exists() {
            let text = serde_json::to_string_pretty(plan)? + "\n";
            return Ok(srnas_basics::files::write_whole(&path, text.as_bytes())?);
        }
        let other = || Usage(format!("{} holds something else; give another --out", self.out.display()));
        let text = std::fs::read_to_string(&path).map_err(|_| other())?;
        let there: Plan = serde_json::from_str(&text).map_err(|_| other())?;
        if there != *plan {
            let (a, b) = (serde_json::to_value(&there)?, serde_json::to_value(plan)?);
            let keys = a.as_object().into_iter().flat_map(|object| object.keys());
            let key = keys.into_iter().find(|key| a.get(key.as_str()) != b.get(key.as_str()));
            let key = key.map_or("plan", String::as_str);
            let out = self.out.display();
            return Err(Usage(format!(
                "{out} holds another comparison (`{key}` differs); give another --out"
            ))
            .into());
        }
        Ok(())
    }
}
