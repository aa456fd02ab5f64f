//! ConfigSpaces as their users write them, and what is refused of them.

use super::*;

/// As ConfigSpace 1.2.0 writes it.
const NET: &str = r#"{"name": "net", "hyperparameters": [
    {"type": "categorical", "name": "bias", "choices": [true, false], "weights": null, "default_value": true, "meta": null},
    {"type": "uniform_int", "name": "depth", "lower": 1, "upper": 4, "default_value": 2, "log": false, "meta": null},
    {"type": "constant", "name": "kernel", "value": 3, "meta": null},
    {"type": "categorical", "name": "op", "choices": ["conv", "pool", "skip"], "weights": null, "default_value": "conv", "meta": null},
    {"type": "ordinal", "name": "width", "sequence": [16, 32, 64], "default_value": 16, "meta": null},
    {"type": "categorical", "name": "act", "choices": ["relu", "gelu"], "weights": null, "default_value": "relu", "meta": null},
    {"type": "uniform_int", "name": "units", "lower": 32, "upper": 128, "default_value": 64, "log": true, "meta": null}],
  "conditions": [
    {"type": "IN", "child": "act", "parent": "op", "values": ["conv", "pool"]},
    {"type": "AND", "child": "units", "conditions": [
        {"type": "GT", "child": "units", "parent": "depth", "value": 1},
        {"type": "NEQ", "child": "units", "parent": "op", "value": "skip"}]}],
  "forbiddens": [
    {"type": "AND", "clauses": [{"type": "EQUALS", "name": "op", "value": "pool"}, {"type": "IN", "name": "width", "values": [32, 64]}]},
    {"type": "RELATION_LT", "left": "width", "right": "units"},
    {"type": "EQUALS", "name": "depth", "value": 4}],
  "python_module_version": "1.2.0", "format_version": 0.4}"#;

#[test]
fn a_space_is_read_as_its_users_write_it() {
    let space = read(NET, "file").unwrap();
    assert_eq!((space.name(), space.len()), ("net", 7));
    let valid = |text: &str| space.parse(text).is_ok();
    assert!(valid("bias=true,depth=1,kernel=3,op=conv,width=16,act=relu,units=90"));
    assert!(!valid("bias=true,depth=4,kernel=3,op=conv,width=16,act=relu,units=32"), "depth 4 is forbidden");
    assert!(!valid("bias=true,depth=1,kernel=3,op=pool,width=32,act=relu,units=32"));
    assert!(!valid("bias=true,depth=2,kernel=3,op=conv,width=32,act=relu,units=33"), "width below units");
    assert!(valid("bias=true,depth=2,kernel=3,op=conv,width=64,act=relu,units=33"));
    let json = |text: &str| serde_json::Value::Object(space.to_json(&space.parse(text).unwrap()));
    assert_eq!(
        json("bias=false,depth=3,kernel=3,op=skip,width=64,act=relu,units=33"),
        serde_json::json!({"bias": false, "depth": 3, "kernel": 3, "op": "skip", "width": 64})
    );
}

#[test]
fn older_formats_and_grids_are_read() {
    let text = r#"{"hyperparameters": [
        {"type": "uniform_float", "name": "rate", "lower": 0.1, "upper": 0.5, "q": 0.1, "log": false},
        {"type": "uniform_int", "name": "a", "lower": 0, "upper": 10, "q": 5}],
        "conditions": [], "forbiddens": [{"type": "RELATION", "left": "rate", "right": "a", "lambda": "LESS"}]}"#;
    let space = read(text, "old").unwrap();
    assert_eq!(space.decisions()[0].choices, ["0.1", "0.2", "0.3", "0.4", "0.5"]);
    assert_eq!(space.decisions()[1].choices, ["0", "5", "10"]);
    assert!(space.parse("rate=0.3,a=0").is_ok() && space.parse("rate=0.3,a=5").is_err());
}

