//! What a search by a costly oracle was begun with: the config.toml of its run directory.

use super::{
    LiveArguments, Usage, part,
    past::{NONE, UNTRAINED, wants_untrained},
    shared::SharedPlace,
    steering::{StopEarly, read_slots, slots_for},
};
use crate::commands::{llm::LlmConfig, space::GivenSpace};
use anyhow::Context;
use serde::{Deserialize, Serialize};
use srnas_ledger::shared::Address;
use srnas_oracle::{
    OracleSpec,
    command::SlotVariables,
    curves::MedianRule,
    digits, digits_wrn,
    training::{METRIC_ACCURACY, Recipe, SharedSettings, measure::Questions},
};
use srnas_policy::Policy;
use srnas_search::{Goal, KnownLimit, Limit, MethodSpec, Objective, check_method};
use srnas_space::{SearchSpace, wrn::Teacher};
use srnas_task::Fidelities;
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// Where evaluators are listened for.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7778);
/// Measurements at a time, if so many evaluators ask for work.
const MOST_EVALUATORS: usize = 256;
/// An evaluator that is silent for so long loses its work.
const LEASE: &str = "30s";

/// What searches several objectives or within limits where no method is named.
const SEVERAL: &str = "mobo";

/// What searches shared weights where no method is named.
const CONTROLLER: &str = "nas-rl";

/// What a search was begun with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveConfig {
    /// Who measures.
    pub oracle: OracleSpec,
    /// With a program, the folder in which the search was begun: the program may name files from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// A known space, or the copy of a file in the run directory.
    pub space: String,
    pub metric: String,
    pub minimise: bool,
    /// Further objectives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Objective>,
    /// Limits within which an architecture counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub require: Vec<Limit>,
    /// Limits on counts that are known without training: nothing else is proposed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub within: Vec<KnownLimit>,
    /// The network whose students are searched, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<String>,
    /// The method that searches, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    pub seed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PathBuf>,
    /// Run directories, and tasks on benchmarks, that say something about earlier tasks.
    #[serde(default, alias = "prior", skip_serializing_if = "Vec::is_empty")]
    pub past: Vec<String>,
    /// How long may be trained, such as epochs=3,27; the last amount is a full training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fidelity: Option<Fidelities>,
    /// With `train`, how many epochs a training has that inherits weights, where trainings do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inherit: Option<u32>,
    /// Measurements at a time, where it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u16>,
    /// With a program or evaluators, the longest time of a measurement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// With a program or evaluators, how often an infeasible measurement is tried again.
    #[serde(default)]
    pub retries: u32,
    /// With a program, whether the folders of good measurements are kept.
    #[serde(default)]
    pub keep: bool,
    /// With a program, the variables of each slot.
    #[serde(default, skip_serializing_if = "SlotVariables::is_empty")]
    pub slots_env: SlotVariables,
    /// With a program, by which rule a training is stopped early, if by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_early: Option<MedianRule>,
    /// The search ends when a full training keeps all of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop_when: Vec<Limit>,
    /// The search ends when so many full trainings brought no gain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_gain: Option<u32>,
    /// With `train` and `shared`, how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingConfig>,
    /// Of parts of a language model, which, and by what they are measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm: Option<LlmConfig>,
    /// With `shared`, the file of the shared weights where that is not in the run directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_weights: Option<PathBuf>,
    /// Where measurements are shared with other searches, without a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<String>,
    /// With `remote`, how evaluators are met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteConfig>,
}

/// How evaluators are met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteConfig {
    /// By this evaluators know the search again when it is resumed.
    pub id: String,
    pub listen: SocketAddr,
    pub lease: String,
}

/// How networks are trained and what is asked of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    pub data: String,
    pub recipe: Recipe,
    pub questions: Questions,
    /// How weights are trained that all networks share, where that was said or is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<SharedSettings>,
}

