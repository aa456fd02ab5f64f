//! The importer of NAS-Bench-201 on made-up tables of its shape, whole and with every fault that such files can have.

use flate2::{Compression, write::GzEncoder};
use srnas_oracle::{
    benchmark::{Benchmark, Direction},
    importers::{Imported, nasbench201},
};
use srnas_space::SearchSpace;
use std::{
    collections::HashMap,
    fmt::Write as _,
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::LazyLock,
};
use tempfile::TempDir;

const CELLS: usize = 15_625;

/// By rank: notation, operation digits, index of the class's first cell.
static SPACE: LazyLock<Vec<(String, String, usize)>> = LazyLock::new(|| {
    let space = SearchSpace::named("nb201").unwrap();
    let mut first = HashMap::new();
    let mut choices = [0; 6];
    (0..CELLS)
        .map(|rank| {
            space.unrank(rank as u64, &mut choices);
            let digits = choices.iter().map(u8::to_string).collect();
            let class = *first.entry(space.canonical_key(&choices)).or_insert(index_of(rank));
            (space.format(&choices), digits, class)
        })
        .collect()
});

/// The made-up official index of a cell: the files are not in order of rank.
fn index_of(rank: usize) -> usize {
    rank * 7_919 % CELLS
}

/// A CSV file: its header, and its fields by row of rank.
#[derive(Clone)]
struct File {
    name: &'static str,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl File {
    /// `index`, `extra` columns, then `values` columns in which the value of column c and rank r is `value(c, r)`.
    fn new(
        name: &'static str,
        extra: &[&str],
        values: &[String],
        fill: impl Fn(usize) -> Vec<String>,
        value: impl Fn(&str, usize) -> String,
    ) -> Self {
        let header =
            ["index"].iter().chain(extra).map(ToString::to_string).chain(values.iter().cloned()).collect();
        let row = |rank| {
            let mut row = vec![index_of(rank).to_string()];
            row.extend(fill(rank));
            row.extend(values.iter().map(|c| value(c, rank)));
            row
        };
        Self { name, header, rows: (0..CELLS).map(row).collect() }
    }

    fn main() -> Self {
        let mut columns = vec!["flops_M_cifar".to_string()];
        for d in ["cifar10", "cifar100", "imagenet16"] {
            let of = "params_M val_acc_12 test_acc_12 val_acc_200_s0 val_acc_200_s1 val_acc_200_s2 test_acc_200_mean \
                      test_acc_200_one_seed train_time_200_s latency_s zen";
            columns.extend(of.split(' ').map(|c| format!("{d}_{c}")));
        }
        let value = |column: &str, rank: usize| match column {
            c if c.ends_with("_s2") && rank % 2 == 1 => String::new(),
            c if c.ends_with("zen") && rank == 0 => "-100000000.0".into(),
            c if c.contains("val_acc_200_s") => format!("{rank}.{}", &c[c.len() - 1..]),
            c => format!("{}", rank + c.len()),
        };
        let known = |rank: usize| vec![SPACE[rank].0.clone(), SPACE[rank].1.clone()];
        Self::new("nb201_main", &["arch_str", "ops"], &columns, known, value)
    }

    fn attacks() -> Self {
        let usual = "0.1 0.5 1.0 2.0 3.0 4.0 8.0";
        let mut columns = vec!["val_accs".to_string()];
        for (attack, strengths) in [
            ("aa_apgd-ce", usual),
            ("aa_square", usual),
            ("fgsm", "0.1 0.5 1.0 2.0 3.0 4.0 5.0 6.0 7.0 8.0 255.0"),
            ("pgd", usual),
        ] {
            columns.extend(strengths.split(' ').map(|e| format!("{attack}@Linf_eps-{e}")));
        }
        let value = |_: &str, rank: usize| format!("{}", rank as f64 / 1000.0);
        Self::new("nb201_cifar10_attacks", &["isomorph_index"], &columns, class, value)
    }