#[test]
fn an_or_on_one_decision_is_a_choice_of_several() {
    let either = r#"{"type": "OR", "child": "act", "conditions": [
        {"type": "EQ", "child": "act", "parent": "op", "value": "conv"},
        {"type": "EQ", "child": "act", "parent": "op", "value": "pool"}]}"#;
    let one = r#"{"type": "IN", "child": "act", "parent": "op", "values": ["conv", "pool"]}"#;
    assert!(NET.contains(one));
    let (joined, listed) = (read(&NET.replace(one, either), "file").unwrap(), read(NET, "file").unwrap());
    for op in ["conv", "pool", "skip"] {
        let text = format!("bias=true,depth=1,kernel=3,op={op},width=16,act=gelu,units=90");
        let choices = listed.parse(&text).unwrap();
        assert_eq!(joined.to_json(&joined.parse(&text).unwrap()), listed.to_json(&choices), "{op}");
    }
}

#[test]
fn what_is_not_understood_is_named() {
    let refused = |from: &str, to: &str| {
        assert!(NET.contains(from), "{from}");
        read(&NET.replacen(from, to, 1), "file").unwrap_err().to_string()
    };
    for odd in ["null", "[1, 2]", "{\"a\": 1}"] {
        let error = refused("\"sequence\": [16, 32, 64]", &format!("\"sequence\": [16, {odd}]"));
        assert!(error.contains("`width`") && error.contains("is no choice"), "{error}");
    }
    let reversed = refused("\"lower\": 32, \"upper\": 128", "\"lower\": 3200, \"upper\": 128");
    assert!(reversed.contains("`units`: its range is written from 3200 to 128"), "{reversed}");
    let zero = refused("\"lower\": 32, \"upper\": 128", "\"lower\": 0, \"upper\": 1280");
    assert!(zero.contains("`units`: its range begins with 0, and only numbers above 0 have a log"), "{zero}");
    let boundless = refused(
        "\"uniform_int\", \"name\": \"depth\", \"lower\": 1, \"upper\": 4",
        "\"normal_int\", \"name\": \"depth\", \"mu\": 2, \"sigma\": 1, \"lower\": null",
    );
    assert!(
        boundless.contains("`depth` is a normal_int hyperparameter without lower and upper end"),
        "{boundless}"
    );
    assert!(refused("\"uniform_int\"", "\"poisson\"").contains("`depth` is a poisson hyperparameter"));
    assert!(
        refused("\"type\": \"AND\", \"child\"", "\"type\": \"OR\", \"child\"")
            .contains("condition of `units`: it is an OR")
    );
    assert!(refused("\"parent\": \"op\"", "\"parent\": \"pp\"").contains("no decision `pp`"));
    assert!(refused("\"value\": \"pool\"", "\"value\": \"pol\"").contains("did you mean `pool`?"));
    assert!(read("[]", "x").unwrap_err().to_string().contains("no ConfigSpace"));
}

/// A space of two hyperparameters and a clause, all in JSON.
fn pair(left: &str, right: &str, clause: &str) -> Result<SearchSpace, String> {
    let text = format!(
        r#"{{"name": null, "hyperparameters": [{{"name": "a-1", {left}}}, {{"name": "b:2", {right}}}],
            "conditions": [], "forbiddens": [{clause}], "python_module_version": "0.7.1", "json_format_version": 0.3}}"#
    );
    read(&text, "pair").map_err(|e| e.to_string())
}

/// The valid combinations, in the order of their ranks.
fn valid(space: &SearchSpace) -> Vec<String> {
    let mut choices = vec![0; space.len()];
    let mut valid = Vec::new();
    for rank in 0..space.size().unwrap() {
        space.unrank(rank, &mut choices);
        if space.is_valid(&choices) {
            let names =
                space.decisions().iter().zip(&choices).map(|(d, &c)| d.choices[usize::from(c)].as_str());
            valid.push(names.collect::<Vec<_>>().join(" "));
        }
    }
    valid
}

