//! Writes the first inputs of each target into `corpus/`; what fuzzing finds is added to them.

use half::f16;
// Built with its flags, everything wants its symbols.
use libfuzzer_sys as _;
use prost::Message;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use srnas_config::Config;
use srnas_environment::{CANDIDATE_FEATURES, CONTEXT_FEATURES, EnvironmentConfig};
use srnas_network::{PredictorConfig, PredictorNetwork, QNetwork, QNetworkConfig};
use srnas_policy::{Acts, LearnedPrior, Policy, ValidationReport};
use srnas_predictor::{PosteriorSettings, Prior};
use srnas_wire::{EpisodeEnds, Experience, Measurements, Snapshot};
use srnas_proto::v1;
use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    for (target, inputs) in [
        ("formula", lines(FORMULAS)),
        ("space", files(SPACES)),
        ("configspace", files(CONFIG_SPACES)),
        ("table", files(TABLES)),
        ("suggest", files(SUGGESTED)),
        ("benchmark", with_data(BENCHMARKS, &benchmark_data())),
        ("answer", files(ANSWERS)),
        ("words", [lines(WORDS), vec![Config::default().to_toml().into()]].concat()),
        ("wire", wire()),
        ("policy", policies()),
        ("replay", with_data(REPLAYS, &replay_data())),
        ("ledger", ledgers()),
    ] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        fs::create_dir_all(&folder)?;
        for (number, input) in inputs.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:02}")), input)?;
        }
    }
    Ok(())
}

fn lines(text: &str) -> Vec<Vec<u8>> {
    text.trim().lines().map(|line| line.as_bytes().to_vec()).collect()
}

/// Inputs of several lines, with a line of equals signs between them.
fn files(text: &str) -> Vec<Vec<u8>> {
    text.trim_start().split("\n=====\n").map(|file| file.as_bytes().to_vec()).collect()
}

const FORMULAS: &str = r#"
a != 2 && b != 1
t && a >= 2
t || a == 1
a * b <= 4
(a + b) * x < 2 || !(a == 1)
a + b - x / 2 % 3 ^ 2 > -1
a ** 2 <= 4 and not (b == 2 or t)
op == "conv" || a in [1, 2]
op != 'pool' && t == true
min(a, b) <= max(x, 2) && abs(b) < 4
b * 3 > 0
a / (b - 2) > 1
x * 1e308 < 1e309
if a == 1 then t else b > 0
-a < b && +a > -b
layer.1 == 2
1 < a < 3
"#;

const SPACES: &str = r#"
name = "net"
interchangeable = [[["width1", "act1"], ["width2", "act2"]]]
[[decisions]]
name = "depth"
choices = [1, 2]
[[decisions]]
name = "width1"
choices = [8, 16, 32]
[[decisions]]
name = "act1"
choices = ["relu", "tanh"]
[[decisions]]
name = "width2"
choices = [8, 16, 32]
active_if = { depth = 2 }
[[decisions]]
name = "act2"
choices = ["relu", "tanh"]
active_if = { depth = [2] }
[[constraints]]
require = "width1 * width2 <= 256"
[[constraints]]
forbid = { act1 = "tanh", width1 = [16, 32] }
=====
[[decisions]]
name = "rate"
choices = [0.1, 1e-3, -0.0, 0.0]
ordered = true
[[decisions]]
name = "on"
choices = [true, false]
[[decisions]]
name = "more"
choices = ["a", "b=c", "d e"]
active_if = { on = true, rate = [0.1, 0.001] }
=====
name = "pairs"
interchangeable = [["a", "b", "c"]]
[[decisions]]
name = "a"
choices = ["x", "y", "z"]
[[decisions]]
name = "b"
choices = ["x", "y", "z"]
[[decisions]]
name = "c"
choices = ["x", "y", "z"]
[[constraints]]
forbid = { a = "x", b = "x", c = "x" }
=====
name = "numbers"
[[decisions]]
name = "lr"
range = [1e-4, 1e-1]
log = true
[[decisions]]
name = "width"
range = [16, 256]
step = 16
[[decisions]]
name = "depth"
range = [1, 4]
levels = 3
active_if = { width = [16, 32] }
[[constraints]]
require = "lr <= 0.01 && width * depth <= 512"
"#;