/// The part of a file that `--recipe` reads: its own tables, or those of an earlier search.
#[derive(Deserialize)]
struct RecipeFile {
    recipe: Option<Recipe>,
    questions: Option<Questions>,
    shared: Option<SharedSettings>,
    training: Option<TrainingConfig>,
}

impl LiveConfig {
    /// How long may be trained: full trainings only where nothing is said.
    pub fn fidelities(&self) -> Fidelities {
        self.fidelity.clone().unwrap_or(Fidelities::FULL)
    }

    /// Whether a program is asked what can be said without training.
    pub fn asks_a_program(&self) -> bool {
        matches!(self.oracle, OracleSpec::Program(_)) && self.fidelities().asks_untrained()
    }

    /// Whether what takes no training is to be known.
    pub fn wants_untrained(&self) -> bool {
        self.fidelities().asks_untrained() || wants_untrained(&self.past)
    }

    /// Measurements at a time.
    pub fn slots(&self) -> usize {
        self.parallel.map_or_else(
            || match &self.oracle {
                OracleSpec::Train | OracleSpec::Shared => {
                    std::thread::available_parallelism().map_or(1, usize::from)
                }
                OracleSpec::Remote => MOST_EVALUATORS,
                // Who knows what a program uses, unless it is said what each may.
                OracleSpec::Program(_) => self.slots_env.len().max(1),
                // A model uses every core.
                OracleSpec::Llm => 1,
            },
            usize::from,
        )
    }

    /// What is searched for.
    ///
    /// # Errors
    /// What cannot be searched for, in a file that was changed by hand.
    pub fn goal(&self) -> anyhow::Result<Goal> {
        let first = Objective { metric: self.metric.clone(), minimise: self.minimise };
        let objectives = [first].into_iter().chain(self.also.iter().cloned()).collect();
        Ok(Goal::new(objectives, self.require.clone()).map_err(|e| Usage(e.to_string()))?)
    }

    /// Every metric that is to be measured.
    ///
    /// # Errors
    /// As [`Self::goal`].
    pub fn metrics(&self) -> anyhow::Result<Vec<String>> {
        Ok(self.goal()?.metrics())
    }

    /// The method that was named.
    ///
    /// # Errors
    /// A method that there is not, in a file that was changed by hand.
    pub fn method(&self) -> anyhow::Result<Option<MethodSpec>> {
        Ok(self.method.as_ref().map(|text| text.parse()).transpose()?)
    }