    fn attacks_at_1() -> Self {
        let mut columns = Vec::new();
        for d in ["cifar10", "cifar100", "ImageNet16-120"] {
            let of = ["clean", "aa_apgd-ce", "aa_square", "fgsm", "pgd", "corr"];
            let has = |c: &&str| d != "ImageNet16-120" || *c != "corr";
            columns.extend(of.into_iter().filter(has).map(|c| format!("{d}_{c}")));
        }
        let value = |_: &str, rank: usize| format!("{}", rank as f64 / 1000.0 / 100.0);
        Self::new("jung2023_eps1_three_datasets", &["isomorph_index"], &columns, class, value)
    }

    fn hardware() -> Self {
        let mut columns = Vec::new();
        for d in ["cifar10", "cifar100", "imagenet16"] {
            let of = "edgegpu_latency edgegpu_energy raspi4_latency edgetpu_latency pixel3_latency eyeriss_latency \
                      eyeriss_energy eyeriss_arithmetic_intensity fpga_latency fpga_energy";
            columns.extend(of.split(' ').map(|c| format!("{d}_{c}")));
        }
        let value = |column: &str, rank: usize| match column.contains("edgetpu") && rank.is_multiple_of(3) {
            true => "-1.0".into(),
            false => format!("{}", rank + 1),
        };
        Self::new("hwnasbench_nb201", &[], &columns, |_| Vec::new(), value)
    }

    fn proxies() -> Self {
        let of = "epe_nas fisher grad_norm grasp jacov l2_norm nwot plain snip synflow";
        let columns: Vec<String> = of.split(' ').map(String::from).collect();
        let mut file =
            Self::new("nb201_zerocost_cifar10_9445", &[], &columns, |_| Vec::new(), |_, r| r.to_string());
        file.rows.truncate(10);
        file
    }

    fn column(&self, name: &str) -> usize {
        self.header.iter().position(|c| c == name).unwrap()
    }

    /// Sets a field; line 2 is the first row.
    fn set(&mut self, line: usize, column: &str, value: &str) {
        let at = self.column(column);
        self.rows[line - 2][at] = value.into();
    }

    fn text(&self, end_of_line: &str) -> String {
        let mut text = String::new();
        for row in [&self.header].into_iter().chain(&self.rows) {
            let _ = write!(text, "{}{end_of_line}", row.join(","));
        }
        text
    }

    fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join(format!("{}.csv", self.name));
        fs::write(&path, self.text("\n")).unwrap();
        path
    }
}

fn class(rank: usize) -> Vec<String> {
    vec![SPACE[rank].2.to_string()]
}

fn import(folder: &Path) -> Result<Imported, String> {
    nasbench201::import(&[folder.to_path_buf()], &mut |_, _, _| {}).map_err(|e| e.to_string())
}

/// Imports these files and opens what was made.
fn benchmark(files: &[File]) -> (TempDir, Benchmark) {
    let folder = TempDir::new().unwrap();
    files.iter().for_each(|f| drop(f.write(folder.path())));
    let path = folder.path().join("nb201.safetensors");
    import(folder.path()).unwrap().benchmarks.remove(0).write(&path).unwrap();
    let benchmark = Benchmark::open(&path).unwrap();
    (folder, benchmark)
}