const CONFIG_SPACES: &str = r#"
{"name": "net", "hyperparameters": [
 {"type": "categorical", "name": "bias", "choices": [true, false], "weights": null, "default_value": true, "meta": null},
 {"type": "uniform_int", "name": "depth", "lower": 1, "upper": 4, "default_value": 2, "log": false, "meta": null},
 {"type": "constant", "name": "kernel", "value": 3, "meta": null},
 {"type": "categorical", "name": "op", "choices": ["conv", "pool", "skip"], "weights": null, "default_value": "conv"},
 {"type": "ordinal", "name": "width", "sequence": [16, 32, 64], "default_value": 16, "meta": null}],
 "conditions": [
 {"type": "IN", "child": "width", "parent": "op", "values": ["conv", "pool"]},
 {"type": "AND", "child": "bias", "conditions": [
  {"type": "GT", "child": "bias", "parent": "depth", "value": 1},
  {"type": "NEQ", "child": "bias", "parent": "op", "value": "skip"}]}],
 "forbiddens": [
 {"type": "AND", "clauses": [{"type": "EQUALS", "name": "op", "value": "pool"}, {"type": "IN", "name": "width", "values": [32, 64]}]},
 {"type": "RELATION_LT", "left": "width", "right": "depth"},
 {"type": "EQUALS", "name": "depth", "value": 4}],
 "python_module_version": "1.2.0", "format_version": 0.4}
=====
{"hyperparameters": [
 {"type": "uniform_float", "name": "rate", "lower": 0.1, "upper": 0.5, "q": 0.1, "log": false},
 {"type": "uniform_int", "name": "a", "lower": 0, "upper": 10, "q": 5},
 {"type": "categorical", "name": "b", "choices": ["x", "y"]}],
 "conditions": [{"type": "OR", "child": "b", "conditions": [
  {"type": "EQ", "child": "b", "parent": "a", "value": 5}, {"type": "LT", "child": "b", "parent": "a", "value": 5}]}],
 "forbiddens": [{"type": "RELATION", "left": "rate", "right": "a", "lambda": "LESS"}]}
=====
{"hyperparameters": [
 {"type": "UniformFloatHyperparameter", "name": "rate", "lower": 1e-4, "upper": 0.1, "default_value": 0.005, "log": true},
 {"type": "uniform_int", "name": "a", "lower": 1, "upper": 4096, "default": 16},
 {"type": "normal_float", "name": "decay", "mu": 0, "sigma": 1, "lower": -1, "upper": 1.0},
 {"type": "categorical", "name": "b", "choices": ["x", "y"]}],
 "conditions": [{"type": "GT", "child": "b", "parent": "rate", "value": 0.07}],
 "forbiddens": [{"type": "AND", "clauses": [{"type": "EQUALS", "name": "a", "value": 77}, {"type": "IN", "name": "decay", "values": [0.33]}]}]}
"#;

const TABLES: &str = r#"
benchmark = "mine"
space = "space.toml"
duplicates = "seeds"
[[metrics]]
name = "val/acc"
column = "acc"
unit = "%"
direction = "maximise"
[[metrics]]
name = "val/acc_3"
column = "short"
unit = "%"
direction = "maximise"
shorter = { of = "val/acc", unit = "epochs", amount = 3, full = 27 }
[[metrics]]
name = "cost/ms"
columns = ["ms1", "ms2"]
unit = "ms"
direction = "minimise"
---
[[decisions]]
name = "depth"
choices = [1, 2, 3]
[[decisions]]
name = "op"
choices = ["conv", "pool"]
active_if = { depth = [2, 3] }
---
depth,op,acc,short,ms1,ms2
1,,91.5,80,3.5,3.25
2,conv,93,82.5,4,NA
2,pool,92.25,-,5,
3,conv,94.5,85,7.125,7
3,pool,94.5,84,6,6.5
=====
benchmark = "cells"
space = "space.toml"
delimiter = ";"
decimal = ","
[architecture]
column = "arch"
pattern = "|{a}~0|+|{b}~1|"
names = { sk = "skip", b = { "0" = "none" } }
[[metrics]]
name = "d/loss"
column = "loss"
direction = "minimise"
---
[[decisions]]
name = "a"
choices = ["none", "skip", "conv"]
[[decisions]]
name = "b"
choices = ["none", "skip"]
---
arch;loss
|none~0|+|0~1|;0,5
|skip~0|+|skip~1|;0,25
"|conv~0|+|sk~1|";1,75
=====
benchmark = "p"
space = "space.json"
[[metrics]]
name = "d/m"
column = "m"
direction = "maximise"
---
{"hyperparameters": [{"type": "uniform_int", "name": "n", "lower": 1, "upper": 3}, {"type": "categorical", "name": "c", "choices": [true, false]}]}
---
n,c,m
1,true,1
2,true,2.5
3,false,1e300
2.0,false,-0.0
"#;

