//! Benchmark files: what is written comes back, and what is not a whole benchmark is refused with the reason.

use proptest::prelude::*;
use safetensors::{Dtype, serialize, tensor::TensorView};
use srnas_oracle::benchmark::{Benchmark, BenchmarkError, BenchmarkWriter, Direction, MetricInfo, Precision};
use srnas_space::SearchSpace;
use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};
use tempfile::TempDir;

fn info(unit: &str, direction: Direction) -> MetricInfo {
    MetricInfo { unit: unit.into(), direction, description: "made up".into() }
}

fn space() -> Arc<SearchSpace> {
    static SPACE: LazyLock<Arc<SearchSpace>> = LazyLock::new(|| SearchSpace::named("nb201").unwrap());
    SPACE.clone()
}

fn cells(ranks: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let space = space();
    let cell = |rank| {
        let mut choices = vec![0; 6];
        space.unrank(rank, &mut choices);
        choices
    };
    ranks.into_iter().flat_map(cell).collect()
}

/// Three cells, one metric with two seeds and one with one.
fn small() -> BenchmarkWriter {
    let space = space();
    let mut writer = BenchmarkWriter::new("small", &space, cells([5, 3, 15_624]), "made up", "none");
    let nan = f32::NAN;
    writer.metric("d/val", info("%", Direction::Maximise), 2, &[1.0, 2.0, 3.0, nan, nan, nan]);
    writer.metric("d/latency", info("ms", Direction::Minimise), 1, &[0.5, 0.25, 4.0]);
    writer
}

fn written(writer: BenchmarkWriter) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("small.safetensors");
    writer.write(&path).unwrap();
    (folder, path)
}

/// Opens bytes as a benchmark file.
fn open(bytes: &[u8]) -> Result<Benchmark, BenchmarkError> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("small.safetensors");
    fs::write(&path, bytes).unwrap();
    Benchmark::open(&path)
}

fn reason(bytes: &[u8]) -> String {
    open(bytes).expect_err("this is to be refused").to_string()
}

