//! A search that goes on: what it was begun with, and what may be said otherwise then.

use super::{
    LiveArguments, Usage,
    config::LiveConfig,
    part,
    steering::{read_slots, slots_for},
};
use crate::commands::{
    resume::{self, Kind},
    space::GivenSpace,
};
use anyhow::Context;
use srnas_basics::text::shell;
use srnas_learner::RunDir;
use srnas_ledger::Database;
use srnas_oracle::OracleSpec;
use srnas_policy::Policy;
use srnas_search::{Goal, MethodSpec};
use std::{fs, path::Path};

impl LiveConfig {
    /// Refuses to run a program from another folder than it was written for, unless it is named again.
    fn check_folder(&self, given: &LiveArguments, run_dir: &Path) -> anyhow::Result<()> {
        let here = std::env::current_dir()?;
        let folder = self.folder.as_ref().filter(|folder| **folder != here && given.by.oracle.is_none());
        let (Some(folder), OracleSpec::Program(program)) = (folder, &self.oracle) else { return Ok(()) };
        let place = fs::canonicalize(run_dir).unwrap_or_else(|_| run_dir.to_path_buf());
        Err(Usage(format!(
            "the search was begun in {}, and its program `{program}` may name files from there; go on from there: cd {} && srnas search \
             --resume --run-dir {} (or give --oracle again, to run it from here)",
            folder.display(),
            shell(folder),
            shell(&place)
        ))
        .into())
    }

    /// The configuration in the run directory of a search, and its space.
    ///
    /// # Errors
    /// What is no search, and what cannot be read.
    pub fn kept(run_dir: &Path) -> anyhow::Result<(Self, GivenSpace)> {
        let path = run_dir.join("config.toml");
        resume::check(run_dir, Kind::Search)?;
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let config: Self = toml::from_str(&text)
            .with_context(|| format!("{} is not of a search by --oracle", path.display()))?;
        let space = if srnas_space::is_known(&config.space) {
            GivenSpace::load(&config.space)?
        } else {
            let run = Database::whose(&run_dir.join(RunDir::LEDGER))?;
            GivenSpace::of_copy(&run_dir.join(&config.space), &run.space)?
        };
        Ok((config, space))
    }

    /// As [`Self::kept`], for who looks and does not go on with it.
    ///
    /// # Errors
    /// As [`Self::kept`], in other words.
    pub fn looked_at(run_dir: &Path) -> anyhow::Result<(Self, GivenSpace)> {
        let whole = run_dir.join("config.toml").exists() && run_dir.join(RunDir::LEDGER).exists();
        let place = run_dir.display();
        match (whole, RunDir::holder(run_dir)) {
            (true, _) => Self::kept(run_dir),
            (false, Some(holder)) => {
                Err(Usage(format!("{place}: a search is being prepared there by {holder}")).into())
            }
            (false, None) => Err(Usage(format!("{place} holds no search: name its run directory")).into()),
        }
    }