const SUGGESTED: &str = r#"
op,width,accuracy,latency_ms
conv,16,93.125,1.5
pool,16,90.5,1.25
conv,32,94.75,2.5
pool,32,91.875,2.25
=====
arch,val_acc_s0,val_acc_s1,loss
|nor_conv_3x3~0|+|none~0|skip~1|,0.915,0.917,0.3
|nor_conv_1x1~0|+|none~0|none~1|,0.885,0.881,0.4
|none~0|+|skip~0|skip~1|,0.715,0.717,0.9
=====
number,value,datetime_start,params_lr,params_depth,user_attrs_note,state
0,0.5,2024-01-01 00:00:00,0.1,2,x,COMPLETE
1,0.25,2024-01-01 00:10:00,0.01,3,,COMPLETE
2,0.75,2024-01-01 00:20:00,0.1,3,,FAIL
=====
code;top1;minutes
0120;93,5 %;12
0011;91,25 %;13
2210;90 %;11
1111;88,5 %;15
"#;

const BENCHMARKS: &str = r#"
{"format_version":1,"name":"mine","space":"own","space_definition":{"format":"toml","text":"name = \"own\"\n[[decisions]]\nname = \"a\"\nchoices = [1, 2, 3]\n[[decisions]]\nname = \"b\"\nchoices = [\"x\", \"y\"]\nactive_if = { a = [2, 3] }\n"},"rows":"classes","metrics":{"d/acc":{"unit":"%","direction":"maximise","description":""},"d/acc_3":{"unit":"%","direction":"maximise","description":"short"},"d/ms":{"unit":"ms","direction":"minimise","description":""}},"fidelities":[{"metric":"d/acc_3","of":"d/acc","unit":"epochs","amount":3,"full":9}],"provenance":"made up","licence":"none"}
---
{"choices":["U8",[3,2]],"d/acc":["F32",[3]],"d/acc_3":["F16",[3,1]],"d/ms":["F32",[3,2]]}
---
=====
{"format_version":1,"name":"nb","space":"nb201","metrics":{"cifar10/val":{"unit":"%","direction":"maximise","description":""}},"provenance":"p","licence":"l"}
---
{"choices":["U8",[1,6]],"cifar10/val":["F32",[1,3]]}
---
"#;

const ANSWERS: &str = r#"
working
{"loss": 0.5, "note": "x", "other": 3}

=====
{"loss": NaN, "NaN_batches": 3}
=====
{"loss": -Infinity, "a": null}
=====
{"loss": 5, "loss": -99}
=====
{"loss": 1e39, "los": true, "nested": {"loss": [1, 2]}}
=====
{"los": 1}
"#;

const WORDS: &str = r#"
nb201/cifar10/val
nb201/{cifar10,cifar100}/val:0
digits/val/clean-0.15*log(cost/latency_ms)+2e-3*log(x@1)
nb201/d/log(m)
epochs=3,9,27
steps = 0.5, 1e3
"#;

const REPLAYS: &str = r#"
{"capacity":3,"next":2,"inserted":5}
---
{"00000.actions":["U16",[2]],"00000.candidates":["F16",[6]],"00000.contexts":["F16",[3]],"00000.counts":["U16",[3]],"00000.ends":["U8",[2]],"00000.identities":["U8",[0]],"00000.lengths":["U16",[1]],"00000.rewards":["F32",[2]],"places.priority":["F64",[2]],"places.segment":["U32",[2]],"places.step":["U16",[2]]}
---
"#;

/// Files with the bytes of their tensors.
fn with_data(text: &str, data: &[u8]) -> Vec<Vec<u8>> {
    files(text).into_iter().map(|file| [file.trim_ascii_end(), b"\n", data].concat()).collect()
}

/// Three architectures, then values of three metrics.
fn benchmark_data() -> Vec<u8> {
    let halves = [1.5f32, 2.5, 3.5].map(|v| f16::from_f32(v).to_le_bytes()).concat();
    let numbers = |n: u8| (0..n).flat_map(|i| f32::from(i * i).to_le_bytes()).collect::<Vec<u8>>();
    [vec![0, 0, 1, 0, 2, 1], numbers(3), halves, numbers(6)].concat()
}

/// One segment of two steps, in order of the tensors' names.
fn replay_data() -> Vec<u8> {
    let words = |words: &[u16]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
    let halves = |n: usize| vec![0; 2 * n];
    let rewards = [0.5f32, -1.0].map(f32::to_le_bytes).concat();
    let priorities = [1.0f64, 0.25].map(f64::to_le_bytes).concat();
    let segments = vec![0; 8];
    let parts =
        [words(&[0, 0]), halves(6), halves(3), words(&[1, 1, 1]), vec![0, 2], vec![], words(&[2]), rewards];
    [parts.concat(), priorities, segments, words(&[0, 1])].concat()
}