/// What [`Descriptor`] and tensors would be in a file made by hand.
struct ByHand {
    key: &'static str,
    descriptor: serde_json::Value,
    tensors: Vec<(&'static str, Dtype, Vec<usize>, Vec<u8>)>,
}

impl ByHand {
    fn new() -> Self {
        let descriptor = serde_json::json!({
            "format_version": 1, "name": "hand", "space": "nb201", "provenance": "made up", "licence": "none",
            "metrics": { "d/val": { "unit": "%", "direction": "maximise", "description": "made up" } },
        });
        let values = [1.0f32, 2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let tensors =
            vec![("choices", Dtype::U8, vec![2, 6], cells([7, 8])), ("d/val", Dtype::F32, vec![2], values)];
        Self { key: "srnas_benchmark", descriptor, tensors }
    }

    fn bytes(&self) -> Vec<u8> {
        let view = |(name, dtype, shape, bytes): &'_ (&'static str, Dtype, Vec<usize>, Vec<u8>)| {
            (*name, *dtype, shape.clone(), bytes.clone())
        };
        let owned: Vec<_> = self.tensors.iter().map(view).collect();
        let views = owned.iter().map(|(n, d, s, b)| (*n, TensorView::new(*d, s.clone(), b).unwrap()));
        serialize(views, Some(HashMap::from([(self.key.into(), self.descriptor.to_string())]))).unwrap()
    }
}

#[test]
fn rows_metrics_and_words_come_back() {
    let (_folder, path) = written(small());
    let b = Benchmark::open(&path).unwrap();
    assert_eq!(
        (b.name(), b.space().name(), b.provenance(), b.licence()),
        ("small", "nb201", "made up", "none")
    );
    assert_eq!((b.rows(), b.covers_space(), b.path()), (3, false, path.as_path()));
    assert_eq!(b.choices(1), cells([3]));
    assert_eq!(b.row_of(&cells([15_624])), Some(2));
    assert_eq!(b.row_of(&cells([4])), None);
    assert_eq!(b.metrics().map(|m| m.name()).collect::<Vec<_>>(), ["d/latency", "d/val"]);
    let val = b.metric("d/val").unwrap();
    assert_eq!((val.seeds(), val.info()), (2, &info("%", Direction::Maximise)));
    assert_eq!((val.mean(0), val.mean(1), val.value(1, 0)), (1.5, 3.0, 3.0));
    assert!(val.mean(2).is_nan() && val.value(1, 1).is_nan());
    assert_eq!(b.metric("d/latency").unwrap().values().collect::<Vec<_>>(), [0.5, 0.25, 4.0]);
    assert_eq!(b.stated_hash(), Some(b.content_hash_hex().as_str()));
}

#[test]
fn what_is_not_an_architecture_of_the_space_is_in_no_row() {
    let (_folder, path) = written(small());
    let b = Benchmark::open(&path).unwrap();
    // 5 is not a choice, yet has the rank of [0, 0, 0, 0, 1, 0], which is row 0.
    assert_eq!(b.row_of(&[0, 0, 0, 0, 1, 0]), Some(0));
    assert_eq!(b.row_of(&[0, 0, 0, 0, 0, 5]), None);
    assert_eq!(b.row_of(&[255; 6]), None);
    assert_eq!(b.row_of(&[0, 0, 0]), None);
}

#[test]
fn unknown_metrics_are_refused_with_the_nearest() {
    let (_folder, path) = written(small());
    let error = Benchmark::open(&path).unwrap().metric("d/latncy").err().unwrap().to_string();
    assert_eq!(error, "benchmark `small` has no metric `d/latncy`; did you mean `d/latency`?");
}

#[test]
fn equal_contents_make_equal_files_and_the_hash_is_of_what_tasks_depend_on() {
    let bytes = |writer| fs::read(written(writer).1).unwrap();
    assert_eq!(bytes(small()), bytes(small()));
    let hash = |writer| *Benchmark::open(&written(writer).1).unwrap().content_hash();
    let with = |name: &str, info: MetricInfo, values: &[f32]| {
        let mut writer = small();
        writer.metric(name, info, 1, values);
        hash(writer)
    };
    let minimised = || info("ms", Direction::Minimise);
    assert_eq!(with("d/latency", minimised(), &[0.5, 0.25, 4.0]), hash(small()));
    assert_ne!(with("d/latency", minimised(), &[0.5, 0.25, 4.5]), hash(small()));
    assert_ne!(with("d/latency", info("ms", Direction::Maximise), &[0.5, 0.25, 4.0]), hash(small()));
    assert_ne!(with("d/more", minimised(), &[0.5, 0.25, 4.0]), hash(small()));
    // The wording is not content: two programs that describe a table differently still agree on its tasks.
    let worded = MetricInfo { description: "in other words".into(), ..minimised() };
    assert_eq!(with("d/latency", worded, &[0.5, 0.25, 4.0]), hash(small()));
}

#[test]
fn a_file_cut_anywhere_or_added_to_is_refused() {
    let bytes = fs::read(written(small()).1).unwrap();
    assert!(open(&bytes).is_ok());
    for length in 0..bytes.len() {
        assert!(open(&bytes[..length]).is_err(), "cut to {length} of {}", bytes.len());
    }
    assert!(reason(&bytes[..bytes.len() - 1]).contains("cut short"));
    assert!(reason(&[]).contains("it is empty"));
    assert!(reason(&[&bytes[..], &[0]].concat()).contains("added to"));
}

/// A changed byte is refused, or changes nothing that is measured (a letter of a description, say).
#[test]
fn no_changed_byte_changes_a_measurement() {
    let (_folder, path) = written(small());
    let whole = Benchmark::open(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let tensors = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for at in 0..bytes.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            match open(&changed) {
                Ok(b) => {
                    assert!(at < tensors, "byte {at} of the tensors is not checked");
                    assert_eq!(b.content_hash(), whole.content_hash(), "byte {at}, bits {flip:#x}");
                }
                Err(e) => assert!(!e.to_string().is_empty()),
            }
        }
    }
}

#[test]
fn a_file_made_by_hand_is_read() {
    let b = open(&ByHand::new().bytes()).unwrap();
    assert_eq!((b.name(), b.rows(), b.stated_hash()), ("hand", 2, None));
    assert_eq!(b.metric("d/val").unwrap().values().collect::<Vec<_>>(), [1.0, 2.0]);
}

#[test]
fn numbers_that_single_precision_would_change_are_kept_in_double() {
    let mut writer = BenchmarkWriter::new("exact", &space(), cells([1, 2, 3]), "made up", "none");
    let maximised = || info("", Direction::Maximise);
    let values = [39_974_282.0, 39_974_283.0, f64::NAN, 0.1, 1e-20, -5.0];
    writer.exact_metric("d/count", maximised(), 2, &values);
    writer.exact_metric("d/plain", maximised(), 1, &[90.1, f64::NAN, 12.25]);
    let (_folder, path) = written(writer);
    let b = Benchmark::open(&path).unwrap();
    let (count, plain) = (b.metric("d/count").unwrap(), b.metric("d/plain").unwrap());
    assert_eq!((count.precision(), plain.precision()), (Precision::Double, Precision::Single));
    let bits = |values: &mut dyn Iterator<Item = f64>| values.map(f64::to_bits).collect::<Vec<_>>();
    assert_eq!(bits(&mut count.values()), bits(&mut values.iter().copied()));
    assert_eq!((count.mean(0), count.written(count.mean(1))), (39_974_282.5, Some(0.1)));
    assert_eq!((plain.written(plain.mean(0)), plain.written(plain.mean(1))), (Some(90.1), None));
    assert_eq!(b.stated_hash(), Some(b.content_hash_hex().as_str()));
    // An older srnas, which knows version 1 alone, says that a newer one can read it; it reads what needs no more than it knows.
    let version = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        let json = header.metadata().as_ref().unwrap()["srnas_benchmark"].clone();
        serde_json::from_str::<serde_json::Value>(&json).unwrap()["format_version"].clone()
    };
    let (_other, single) = written(small());
    assert_eq!((version(&path), version(&single)), (2.into(), 1.into()));
}

