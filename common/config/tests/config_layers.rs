//! The layers of a configuration: which wins, what is refused, and where each value is said to be from.

use srnas_config::{
    Config,
    layers::{ConfigFile, Origin, Override, Resolved, resolve},
};

const FILE: &str = "seed = 5

[learning]
batch = 64
gamma = 0.9

[task_sets]
held-out = ['nb201/cifar10/val']
";

fn layers(file: &str, environment: &[(&str, &str)], sets: &[&str]) -> Result<Resolved, String> {
    let file = ConfigFile { text: file, place: "run.toml" };
    let environment = environment.iter().map(|(n, v)| (n.to_string(), v.to_string()));
    let sets = sets.iter().map(|s| Override::parse(s).unwrap());
    resolve(Some(file), environment, sets).map_err(|e| e.to_string())
}

fn refused(file: &str, environment: &[(&str, &str)], sets: &[&str]) -> String {
    layers(file, environment, sets).map(|r| r.config).unwrap_err()
}

fn environment(name: &str) -> Origin {
    Origin::Environment(name.into())
}

#[test]
fn a_later_layer_wins_key_by_key_and_each_key_knows_its_layer() {
    let all = layers(
        FILE,
        &[("SRNAS_LEARNING__BATCH", "128"), ("SRNAS_LEARNING__GAMMA", "0.8"), ("HOME", "/root")],
        &["learning.gamma=0.7"],
    )
    .unwrap();
    let learning = &all.config.learning;
    assert_eq!((all.config.seed, learning.batch, learning.gamma, learning.n_step), (5, 128, 0.7, 3));
    let at = |line| Origin::File { path: "run.toml".into(), line };
    assert_eq!(all.origin["seed"], at(1));
    assert_eq!(all.origin["task_sets.held-out"], at(8));
    assert_eq!(all.origin["learning.batch"], environment("SRNAS_LEARNING__BATCH"));
    assert_eq!(all.origin["learning.gamma"], Origin::Flag("--set".into()));
    assert_eq!(all.origin["learning.n_step"], Origin::Default);
    assert!(!all.origin.contains_key("run.steps"), "it is not set");
}

#[test]
fn nothing_at_all_is_the_default() {
    let all = resolve(None, [], []).unwrap();
    assert_eq!(all.config, Config::default());
    assert!(all.origin.values().all(|o| *o == Origin::Default));
}

#[test]
fn values_are_toml_and_bare_words_are_text() {
    let all = layers(
        FILE,
        &[
            ("SRNAS_PRIOR", "network"),
            ("SRNAS_RUN__MINUTES", "2"),
            ("SRNAS_RUN__STEPS", "1_000"),
            ("SRNAS_NETWORK__IDENTITY", "true"),
            ("SRNAS_POSTERIOR__SETTINGS__PLAIN__NOISE", "0.25"),
            ("SRNAS_TASKS__TRAIN", "['held-out', \"nb201/cifar100/val\"]"),
            ("SRNAS_TASK_SETS__HELD_OUT", "['nb201/cifar10/clean']"),
            ("SRNAS_TASK_SETS__NEW", "[]"),
        ],
        &[
            "environment.betas=[1, 2.5]",
            "task_sets.\"with a space\"=['nb201/x/y']",
            "acting={episodes = 7, epsilon = 0.5}",
        ],
    )
    .unwrap();
    let c = &all.config;
    assert_eq!(c.prior, srnas_config::PriorSource::Network);
    assert_eq!((c.run.minutes, c.run.steps, c.network.identity), (2.0, Some(1_000), true));
    assert_eq!(c.posterior.settings.plain.noise, 0.25);
    assert_eq!(c.tasks.train, ["held-out", "nb201/cifar100/val"]);
    assert_eq!(c.task_sets["held-out"], ["nb201/cifar10/clean"], "a variable cannot have the hyphen");
    assert!(c.task_sets["new"].is_empty());
    assert_eq!(c.environment.betas, [1.0, 2.5]);
    assert_eq!(c.task_sets["with a space"], ["nb201/x/y"]);
    assert_eq!((c.acting.episodes, c.acting.epsilon, c.acting.epsilon_floor), (7, 0.5, 0.02));
    let flag = Origin::Flag("--set".into());
    assert_eq!((&all.origin["acting.episodes"], &all.origin["task_sets.\"with a space\""]), (&flag, &flag));
    assert_eq!(all.origin["acting.epsilon_floor"], Origin::Default);
}

#[test]
fn the_program_s_own_variables_and_those_of_others_are_passed_over() {
    let all = layers(
        "",
        &[
            ("SRNAS_BENCH_DIR", "/data"),
            ("SRNAS_LOG_FORMAT", "json"),
            ("SRNAS_TOKEN_FILE", "/run/token"),
            ("SRNAS_SEED", ""),
            ("SRNAS_LEARNER_SERVICE_HOST", "10.0.0.1"),
            ("SRNAS_LEARNER_SERVICE_PORT_GRPC", "7777"),
            ("SRNAS_LEARNER_PORT", "tcp://10.0.0.1:7777"),
            ("SRNAS_LEARNER_PORT_7777_TCP_ADDR", "10.0.0.1"),
            ("XSRNAS_SEED", "many"),
        ],
        &[],
    )
    .unwrap();
    assert_eq!(all.config, Config::default());
}