    /// What the command line says.
    ///
    /// # Errors
    /// What does not go together.
    pub fn begun(
        given: &LiveArguments,
        policy: Option<&Path>,
        seed: u64,
    ) -> anyhow::Result<(Self, GivenSpace)> {
        let oracle = given.by.oracle.clone().ok_or_else(|| Usage("--oracle is missing".into()))?;
        let (shared, remote) = (oracle == OracleSpec::Shared, oracle == OracleSpec::Remote);
        let train = shared || oracle == OracleSpec::Train;
        if oracle == OracleSpec::Llm && given.parts.is_none() {
            return Err(Usage("parts of a language model are searched by `srnas llm search`".into()).into());
        }
        let asks = given.by.fidelity.as_ref().is_some_and(Fidelities::asks_untrained);
        let others: [(&str, bool); 10] = [
            (
                "--fidelity with an amount of 0 asks what can be said without training: it goes with --oracle cmd:PROGRAM or train",
                asks && !matches!(oracle, OracleSpec::Program(_) | OracleSpec::Train),
            ),
            (
                "--inherit goes with --oracle train, which has the weights of what it trained",
                given.inherit.is_some() && oracle != OracleSpec::Train,
            ),
            ("--shared-weights goes with --oracle shared", !shared && given.by.shared_weights.is_some()),
            (
                "--fidelity goes with trainings, and --oracle shared makes none but that of the shared weights",
                shared && given.by.fidelity.is_some(),
            ),
            (
                "--data and --recipe go with --oracle train or shared",
                !train && (given.by.data.is_some() || given.by.recipe.is_some()),
            ),
            (
                "--timeout and --retries go with --oracle cmd:PROGRAM or remote",
                train && (given.by.timeout.is_some() || given.by.retries.is_some()),
            ),
            ("--keep goes with --oracle cmd:PROGRAM", given.by.keep && (train || remote)),
            (
                "--slots-env goes with --oracle cmd:PROGRAM (and with `srnas evaluator`)",
                given.by.slots_env.is_some() && (train || remote),
            ),
            (
                "--stop-early goes with --oracle cmd:PROGRAM or remote, which report while they train",
                given.by.stop_early.is_some() && train,
            ),
            (
                "--listen and --lease go with --oracle remote",
                !remote && (given.listen.is_some() || given.lease.is_some()),
            ),
        ];
        if let Some((text, _)) = others.iter().find(|(_, wrong)| *wrong) {
            return Err(Usage((*text).into()).into());
        }
        let slots_env = read_slots(given.by.slots_env.as_deref())?.unwrap_or_default();
        slots_for(&slots_env, given.by.parallel)?;
        let name = match &given.by.space {
            Some(name) => name.as_str(),
            None if train => "nb201",
            None if given.parts.is_some() => "",
            None => {
                let text = format!(
                    "--oracle {} needs --space FILE: docs/your-own-search.md says how to write one",
                    if remote { "remote" } else { "cmd:PROGRAM" }
                );
                return Err(Usage(text).into());
            }
        };
        let space = match &given.parts {
            Some((_, space)) => space.clone(),
            None => GivenSpace::load(name)?,
        };
        space.say_notice();
        let training = match train {
            true => {
                let training = TrainingConfig::given(
                    &space.space,
                    given.by.data.as_deref(),
                    given.by.recipe.as_deref(),
                )?;
                let settings = shared.then(|| training.shared.clone().unwrap_or_default());
                Some(TrainingConfig { shared: settings, ..training })
            }
            false => None,
        };
        let (within, teacher) = (given.part.within.clone(), given.part.teacher.clone());
        let space = part::of(space, &oracle, training.as_ref(), &within, teacher.as_deref())?;
        let shared_weights = given.by.shared_weights.as_ref().map(std::path::absolute).transpose()?;
        let remote = remote.then(|| RemoteConfig {
            id: format!("{:016x}", rand::random::<u64>()),
            listen: given.listen.unwrap_or(LISTEN),
            lease: given.lease.map_or_else(|| LEASE.into(), |lease| lease.to_string()),
        });
        let (mut objectives, past) = (given.objectives(), given.known_past()?);
        if objectives.is_empty() && train {
            let metric = if shared { METRIC_ACCURACY } else { "val/clean" };
            objectives.push(Objective { metric: metric.into(), minimise: false });
        }
        let goal = Goal::new(objectives, given.by.require.clone()).map_err(|e| Usage(e.to_string()))?;
        let method = match (&given.method, goal.is_single() && goal.limits().is_empty()) {
            (Some(method), _) => Some(method.clone()),
            // As published, where nothing else is to guide.
            (None, true) if shared && policy.is_none() && past.is_empty() => Some(CONTROLLER.parse()?),
            (None, true) => None,
            (None, false) => Some(SEVERAL.parse()?),
        };
        if let Some(method) = &method {
            let without = [
                ("--policy", policy.is_some()),
                ("--fidelity", given.by.fidelity.is_some() && given.method.is_none()),
            ];
            if let Some((option, _)) = without.iter().find(|(_, given)| *given) {
                let text = format!(
                    "{option} knows one objective without limits; leave it out, or search one metric without --require"
                );
                return Err(Usage(text).into());
            }
            let shorter = given.by.fidelity.as_ref().map_or(0, Fidelities::shorter);
            check_method(method, &space.space, &goal, shorter, !past.is_empty())?;
        }
        let config = Self {
            folder: matches!(oracle, OracleSpec::Program(_)).then(std::env::current_dir).transpose()?,
            oracle,
            space: space.place.clone(),
            metric: goal.first().metric.clone(),
            minimise: goal.first().minimise,
            also: goal.objectives()[1..].to_vec(),
            require: goal.limits().to_vec(),
            within,
            teacher,
            method: method.map(|method| method.to_string()),
            seed,
            policy: policy.map(|path| Policy::file(path).to_path_buf()),
            past,
            fidelity: given.by.fidelity.clone(),
            inherit: given.inherit,
            parallel: given.by.parallel,
            timeout: given.by.timeout.map(|t| t.to_string()),
            retries: given.by.retries.unwrap_or(0),
            keep: given.by.keep,
            slots_env,
            stop_early: given.by.stop_early.and_then(StopEarly::rule),
            stop_when: given.steering.stop_when()?.unwrap_or_default(),
            no_gain: given.steering.no_gain().flatten(),
            training,
            llm: given.parts.as_ref().map(|(config, _)| config.clone()),
            shared_weights,
            ledger: given.ledger.as_ref().and_then(SharedPlace::address).map(ToString::to_string),
            remote,
        };
        Ok((config, space))
    }
}