#[test]
fn every_broken_rule_of_the_format_is_named() {
    type Break = fn(&mut ByHand);
    let cases: [(Break, &str); 20] = [
        (|f| f.key = "other", "without the metadata `srnas_benchmark`"),
        (|f| f.descriptor = serde_json::json!("text"), "cannot be read"),
        (|f| f.descriptor["format_version"] = 4.into(), "format version 4, and this srnas reads up to 3"),
        (
            |f| f.descriptor["space"] = "nb21".into(),
            "unknown search space `nb21`; did you mean `nb201` or `nb101`?",
        ),
        (|f| f.descriptor["name"] = "../nb201".into(), "`../nb201` cannot name a benchmark"),
        (|f| f.descriptor["licence"].take().as_str().map_or((), drop), "invalid type: null"),
        (|f| f.descriptor["metrics"]["d/val"]["direction"] = "up".into(), "unknown variant `up`"),
        (|f| f.descriptor["content_sha256"] = "00".into(), "where its metadata says 00"),
        (|f| drop(f.tensors.remove(0)), "no tensor `choices`"),
        (|f| f.tensors[0].1 = Dtype::I8, "`choices` holds I8 instead of U8"),
        (|f| f.tensors[0].2 = vec![3, 4], "`choices` has shape [3, 4] instead of [rows, 6]"),
        (
            |f| f.tensors[0].3[7] = 5,
            "row 1 of `choices`, [0, 5, 0, 0, 1, 3], is not an architecture of nb201",
        ),
        (|f| f.tensors[0].3 = cells([8, 8]), "rows 0 and 1 are the same architecture, |none~0|"),
        (|f| drop(f.tensors.remove(1)), "metric `d/val` is described but has no tensor"),
        (|f| f.tensors[1].1 = Dtype::I32, "metric `d/val` holds I32 instead of F64, F32 or F16"),
        (|f| f.tensors[1].2 = vec![1, 2], "metric `d/val` has shape [1, 2] instead of [2] or [2, seeds]"),
        (
            |f| f.tensors[1].3[4..].copy_from_slice(&f32::INFINITY.to_le_bytes()),
            "`d/val` is infinite in row 1",
        ),
        (
            |f| f.descriptor["untrained"] = serde_json::json!(["d/params"]),
            "`d/params` is said to take no training, and is no metric",
        ),
        (|f| f.descriptor["untrained"] = serde_json::json!(["d/val", "d/val"]), "and is named twice"),
        (|f| f.tensors.push(("d/x", Dtype::U8, vec![1], vec![0])), "tensor `d/x` is not described"),
    ];
    for (damage, expected) in cases {
        let mut file = ByHand::new();
        damage(&mut file);
        let reason = reason(&file.bytes());
        assert!(reason.contains(expected), "{reason:?} should say {expected:?}");
    }
}

#[test]
fn other_files_folders_and_nothing_are_refused() {
    assert!(reason(b"index,arch_str\n0,|none~0|\n").contains("is not a benchmark file"));
    let folder = TempDir::new().unwrap();
    let error = |path: &Path| {
        let error = Benchmark::open(path).unwrap_err();
        format!("{error}: {}", std::error::Error::source(&error).unwrap())
    };
    assert!(error(folder.path()).contains("not a regular file"));
    assert!(error(&folder.path().join("absent")).contains("No such file"));
}