#[test]
fn unknown_names_are_refused_with_the_nearest_in_their_own_spelling() {
    for (name, near) in [
        ("SRNAS_LEARNING_BATCH", "did you mean `SRNAS_LEARNING__BATCH`"),
        ("SRNAS_LERNING__BATCH", "did you mean `SRNAS_LEARNING__BATCH`"),
        ("SRNAS_SEEDS", "did you mean `SRNAS_SEED`"),
        ("SRNAS_BENCHDIR", "did you mean `SRNAS_BENCH_DIR`"),
        ("SRNAS_LEARNER_PORT", "no key is set by it"),
        ("SRNAS_", "no key is set by it"),
    ] {
        let error = refused("", &[(name, "1")], &[]);
        assert!(
            error.starts_with(&format!("environment variable {name}: ")) && error.contains(near),
            "{error}"
        );
    }
    let error = refused("", &[], &["learning.bacth=1"]);
    assert!(
        error.contains("flag --set: unknown key `learning.bacth`; did you mean `learning.batch`"),
        "{error}"
    );
    let error = refused("", &[], &["seed.x=1"]);
    assert!(error.contains("unknown key `seed.x`"), "{error}");
    let error = refused("", &[("SRNAS_RUN", "{minuets = 3}")], &[]);
    assert!(error.contains("environment variable SRNAS_RUN: ") && error.contains("minuets"), "{error}");
    let error = refused("[learning]\nbacth = 1", &[], &[]);
    assert!(error.contains("run.toml") && error.contains("line 2") && error.contains("`batch`"), "{error}");
}

#[test]
fn wrong_types_and_senseless_values_are_refused_by_their_layer() {
    let error = refused("", &[("SRNAS_LEARNING__BATCH", "many")], &[]);
    assert!(
        error.contains("environment variable SRNAS_LEARNING__BATCH: invalid type: string \"many\""),
        "{error}"
    );
    let error = refused("", &[("SRNAS_TASKS__TRAIN", "nb201/cifar10/val")], &[]);
    assert!(error.contains("SRNAS_TASKS__TRAIN: invalid type: string"), "{error}");
    let error = refused("", &[("SRNAS_TASKS__TRAIN", "[clean]")], &[]);
    assert!(error.contains("SRNAS_TASKS__TRAIN: `[clean]` is not a TOML value"), "{error}");
    let error = refused("", &[("SRNAS_LEARNING", "3")], &[]);
    assert!(error.contains("environment variable SRNAS_LEARNING: invalid type"), "{error}");
    let error = refused("", &[], &["run.actors=-1"]);
    assert!(error.starts_with("flag --set: ") && error.contains("run.actors"), "{error}");

    let error = refused("", &[("SRNAS_LEARNING__GAMMA", "1.5")], &[]);
    assert!(
        error.contains(
            "environment variable SRNAS_LEARNING__GAMMA: configuration key `learning.gamma`: must be"
        ),
        "{error}"
    );
    let error = refused("[learning]\ngamma = 2", &[], &[]);
    assert!(error.starts_with("run.toml, line 2: configuration key `learning.gamma`"), "{error}");
    // The key that is wrong now has its default: the reason names the value that it does not go with.
    let error = refused("", &[("SRNAS_LEARNING__BATCH", "6000")], &[]);
    assert!(
        error.contains("`learning.warm_up`: must be from learning.batch") && error.contains("6000"),
        "{error}"
    );
    // A wrong value that a later layer puts right does not matter.
    assert!(layers("[learning]\ngamma = 2", &[("SRNAS_LEARNING__GAMMA", "0.5")], &[]).is_ok());
}

#[test]
fn a_set_that_is_no_key_and_value_is_refused() {
    for (text, part) in [
        ("learning.batch", "KEY=VALUE"),
        ("=3", "not a key"),
        ("a..b=3", "not a key"),
        ("a=[1", "TOML value"),
    ] {
        let error = Override::parse(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn what_is_shown_can_be_loaded_and_says_where_each_value_is_from() {
    let file = ConfigFile { text: FILE, place: "odd\nname.toml" };
    let set = Override::parse("task_sets.\"a b\"=[\"nb201/#/x\"]").unwrap();
    let all = resolve(Some(file), [("SRNAS_LEARNING__BATCH".into(), "128".into())], [set]).unwrap();
    let text = all.to_toml();
    assert_eq!(Config::parse(&text, "shown").unwrap(), all.config);
    assert!(text.contains("\nbatch = 128  # environment SRNAS_LEARNING__BATCH\n"), "{text}");
    assert!(text.contains("seed = 5  # file odd?name.toml:1\n"), "{text}");
    assert!(text.contains("\nn_step = 3  # default\n"), "{text}");
    assert!(text.contains("# run.steps is not set"), "{text}");
    assert!(text.contains("\"a b\" = [\"nb201/#/x\"]  # flag --set\n"), "{text}");
    let values = text.lines().filter(|line| line.contains(" = ")).count();
    assert_eq!(values, all.origin.len());
}