/// The reason for refusing these files, with the folder's name cut off.
fn refusal(files: &[File]) -> String {
    let folder = TempDir::new().unwrap();
    files.iter().for_each(|f| drop(f.write(folder.path())));
    let error = import(folder.path()).expect_err("this is to be refused");
    error.replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn the_main_file_alone_makes_a_benchmark_in_order_of_rank() {
    let (_folder, b) = benchmark(&[File::main()]);
    assert_eq!((b.name(), b.rows(), b.covers_space(), b.metrics().len()), ("nb201", CELLS, true, 30));
    let rank = 1_234;
    assert_eq!(b.space().format(b.choices(rank)), SPACE[rank].0);
    let value = |metric: &str| b.metric(metric).unwrap().mean(rank) as f32;
    let column = |name: &str| (rank + name.len()) as f32;
    assert_eq!(value("cifar10/test"), column("cifar10_test_acc_200_mean"));
    assert_eq!(value("cifar100/test_one_seed"), column("cifar100_test_acc_200_one_seed"));
    assert_eq!(value("imagenet16/val_12"), column("imagenet16_val_acc_12"));
    assert_eq!(value("cifar10/train_time"), column("cifar10_train_time_200_s"));
    assert_eq!(value("cifar10/flops"), column("flops_M_cifar"));
    assert_eq!(value("imagenet16/flops"), column("flops_M_cifar") / 4.0);
    let latency = b.metric("cifar10/latency").unwrap().info();
    assert_eq!((latency.unit.as_str(), latency.direction), ("s", Direction::Minimise));
}

#[test]
fn seeds_stay_apart_and_what_is_missing_is_nan() {
    let (_folder, b) = benchmark(&[File::main()]);
    let val = b.metric("cifar10/val").unwrap();
    assert_eq!(val.seeds(), 3);
    assert_eq!([0, 1, 2].map(|s| val.value(10, s) as f32), [10.0, 10.1, 10.2]);
    assert!(val.value(11, 2).is_nan() && !val.value(11, 1).is_nan());
    let zen = b.metric("cifar10/zen").unwrap();
    assert!(zen.mean(0).is_nan() && !zen.mean(1).is_nan());
}

#[test]
fn other_files_add_their_metrics_in_percent() {
    let files = [File::main(), File::attacks(), File::attacks_at_1(), File::hardware(), File::proxies()];
    let (_folder, b) = benchmark(&files);
    assert_eq!(b.metrics().len(), 30 + 33 + (2 + 6 + 5) + 30 + 10);
    let near = |metric: &str, rank: usize, expected: f64| {
        let found = b.metric(metric).unwrap().mean(rank);
        assert!((found - expected).abs() < 1e-5, "{metric}: {found} should be {expected}");
    };
    for metric in ["fgsm@255", "pgd@0.5", "apgd@1", "square@8", "clean", "clean_val", "corr"] {
        near(&format!("cifar10/{metric}"), 4_321, 4.321);
        assert_eq!(b.metric(&format!("cifar10/{metric}")).unwrap().info().unit, "%");
    }
    near("imagenet16/apgd@1", 4_321, 4.321);
    assert!(b.metric("imagenet16/corr").is_err());
    near("cifar100/edgetpu_latency", 4, 5.0);
    assert!(b.metric("cifar100/edgetpu_latency").unwrap().mean(3).is_nan(), "-1 means that it does not run");
    assert_eq!(b.metric("cifar10/eyeriss_energy").unwrap().info().direction, Direction::Minimise);
    assert_eq!(
        b.metric("cifar10/eyeriss_arithmetic_intensity").unwrap().info().direction,
        Direction::Maximise
    );
    near("cifar10/nwot", 9, 9.0);
    assert!(b.metric("cifar10/nwot").unwrap().mean(10).is_nan(), "a cell without a row");
}

#[test]
fn compressed_files_byte_order_marks_and_crlf_make_no_difference() {
    let (_folder, plain) = benchmark(&[File::main()]);
    let folder = TempDir::new().unwrap();
    // One folder down, where it is found as well.
    let below = folder.path().join("nasbench201");
    fs::create_dir(&below).unwrap();
    let mut gz =
        GzEncoder::new(fs::File::create(below.join("nb201_main.csv.gz")).unwrap(), Compression::fast());
    gz.write_all(format!("\u{feff}{}", File::main().text("\r\n")).as_bytes()).unwrap();
    gz.finish().unwrap();
    let imported = import(folder.path()).unwrap();
    assert_eq!(imported.files, [below.join("nb201_main.csv.gz")]);
    assert_eq!(imported.absent.len(), 8);
    let path = folder.path().join("nb201.safetensors");
    imported.benchmarks[0].clone().write(&path).unwrap();
    assert_eq!(Benchmark::open(&path).unwrap().content_hash(), plain.content_hash());
}

#[test]
fn what_is_wrong_in_the_main_file_is_named_with_its_place() {
    type Break = fn(&mut File);
    let cases: [(Break, &str); 12] = [
        (
            |f| f.set(5, "index", "15625"),
            "nb201_main.csv:5: column 1, `index`: `15625` is not a whole number from 0 to 15624",
        ),
        (|f| f.set(5, "index", "0"), "nb201_main.csv:5: column 1, `index`: index 0 is already in line 2"),
        (|f| f.set(5, "index", ""), "`index`: `` is not a whole number"),
        (
            |f| f.set(5, "arch_str", "|none~0|"),
            "nb201_main.csv:5: column 2, `arch_str`: `|none~0|` is not an architecture",
        ),
        (
            |f| f.set(5, "ops", "000004"),
            "nb201_main.csv:5: column 3, `ops`: `000004` where arch_str says `000003`",
        ),
        (
            |f| f.rows[3] = [&f.rows[3][..1], &f.rows[2][1..]].concat(),
            ":5: column 2, `arch_str`: the same architecture as in line 4",
        ),
        (
            |f| f.set(7, "cifar10_zen", "x1"),
            "nb201_main.csv:7: column 15, `cifar10_zen`: `x1` is not a number",
        ),
        (|f| f.set(7, "cifar10_zen", "inf"), "`cifar10_zen`: `inf` is not finite"),
        (
            |f| drop(f.rows.pop()),
            "nb201_main.csv has 15624 rows instead of 15625: it was cut short or added to",
        ),
        (|f| drop(f.rows[8].pop()), "nb201_main.csv:10: 36 fields where the header has 37"),
        (|f| f.header[2] = "opps".into(), "nb201_main.csv has no column `ops`; did you mean `opps`?"),
        (|f| f.header[2] = "index".into(), "nb201_main.csv:1: column `index` occurs twice"),
    ];
    let whole = File::main();
    for (damage, expected) in cases {
        let mut file = whole.clone();
        damage(&mut file);
        let refusal = refusal(&[file]);
        assert!(refusal.contains(expected), "{refusal:?} should say {expected:?}");
    }
}

#[test]
fn files_that_contradict_each_other_are_refused_with_the_place() {
    type Break = fn(&mut [File; 3]);
    let cases: [(Break, &str); 5] = [
        (|f| f[1].rows.truncate(9), "nb201_cifar10_attacks.csv has 9 rows instead of 15625"),
        (
            |f| f[2].set(9, "cifar10_pgd", "0.5"),
            "_datasets.csv:9: column 7, `cifar10_pgd`: gives 50 for `cifar10/pgd@1`, another file 0.007",
        ),
        (
            |f| f[2].set(9, "cifar10_fgsm", ""),
            "`cifar10_fgsm`: gives NaN for `cifar10/fgsm@1`, another file 0.007",
        ),
        // The cell of rank 3 is put into the class of rank 0.
        (
            |f| {
                let first = f[1].rows[0][1].clone();
                f[1].set(5, "isomorph_index", &first)
            },
            "joins cells that the space keeps apart",
        ),
        (
            |f| f[1].rows.last_mut().unwrap()[1] = "15624".into(),
            "nb201_cifar10_attacks.csv:15626: column 2, `isomorph_index`",
        ),
    ];
    let whole = [File::main(), File::attacks(), File::attacks_at_1()];
    assert!(import_all(&whole).is_ok());
    for (damage, expected) in cases {
        let mut files = whole.clone();
        damage(&mut files);
        let refusal = refusal(&files);
        assert!(refusal.contains(expected), "{refusal:?} should say {expected:?}");
    }
}

fn import_all(files: &[File]) -> Result<Imported, String> {
    let folder = TempDir::new().unwrap();
    files.iter().for_each(|f| drop(f.write(folder.path())));
    import(folder.path())
}

#[test]
fn a_missing_folder_or_main_file_is_named() {
    let folder = TempDir::new().unwrap();
    File::hardware().write(folder.path());
    let error = import(folder.path()).unwrap_err();
    let place = folder.path().display();
    assert!(
        error.starts_with(&format!(
            "nb201_main.csv.gz (or nb201_main.csv) is required and is neither in {place}"
        )),
        "{error}"
    );
    let error = import(&folder.path().join("absent")).unwrap_err();
    assert_eq!(error, format!("cannot read the folder {place}/absent"));
}

#[test]
fn progress_counts_the_files() {
    let folder = TempDir::new().unwrap();
    [File::main(), File::hardware()].iter().for_each(|f| drop(f.write(folder.path())));
    let mut heard = Vec::new();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    nasbench201::import(&[folder.path().to_path_buf()], &mut |done, total, path| {
        heard.push((done, total, name(path)));
    })
    .unwrap();
    assert_eq!(heard, [(0, 2, "nb201_main.csv".into()), (1, 2, "hwnasbench_nb201.csv".into())]);
}