fn wire() -> Vec<Vec<u8>> {
    let half = |n: usize| (0..n).map(|i| f16::from_f32(i as f32 * 0.5)).collect::<Vec<_>>();
    let batch = |identities: bool| Experience {
        policy_version: 7,
        lengths: vec![2, 1],
        tasks: vec![0, 3],
        counts: vec![2, 3, 1, 4, 2],
        candidates: half(36),
        contexts: half(10),
        actions: vec![1, 2, 3],
        log_probabilities: vec![-0.5; 3],
        rewards: vec![0.25; 3],
        ends: vec![0, 0, 2],
        chosen_values: vec![0.5; 5],
        best_values: vec![0.75; 5],
        identities: if identities { vec![1; 24] } else { vec![] },
        measurements: Measurements {
            tasks: vec![0, 3],
            keys: vec![u64::MAX, 1],
            architectures: vec![0, 1, 2, 3],
            fidelities: vec![1.0, 0.06],
            values: vec![0.5, 0.9],
        },
        episodes: EpisodeEnds { tasks: vec![1], normalised_regrets: vec![0.25], returns: vec![1.5] },
        environment_steps: 9,
        elapsed_us: 3,
        credit_us: 2,
        oracle_us: 1,
    };
    let of = |kind: u8, bytes: Vec<u8>| [vec![kind], bytes].concat();
    let join = v1::JoinRequest {
        actor_id: "a".into(),
        benchmarks: vec![v1::Benchmark {
            name: "b".into(),
            space: "s".into(),
            content_hash: vec![1; 32].into(),
        }],
        ..Default::default()
    };
    let chunks: Vec<u8> = Snapshot::new(3, vec![7; 40].into())
        .chunks()
        .flat_map(|c| c.encode_length_delimited_to_vec())
        .collect();
    vec![
        of(0, batch(false).encode(1).encode_to_vec()),
        of(1, batch(true).encode(2).encode_to_vec()),
        of(2, chunks),
        of(3, join.encode_to_vec()),
    ]
}

/// A policy of the smallest network as a description, tensors and their bytes.
fn policies() -> Vec<Vec<u8>> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let names = vec!["nb201/x/a".to_string(), "nb201/x/b".to_string()];
    let small = QNetworkConfig { width: 2, ..QNetworkConfig::new(CANDIDATE_FEATURES, CONTEXT_FEATURES) };
    let deep = QNetworkConfig { width: 4, layers: 1, heads: 2, ..small.clone() };
    let predictor = PredictorConfig { width: 2, ..PredictorConfig::new(3, 2) };
    let predictor = PredictorNetwork::new(predictor, &mut rng).expect("a network").frozen().expect("weights");
    let mut policy = |config: QNetworkConfig, learned: bool| Policy {
        version: 7,
        space: "nb201".into(),
        acts: if learned { Acts::Trained } else { Acts::Rule },
        settings: PosteriorSettings::default(),
        environment: EnvironmentConfig::default(),
        network: QNetwork::new(config, &mut rng).expect("a network").frozen().expect("weights"),
        margin: 0.02,
        learned_prior: learned.then(|| LearnedPrior {
            version: 3,
            network: predictor.clone(),
            tasks: names.clone(),
            families: names.clone(),
        }),
        prior: Some(Prior::new(names.clone(), names.clone(), 5, vec![0.5; 10]).expect("a prior")),
        validation: Some(ValidationReport { starts: 4, gain: 0.5, ..ValidationReport::default() }),
    };
    [policy(small, false), policy(deep, true)]
        .iter()
        .map(|p| parts(&p.to_bytes().expect("bytes"), "srnas_policy"))
        .collect()
}

/// A safetensors file as the targets take it apart.
fn parts(file: &[u8], key: &str) -> Vec<u8> {
    let length = u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
    let mut header: Value = serde_json::from_slice(&file[8..8 + length]).expect("a header");
    let metadata = header.as_object_mut().and_then(|h| h.remove("__metadata__")).expect("metadata");
    let (mut tensors, mut data) = (json!({}), Vec::new());
    for (name, tensor) in header.as_object().expect("tensors") {
        tensors[name] = json!([tensor["dtype"], tensor["shape"]]);
        let at = |i: usize| 8 + length + tensor["data_offsets"][i].as_u64().expect("a place") as usize;
        data.extend_from_slice(&file[at(0)..at(1)]);
    }
    let description = metadata[key].as_str().expect("a description");
    [description.as_bytes(), b"\n---\n", tensors.to_string().as_bytes(), b"\n---\n", &data].concat()
}

/// Changes to a good ledger; see the property.
fn ledgers() -> Vec<Vec<u8>> {
    let mut all = vec![
        vec![],
        vec![5, 0, 16, 0, 0, 0, 0, 0],
        vec![0, 16, 0, 0, 0, 0, 0, 99],
        vec![4, 100, 32, 0, 255, 0, 0, 0],
    ];
    for column in 0..16u8 {
        for kind in 0..5u8 {
            let text: &[u8] = if kind == 3 { b"1e39" } else { b"0,1,300" };
            all.push([&[7, column, kind, column % 3, 0, 0, 0, text.len() as u8], text].concat());
        }
    }
    all
}