#[test]
fn relations_are_those_of_configspace_between_words_too() {
    let words = r#""type": "categorical", "choices": ["s", "m", "l"]"#;
    let more = r#""type": "ordinal", "sequence": ["m", "l", "xl"]"#;
    let relation = |kind: &str| {
        let (new, old) = match kind {
            "LESS" => ("_LT", "LT"),
            "GREATER" => ("_GT", "GT"),
            _ => ("_EQ", "EQ"),
        };
        [
            format!(r#"{{"type": "RELATION{new}", "left": "a-1", "right": "b:2"}}"#),
            format!(r#"{{"type": "RELATION", "left": "a-1", "right": "b:2", "lambda": "{kind}"}}"#),
            format!(r#"{{"type": "RELATION", "left": "a-1", "right": "b:2", "lambda": "{old}"}}"#),
        ]
    };
    // What ConfigSpace 0.7.1 and 1.2.0 leave of these: words are compared by their letters, not by their places.
    for (kind, left, right, expected) in [
        ("EQUALS", words, more, &["s m", "s l", "s xl", "m l", "m xl", "l m", "l xl"][..]),
        ("LESS", words, more, &["s m", "s l", "m m", "m l", "l l"]),
        ("GREATER", words, more, &["s xl", "m m", "m xl", "l m", "l l", "l xl"]),
        (
            "LESS",
            r#""type": "ordinal", "sequence": [1, 2, 3]"#,
            r#""type": "uniform_int", "lower": 1, "upper": 3"#,
            &["1 1", "2 1", "2 2", "3 1", "3 2", "3 3"],
        ),
        (
            "EQUALS",
            r#""type": "categorical", "choices": [true, false]"#,
            r#""type": "uniform_int", "lower": 0, "upper": 1"#,
            &["true 0", "false 1"],
        ),
        ("EQUALS", words, r#""type": "constant", "value": 1"#, &["s 1", "m 1", "l 1"]),
    ] {
        for clause in relation(kind) {
            assert_eq!(valid(&pair(left, right, &clause).unwrap()), expected, "{kind}: {clause}");
        }
    }
    let error = pair(words, r#""type": "constant", "value": 1"#, &relation("LESS")[0]).unwrap_err();
    assert!(error.contains("`a-1` and `b:2` cannot be compared"), "{error}");
    // Together with something else.
    let [relation, ..] = relation("EQUALS");
    let both = format!(
        r#"{{"type": "AND", "clauses": [{{"type": "IN", "name": "a-1", "values": ["m"]}}, {relation}]}}"#
    );
    assert_eq!(valid(&pair(words, more, &both).unwrap()).len(), 8);
}

#[test]
fn an_order_is_that_of_the_sequence_in_conditions() {
    let text = r#"{"hyperparameters": [
        {"type": "ordinal", "name": "size", "sequence": [64, 32, 16]},
        {"type": "categorical", "name": "op", "choices": ["conv", "pool"]}],
        "conditions": [{"type": "GT", "child": "op", "parent": "size", "value": 32}], "forbiddens": []}"#;
    let space = read(text, "order").unwrap();
    let active = |text: &str| !space.is_inactive(&space.parse(text).unwrap(), 1);
    assert_eq!(
        ["size=64,op=conv", "size=32,op=conv", "size=16,op=conv"].map(active),
        [false, false, true],
        "16 is later in the sequence than 32"
    );
}

#[test]
fn all_that_is_wrong_is_named_at_once() {
    let text = r#"{"hyperparameters": [
        {"type": "uniform_float", "name": "lr", "lower": 0, "upper": 1.0, "default": 0.1, "log": true},
        {"type": "uniform_int", "name": "units", "upper": 4096},
        {"type": "normal_float", "name": "decay", "mu": 0, "sigma": 1},
        {"type": "categorical", "name": "mixed", "choices": ["a", 1]},
        {"type": "categorical", "name": "pairs", "choices": [[1, 2], [3, 4]]},
        {"type": "categorical", "name": "op", "choices": ["conv", "pool"]}], "conditions": [], "forbiddens": []}"#;
    let error = read(text, "x").unwrap_err().to_string();
    for name in [
        "`lr`: its range begins with 0",
        "`units` has no lower",
        "`decay` is a normal_float",
        "`mixed`",
        "decision `pairs`: [1,2] is no choice",
    ] {
        assert!(error.contains(name), "{name}: {error}");
    }
    assert!(!error.contains("`op`"), "{error}");
    let bad = NET.replacen("\"parent\": \"op\"", "\"parent\": \"pp\"", 1).replacen(
        "\"name\": \"depth\", \"value\": 4",
        "\"name\": \"dpth\", \"value\": 4",
        1,
    );
    let error = read(&bad, "x").unwrap_err().to_string();
    assert!(error.contains("no decision `pp`") && error.contains("no decision `dpth`"), "{error}");
}

/// As an older ConfigSpace and a newer one write the same.
#[test]
fn ranges_are_read_as_levels_and_a_notice_says_so() {
    let old = r#"{"hyperparameters": [
        {"name": "lr", "type": "uniform_float", "log": true, "lower": 0.0001, "upper": 0.1, "default": 0.0031622777},
        {"name": "units", "type": "uniform_int", "log": false, "lower": 1, "upper": 4096, "default": 16},
        {"name": "decay", "type": "normal_float", "log": false, "mu": 0.5, "sigma": 1, "lower": 0.0, "upper": 1.0},
        {"name": "keep", "type": "beta_float", "log": false, "alpha": 2, "beta": 3, "lower": 0, "upper": 10, "q": 0.01},
        {"name": "few", "type": "beta_int", "alpha": 2, "beta": 3, "lower": 0, "upper": 3},
        {"name": "seed", "type": "constant", "value": 0.5}], "conditions": [], "forbiddens": []}"#;
    let new = [
        ("uniform_float", "UniformFloatHyperparameter"),
        ("uniform_int", "UniformIntegerHyperparameter"),
        ("normal_float", "NormalFloatHyperparameter"),
        ("beta_float", "BetaFloatHyperparameter"),
        ("beta_int", "BetaIntegerHyperparameter"),
        ("constant", "Constant"),
        ("\"default\"", "\"default_value\""),
    ]
    .iter()
    .fold(old.to_string(), |text, (from, to)| text.replace(from, to));
    for text in [old, &new] {
        let space = read(text, "ranges").unwrap();
        let choices: Vec<String> = space.decisions().iter().map(|d| d.choices.join(" ")).collect();
        assert_eq!(
            choices,
            [
                "0.0001 0.0003 0.001 0.0031622777 0.01 0.03 0.1",
                "1 16 1000 2000 3000 4096",
                "0.0 0.2 0.4 0.6 0.8 1.0",
                "0.0 2.0 4.0 6.0 8.0 10.0",
                "0 1 2 3",
                "0.5"
            ]
        );
        assert!(space.decisions()[..5].iter().all(|d| d.ordered) && !space.decisions()[5].ordered);
        assert_eq!(
            space.notice().unwrap(),
            "ranges are read as levels: `lr` 7 (log), `units` 6 of 4096, `decay` 6 (its distribution left out), `keep` 6 (its \
             distribution left out); for others, make a hyperparameter an ordinal one or write the space in TOML with `range`"
        );
    }
    assert_eq!(read(NET, "net").unwrap().notice(), None);
}