#[test]
fn what_cannot_be_opened_cannot_be_written_and_leaves_the_old_file_alone() {
    let (folder, path) = written(small());
    let before = fs::read(&path).unwrap();
    let space = space();
    let writer = |choices| BenchmarkWriter::new("small", &space, choices, "", "");
    let maximised = || info("%", Direction::Maximise);
    let with = |name: &str, seeds, values: &[f32]| {
        let mut writer = writer(cells([1, 2]));
        writer.metric(name, maximised(), seeds, values);
        writer
    };
    for (wrong, expected) in [
        (writer(cells([1, 2])), "no metrics"),
        (with("d/val", 1, &[1.0]), "shape [1] instead of [2]"),
        (with("d/val", 2, &[1.0; 3]), "`d/val` has 3 values, which do not make [2, 2]"),
        (with("d/val", 0, &[]), "shape [2, 0]"),
        (with("val", 1, &[1.0; 2]), "`val` cannot name a metric"),
        (with("d/a-b", 1, &[1.0; 2]), "`d/a-b` cannot name a metric"),
        (with("choices", 1, &[1.0; 2]), "`choices` holds F32"),
        (with("d/val", 1, &[1.0, f32::NEG_INFINITY]), "infinite in row 1"),
        (writer(vec![0; 7]), "`choices` has 7 values, which do not make [1, 6]"),
        (writer(vec![9; 6]), "row 0 of `choices`"),
    ] {
        let error = wrong.write(&path).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} should say {expected:?}");
    }
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file was left");
}

#[test]
fn writing_makes_the_folder_and_tells_why_it_cannot() {
    let (folder, path) = written(small());
    let deep = folder.path().join("a/b/small.safetensors");
    assert_eq!(small().write(&deep).unwrap(), fs::metadata(&deep).unwrap().len());
    let below_a_file = path.join("small.safetensors");
    let error = small().write(&below_a_file).unwrap_err();
    assert!(matches!(&error, BenchmarkError::Write { path, .. } if *path == below_a_file), "{error}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode();
        let ordinary = folder.path().join("ordinary");
        fs::write(&ordinary, "").unwrap();
        assert_eq!(mode(&path), mode(&ordinary), "others must be able to read it as any file");
    }
}

/// A metric: its seeds, whether less is better, its values.
type AnyMetric = (usize, bool, Vec<f32>);

/// Any benchmark over nb201: ranks of its cells, and metrics.
fn any_benchmark() -> impl Strategy<Value = (Vec<u64>, Vec<AnyMetric>)> {
    let ranks = prop::collection::btree_set(0u64..15_625, 1..20).prop_map(Vec::from_iter).prop_shuffle();
    ranks.prop_flat_map(|ranks| {
        let rows = ranks.len();
        let value = prop_oneof![1 => Just(f32::NAN), 8 => -1e30f32..1e30];
        let metric = (1usize..4, any::<bool>()).prop_flat_map(move |(seeds, minimise)| {
            (Just(seeds), Just(minimise), prop::collection::vec(value.clone(), rows * seeds))
        });
        (Just(ranks), prop::collection::vec(metric, 1..5))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_benchmark_comes_back((ranks, metrics) in any_benchmark()) {
        let space = space();
        let mut writer = BenchmarkWriter::new("any", &space, cells(ranks.iter().copied()), "p", "l");
        for (i, (seeds, minimise, values)) in metrics.iter().enumerate() {
            let direction = if *minimise { Direction::Minimise } else { Direction::Maximise };
            writer.metric(format!("d/m{i}"), info("u", direction), *seeds, values);
        }
        let (_folder, path) = written(writer);
        let b = Benchmark::open(&path).unwrap();
        prop_assert_eq!(b.rows(), ranks.len());
        for (row, &rank) in ranks.iter().enumerate() {
            prop_assert_eq!(b.choices(row), &cells([rank])[..]);
            prop_assert_eq!(b.row_of(&cells([rank])), Some(row));
        }
        let all: BTreeSet<u64> = ranks.iter().copied().collect();
        prop_assert_eq!((0..15_625).filter(|&r| b.row_of(&cells([r])).is_some()).count(), all.len());
        prop_assert_eq!(b.metrics().len(), metrics.len());
        for (i, (seeds, minimise, values)) in metrics.iter().enumerate() {
            let metric = b.metric(&format!("d/m{i}")).unwrap();
            prop_assert_eq!(metric.seeds(), *seeds);
            prop_assert_eq!(metric.info().direction == Direction::Minimise, *minimise);
            let bits = |values: &mut dyn Iterator<Item = f64>| values.map(f64::to_bits).collect::<Vec<_>>();
            prop_assert_eq!(bits(&mut metric.values()), bits(&mut values.iter().copied().map(f64::from)));
            for (row, values) in values.chunks(*seeds).enumerate() {
                let known: Vec<f32> = values.iter().copied().filter(|v| !v.is_nan()).collect();
                let mean = known.iter().map(|&v| f64::from(v)).sum::<f64>() / known.len() as f64;
                prop_assert!(metric.mean(row) == f64::from(mean as f32) || (known.is_empty() && metric.mean(row).is_nan()));
            }
        }
    }
}