impl LiveArguments {
    /// What is to be maximised, and then what is to be minimised, as they were named.
    pub(super) fn objectives(&self) -> Vec<Objective> {
        let of = |metrics: &[String], minimise| -> Vec<Objective> {
            metrics.iter().map(|metric| Objective::new(metric, minimise)).collect()
        };
        [of(&self.by.maximise, false), of(&self.by.minimise, true)].concat()
    }

    /// What is to be known of earlier tasks.
    pub(super) fn known_past(&self) -> anyhow::Result<Vec<String>> {
        match &self.past[..] {
            [none] if none == NONE => Ok(Vec::new()),
            named if named.iter().any(|name| name == NONE) => {
                Err(Usage(format!("--past {NONE} stands alone: there is nothing to know beside it")).into())
            }
            named => absolute(named),
        }
    }
}

/// Names of tasks as they are, and paths that mean the same wherever the search goes on.
fn absolute(named: &[String]) -> anyhow::Result<Vec<String>> {
    let of = |name: &String| match name != UNTRAINED && Path::new(name).exists() {
        true => fs::canonicalize(name)
            .map(|path| path.display().to_string())
            .map_err(|e| Usage(format!("--past {name}: {e}")).into()),
        // What is kept has no password.
        false => Ok(name.parse().map_or_else(|_| name.clone(), |address: Address| address.to_string())),
    };
    named.iter().map(of).collect()
}

impl TrainingConfig {
    /// What `--data` and `--recipe` say, for networks of a space.
    ///
    /// # Errors
    /// Images that are not named, and a file that is no recipe.
    pub fn given(space: &SearchSpace, data: Option<&str>, recipe: Option<&Path>) -> anyhow::Result<Self> {
        let data = data.ok_or_else(|| {
            Usage(
                "trainings need images: --data digits, fashion:DIR, mnist:DIR, idx:DIR, cifar10:DIR or cifar100:DIR"
                    .into(),
            )
        })?;
        let mut shared = None;
        let (mut default, mut questions) = match (data, Teacher::of(space)) {
            ("digits", None) => (digits::recipe(), digits::questions()),
            ("digits", Some(_)) => (digits_wrn::recipe(), digits_wrn::questions()),
            (_, Some(_)) => (Recipe::trades(), Questions::robust()),
            (_, None) => (Recipe::default(), Questions::default()),
        };
        if let Some(path) = recipe {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            let file: RecipeFile =
                toml::from_str(&text).map_err(|e| Usage(format!("{}: {e}", path.display())))?;
            let (recipe, asked, weights) =
                file.training.map_or((None, None, None), |t| (Some(t.recipe), Some(t.questions), t.shared));
            default = file.recipe.or(recipe).unwrap_or(default);
            questions = file.questions.or(asked).unwrap_or(questions);
            shared = file.shared.or(weights);
        }
        Ok(Self { data: data.into(), recipe: default, questions, shared })
    }
}