#[test]
fn clauses_keep_their_meaning_on_levels() {
    let space = |conditions: &str, forbiddens: &str| {
        read(
            &format!(
                r#"{{"hyperparameters": [
                    {{"name": "lr", "type": "uniform_float", "lower": 0.0, "upper": 1.0}},
                    {{"name": "wide", "type": "uniform_int", "lower": 0, "upper": 1000}},
                    {{"name": "op", "type": "categorical", "choices": ["a", "b"]}}],
                    "conditions": [{conditions}], "forbiddens": [{forbiddens}]}}"#
            ),
            "clauses",
        )
        .unwrap()
    };
    let active = |space: &SearchSpace| -> Vec<String> {
        let lr = &space.decisions()[0];
        let counts = |c: &u8| !space.is_inactive(&[*c, 0, 0], 2);
        (0..lr.choices.len() as u8).filter(counts).map(|c| lr.choices[usize::from(c)].clone()).collect()
    };
    for (clause, expected) in [
        (r#""type": "EQ", "value": 0.37"#, &["0.37"][..]),
        (r#""type": "IN", "values": [0.2, 0.5, 1]"#, &["0.2", "0.5", "1.0"]),
        (r#""type": "IN", "value": [0.37, 0.9]"#, &["0.37", "0.9"]),
        (r#""type": "GT", "value": 0.95"#, &["1.0"]),
        (r#""type": "GT", "value": 0.5"#, &["0.6", "0.8", "1.0"]),
        (r#""type": "LT", "value": 0.05"#, &["0.0"]),
        (r#""type": "LT", "value": 0.01"#, &["0.0"]),
        (r#""type": "NEQ", "value": 0.5"#, &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
    ] {
        let space = space(&format!(r#"{{"child": "op", "parent": "lr", {clause}}}"#), "");
        assert_eq!(active(&space), expected, "{clause}: {:?}", space.decisions()[0]);
    }
    let forbidden = space(
        "",
        r#"{"type": "AND", "clauses": [{"type": "EQUALS", "name": "wide", "value": 77}, {"type": "IN", "name": "lr", "values": [0.33]}]},
           {"type": "RELATION_LT", "left": "wide", "right": "lr"}"#,
    );
    assert_eq!(forbidden.decisions()[0].choices.join(" "), "0.0 0.2 0.33 0.4 0.6 0.8 1.0");
    assert!(
        forbidden.parse("wide=77,lr=0.4,op=a").is_ok() && forbidden.parse("wide=200,lr=0.33,op=a").is_ok()
    );
    assert!(forbidden.parse("wide=77,lr=0.33,op=a").is_err());
    assert!(forbidden.parse("wide=0,lr=0.0,op=a").is_ok() && forbidden.parse("wide=0,lr=0.2,op=a").is_err());
    // What is no value of a hyperparameter is refused as before.
    let beyond = r#"{"hyperparameters": [{"name": "lr", "type": "uniform_float", "lower": 0.0, "upper": 1.0},
        {"name": "wide", "type": "uniform_int", "lower": 0, "upper": 1000}, {"name": "op", "type": "categorical", "choices": ["a", "b"]}],
        "conditions": [{"child": "op", "parent": "lr", "type": "EQ", "value": 1.5}],
        "forbiddens": [{"type": "EQUALS", "name": "wide", "value": 2.5}]}"#;
    let error = read(beyond, "beyond").unwrap_err().to_string();
    assert!(error.contains("has no choice `1.5`") && error.contains("has no choice `2.5`"), "{error}");
}

/// Files of YAHPO Gym, shortened.
#[test]
fn public_spaces_are_read() {
    let text = r#"{"hyperparameters": [
        {"name": "cost", "type": "uniform_float", "log": true, "lower": 4.5399929762484854e-05, "upper": 22026.465794806718, "default": 1.0},
        {"name": "kernel", "type": "categorical", "choices": ["linear", "polynomial", "radial"], "default": "linear", "probabilities": null},
        {"name": "num.impute.selected.cpo", "type": "categorical", "choices": ["impute.mean", "impute.hist"], "default": "impute.mean", "probabilities": null},
        {"name": "trainsize", "type": "uniform_float", "log": false, "lower": 0.03, "upper": 1.0, "default": 0.525},
        {"name": "degree", "type": "uniform_int", "log": false, "lower": 2, "upper": 5, "default": 4},
        {"name": "gamma", "type": "uniform_float", "log": true, "lower": 4.5399929762484854e-05, "upper": 22026.465794806718, "default": 1.0}],
        "conditions": [{"child": "degree", "parent": "kernel", "type": "EQ", "value": "polynomial"},
            {"child": "gamma", "parent": "kernel", "type": "EQ", "value": "radial"}],
        "forbiddens": [], "python_module_version": "0.4.17", "json_format_version": 0.2}"#;
    let space = read(text, "svm").unwrap();
    let cost = &space.decisions()[0].choices;
    assert_eq!(
        (cost[0].as_str(), cost[cost.len() - 1].as_str()),
        ("0.000045399929762484854", "22026.465794806718")
    );
    assert!(cost.contains(&"1.0".to_string()) && space.decisions()[3].choices.contains(&"0.525".to_string()));
}