    /// The configuration in the run directory; what the command line says besides must not contradict it.
    ///
    /// # Errors
    /// What cannot be read, and what contradicts.
    pub fn resumed(
        given: &LiveArguments,
        run_dir: &Path,
        policy: Option<&Path>,
        seed: Option<u64>,
    ) -> anyhow::Result<(Self, GivenSpace)> {
        let path = run_dir.join("config.toml");
        let (mut config, space) = Self::kept(run_dir)?;
        let (training, teacher) = (config.training.as_ref(), config.teacher.as_deref());
        let space = part::of(space, &config.oracle, training, &config.within, teacher)?;
        let goal = config.goal()?;
        let objectives = given.objectives();
        let data = config.training.as_ref().map(|t| &t.data);
        let other_space = match &given.by.space {
            Some(name) => {
                let now = GivenSpace::load(name)?;
                (now.place, now.definition) != (space.place.clone(), space.definition.clone())
            }
            None => false,
        };
        let contradicted = [
            ("--oracle", given.by.oracle.as_ref().is_some_and(|oracle| *oracle != config.oracle)),
            ("--space", other_space),
            ("--data", given.by.data.is_some() && given.by.data.as_ref() != data),
            ("--recipe", given.by.recipe.is_some()),
            ("--shared-weights", given.by.shared_weights.is_some()),
            (
                "--policy",
                policy.is_some_and(|p| Some(&Policy::file(p).to_path_buf()) != config.policy.as_ref()),
            ),
            ("--seed", seed.is_some_and(|seed| seed != config.seed)),
            ("--fidelity", given.by.fidelity.is_some() && given.by.fidelity != config.fidelity),
            ("--inherit", given.inherit.is_some() && given.inherit != config.inherit),
            ("--past", !given.past.is_empty() && given.known_past()? != config.past),
            ("--maximise or --minimise", !objectives.is_empty() && objectives != goal.objectives()),
            ("--require", !given.by.require.is_empty() && given.by.require != goal.limits()),
            ("--within", !given.part.within.is_empty() && given.part.within != config.within),
            ("--teacher", given.part.teacher.is_some() && given.part.teacher != config.teacher),
            ("--method", given.method.as_ref().is_some_and(|m| Some(m.as_str()) != config.method.as_deref())),
        ];
        let asked = Goal::new(objectives.clone(), given.by.require.clone()).map(|goal| goal.to_string());
        let of = |method: Option<&str>| method.map_or("the predictor".into(), |method| format!("`{method}`"));
        // What it was and what it would be.
        let both = |option: &str| match option {
            "--maximise or --minimise" => {
                asked.as_ref().ok().map(|asked| format!(": it is after `{goal}`, not `{asked}`"))
            }
            "--method" => {
                let now = given.method.as_ref().map(MethodSpec::as_str);
                Some(format!(": its method is {}, not {}", of(config.method.as_deref()), of(now)))
            }
            _ => None,
        };
        if let Some((option, _)) = contradicted.iter().find(|(_, contradicted)| *contradicted) {
            let place = path.display();
            let both = both(option).unwrap_or_default();
            let text = format!("{option} cannot change when a search goes on{both}; {place} says what it is");
            return Err(Usage(text).into());
        }
        config.check_folder(given, run_dir)?;
        // These change how long it takes, not what is measured.
        config.parallel = given.by.parallel.or(config.parallel);
        config.timeout = given.by.timeout.map(|t| t.to_string()).or(config.timeout);
        config.retries = given.by.retries.unwrap_or(config.retries);
        config.keep |= given.by.keep;
        if let Some(slots) = read_slots(given.by.slots_env.as_deref())? {
            if !matches!(config.oracle, OracleSpec::Program(_)) {
                return Err(Usage("--slots-env goes with --oracle cmd:PROGRAM".into()).into());
            }
            // As many as it has now, unless that is said.
            config.parallel = given.by.parallel;
            config.slots_env = slots;
        }
        slots_for(&config.slots_env, config.parallel)?;
        if let Some(rule) = given.by.stop_early {
            if !matches!(config.oracle, OracleSpec::Program(_) | OracleSpec::Remote) {
                return Err(Usage("--stop-early goes with --oracle cmd:PROGRAM or remote".into()).into());
            }
            config.stop_early = rule.rule();
        }
        config.stop_when = given.steering.stop_when()?.unwrap_or(config.stop_when);
        config.no_gain = given.steering.no_gain().unwrap_or(config.no_gain);
        if let Some(place) = &given.ledger {
            config.ledger = place.address().map(ToString::to_string);
        }
        if let Some(remote) = &mut config.remote {
            remote.listen = given.listen.unwrap_or(remote.listen);
            remote.lease = given.lease.map_or_else(|| remote.lease.clone(), |lease| lease.to_string());
        }
        Ok((config, space))
    }
}
