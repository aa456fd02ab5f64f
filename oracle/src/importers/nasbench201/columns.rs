//! The published files over NAS-Bench-201: which columns they have and which metrics these become.

use crate::{
    benchmark::{
        Direction::{self, Maximise, Minimise},
        Fidelity, MetricInfo,
    },
    importers::zerocost::{self, UNSCORED},
    training::Proxy,
};
use std::collections::BTreeMap;

/// Data sets under the names that metrics carry.
const DATASETS: [&str; 3] = ["cifar10", "cifar100", "imagenet16"];

/// A file of published numbers, one row per cell, with the cells' official `index`.
pub(super) struct Source {
    /// Its name without `.csv` or `.csv.gz`.
    pub(super) stem: &'static str,
    /// Whether it has a row for every cell.
    pub(super) whole: bool,
    /// Whether it has a column `isomorph_index`, the cell that stands for the row's class.
    pub(super) has_classes: bool,
    /// What is made of its columns.
    pub(super) metrics: Vec<SourceMetric>,
}

/// A metric and the columns that it is made of.
pub(super) struct SourceMetric {
    /// Full name.
    pub(super) name: String,
    /// One column per seed.
    pub(super) columns: Vec<String>,
    /// From the column's unit to the metric's.
    pub(super) factor: f64,
    /// The number that stands for a missing value, besides an empty field.
    pub(super) missing: Option<f64>,
    /// Another metric that has the same values, where it is there.
    pub(super) equals: Option<&'static str>,
    /// Unit, direction, description.
    pub(super) info: MetricInfo,
}

impl SourceMetric {
    fn new(name: String, column: String, unit: &str, direction: Direction, description: String) -> Self {
        let info = MetricInfo { unit: unit.into(), direction, description };
        Self { name, columns: vec![column], factor: 1.0, missing: None, equals: None, info }
    }

    fn accuracy(name: String, column: String, description: String) -> Self {
        Self::new(name, column, "%", Maximise, description)
    }

    /// The column holds fractions where the metric is in percent.
    fn of_fraction(self) -> Self {
        Self { factor: 100.0, ..self }
    }
}

/// The file that must be there: it says which index is which cell.
pub(super) fn main() -> Source {
    let mut metrics = Vec::new();
    for d in DATASETS {
        let name = |metric: &str| format!("{d}/{metric}");
        let column = |column: &str| format!("{d}_{column}");
        let of = |text: &str| format!("{text}, {d}");
        let per_seed = (0..3).map(|s| column(&format!("val_acc_200_s{s}"))).collect();
        let val = of("validation accuracy after 200 epochs");
        metrics.push(SourceMetric {
            columns: per_seed,
            ..SourceMetric::accuracy(name("val"), String::new(), val)
        });
        for (metric, source, text) in [
            ("test", "test_acc_200_mean", "test accuracy after 200 epochs, mean over the seeds"),
            ("test_one_seed", "test_acc_200_one_seed", "test accuracy after 200 epochs, one seed"),
            ("val_12", "val_acc_12", "validation accuracy after 12 epochs"),
            ("test_12", "test_acc_12", "test accuracy after 12 epochs"),
        ] {
            metrics.push(SourceMetric::accuracy(name(metric), column(source), of(text)));
        }
        for (metric, source, unit, text) in [
            ("params", "params_M", "M", "parameters of the network"),
            ("train_time", "train_time_200_s", "s", "time of a training of 200 epochs"),
            ("latency", "latency_s", "s", "time of a forward pass on the benchmark's GPU"),
        ] {
            metrics.push(SourceMetric::new(name(metric), column(source), unit, Minimise, of(text)));
        }
        // Images of half the width and height.
        let factor = if d == "imagenet16" { 0.25 } else { 1.0 };
        let flops = of("floating-point operations of a forward pass");
        let flops = SourceMetric::new(name("flops"), "flops_M_cifar".into(), "M", Minimise, flops);
        metrics.push(SourceMetric { factor, ..flops });
        metrics.push(proxy(d, "zen", column("zen")));
    }
    Source { stem: "nb201_main", whole: true, has_classes: false, metrics }
}

/// The files that add their metrics where they are there.
pub(super) fn optional() -> Vec<Source> {
    vec![
        attacks(),
        attacks_at_1(),
        adversarially_trained(),
        hardware(),
        help_latency(),
        proxies("nb201_zerocost_cifar10_9445", "cifar10"),
        proxies("nb201_zerocost_imagenet16_9445", "imagenet16"),
    ]
}

/// Jung et al. 2023: standard training, CIFAR-10, all strengths, in percent.
fn attacks() -> Source {
    const USUAL: &[&str] = &["0.1", "0.5", "1.0", "2.0", "3.0", "4.0", "8.0"];
    const FGSM: &[&str] = &["0.1", "0.5", "1.0", "2.0", "3.0", "4.0", "5.0", "6.0", "7.0", "8.0", "255.0"];
    let clean = "validation accuracy on cifar10 of the networks attacked, without attack".into();
    let mut metrics = vec![SourceMetric::accuracy("cifar10/clean_val".into(), "val_accs".into(), clean)];
    for (metric, attack, strengths) in [
        ("fgsm", "fgsm", FGSM),
        ("pgd", "pgd", USUAL),
        ("apgd", "aa_apgd-ce", USUAL),
        ("square", "aa_square", USUAL),
    ] {
        for strength in strengths {
            let short = strength.trim_end_matches(".0");
            let column = format!("{attack}@Linf_eps-{strength}");
            metrics.push(SourceMetric::accuracy(
                format!("cifar10/{metric}@{short}"),
                column,
                under_attack("cifar10", metric, short, "standard training"),
            ));
        }
    }
    Source { stem: "nb201_cifar10_attacks", whole: true, has_classes: true, metrics }
}

/// Jung et al. 2023: standard training, three data sets, strength 1, fractions. Repeats what [`attacks`] has at 1.
fn attacks_at_1() -> Source {
    let mut metrics = Vec::new();
    for (d, prefix) in DATASETS.into_iter().zip(["cifar10", "cifar100", "ImageNet16-120"]) {
        let mut add = |metric: &str, column: &str, text: String| {
            let accuracy =
                SourceMetric::accuracy(format!("{d}/{metric}"), format!("{prefix}_{column}"), text);
            metrics.push(accuracy.of_fraction());
        };
        for (metric, attack) in
            [("fgsm", "fgsm"), ("pgd", "pgd"), ("apgd", "aa_apgd-ce"), ("square", "aa_square")]
        {
            add(&format!("{metric}@1"), attack, under_attack(d, metric, "1", "standard training"));
        }
        add("clean", "clean", format!("test accuracy on {d} of the networks attacked, without attack"));
        if d != "imagenet16" {
            add("corr", "corr", format!("mean accuracy on {d} under common corruptions, standard training"));
        }
    }
    Source { stem: "jung2023_eps1_three_datasets", whole: true, has_classes: true, metrics }
}

/// Wu et al. 2024: adversarial training, three data sets, fractions.
fn adversarially_trained() -> Source {
    let mut metrics = Vec::new();
    for (d, prefix) in DATASETS.into_iter().zip(["cifar10", "cifar100", "imagenet"]) {
        let mut add = |metric: &str, column: &str, text: String| {
            let accuracy =
                SourceMetric::accuracy(format!("{d}/{metric}"), format!("{prefix}_{column}"), text);
            metrics.push(accuracy.of_fraction());
        };
        add(
            "adv_clean",
            "val_acc",
            format!("validation accuracy on {d} after adversarial training, without attack"),
        );
        for (attack, strength) in [("fgsm", "3"), ("pgd", "3"), ("fgsm", "8"), ("pgd", "8")] {
            add(
                &format!("adv_{attack}@{strength}"),
                &format!("val_{attack}_{strength}_acc"),
                under_attack(d, attack, strength, "adversarial training"),
            );
        }
        add("adv_aa@8", "autoattack", under_attack(d, "aa", "8", "adversarial training"));
    }
    Source { stem: "nasrobbench201_adv_trained", whole: true, has_classes: true, metrics }
}

/// HW-NAS-Bench: costs on six devices, three data sets.
fn hardware() -> Source {
    let mut metrics = Vec::new();
    for d in DATASETS {
        for (device, costs) in [
            ("edgegpu", &["latency", "energy"][..]),
            ("raspi4", &["latency"]),
            ("edgetpu", &["latency"]),
            ("pixel3", &["latency"]),
            ("eyeriss", &["latency", "energy", "arithmetic_intensity"]),
            ("fpga", &["latency", "energy"]),
        ] {
            for &cost in costs {
                let (unit, direction) = match cost {
                    "latency" => ("ms", Minimise),
                    "energy" => ("mJ", Minimise),
                    _ => ("ops/bit", Maximise),
                };
                let text = format!("{} on {device}, network for {d}", cost.replace('_', " "));
                let column = format!("{d}_{device}_{cost}");
                let metric = SourceMetric::new(format!("{d}/{device}_{cost}"), column, unit, direction, text);
                // A network that does not run on the edge TPU has −1.
                metrics.push(SourceMetric { missing: (device == "edgetpu").then_some(-1.0), ..metric });
            }
        }
    }
    Source { stem: "hwnasbench_nb201", whole: true, has_classes: false, metrics }
}

/// HELP: latency on 27 devices and batch sizes.
fn help_latency() -> Source {
    const DEVICES: [&str; 27] = [
        "1080ti_1",
        "1080ti_32",
        "1080ti_256",
        "2080ti_1",
        "2080ti_32",
        "2080ti_256",
        "essential_ph_1",
        "eyeriss",
        "fpga",
        "gold_6226",
        "gold_6240",
        "pixel2",
        "pixel3",
        "raspi4",
        "samsung_a50",
        "samsung_s7",
        "silver_4114",
        "silver_4210r",
        "titan_rtx_1",
        "titan_rtx_32",
        "titan_rtx_256",
        "titanx_1",
        "titanx_32",
        "titanx_256",
        "titanxp_1",
        "titanxp_32",
        "titanxp_256",
    ];
    let metric = |device: &str| {
        let name = format!("cifar10/help_{device}_latency");
        let text = format!("latency on {device}, network for cifar10, as measured for HELP");
        // HELP took these two from HW-NAS-Bench: proof that both files count the cells alike.
        let equals = match device {
            "fpga" => Some("cifar10/fpga_latency"),
            "raspi4" => Some("cifar10/raspi4_latency"),
            _ => None,
        };
        SourceMetric { equals, ..SourceMetric::new(name, device.into(), "ms", Minimise, text) }
    };
    let metrics = DEVICES.into_iter().map(metric).collect();
    Source { stem: "help_latency_nb201_ms", whole: true, has_classes: false, metrics }
}

/// NAS-Bench-Suite-Zero: scores of untrained networks, for cells without operations that nothing reaches. Its flops,
/// params and zen are in the main file for every cell.
fn proxies(stem: &'static str, dataset: &str) -> Source {
    let names =
        ["epe_nas", "fisher", "grad_norm", "grasp", "jacov", "l2_norm", "nwot", "plain", "snip", "synflow"];
    let metrics = names.into_iter().map(|name| proxy(dataset, name, name.into())).collect();
    Source { stem, whole: false, has_classes: false, metrics }
}

fn proxy(dataset: &str, name: &str, column: String) -> SourceMetric {
    let info = zerocost::info(dataset, name);
    SourceMetric {
        name: format!("{dataset}/{name}"),
        columns: vec![column],
        factor: 1.0,
        missing: Some(UNSCORED),
        equals: None,
        info,
    }
}

/// The same in the file that NASLib has, of more data sets.
pub(super) const SCORES: &str = "zc_nasbench201";
/// Of the benchmark's own data sets the main file has these for every cell, and they are not looked at.
pub(super) const IN_MAIN: [&str; 4] = ["params", "flops", "zen", "val"];

/// Whether the main file has it.
pub(super) fn is_own(dataset: &str) -> bool {
    DATASETS.contains(&dataset)
}

/// What is known without training and says most. Of CIFAR-100 and of what is none of the benchmark's data sets only where there are
/// scores: parameters and zen alone would keep a task from those of another data set.
pub(super) fn untrained<'a>(metrics: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut of: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (dataset, metric) in metrics.filter_map(|name| name.split_once('/')) {
        of.entry(dataset).or_default().push(metric);
    }
    let always = |dataset: &str| ["cifar10", "imagenet16"].contains(&dataset);
    of.retain(|dataset, all| {
        all.retain(|metric| zerocost::says_most(metric));
        always(dataset) || all.iter().any(|metric| !IN_MAIN.contains(metric))
    });
    let mut names = Vec::new();
    for (dataset, all) in of {
        let known = Proxy::DESCRIBING.map(Proxy::name).into_iter().filter(|metric| all.contains(metric));
        names.extend(known.map(|metric| format!("{dataset}/{metric}")));
    }
    names
}

fn under_attack(dataset: &str, attack: &str, strength: &str, training: &str) -> String {
    let attack = match attack {
        "fgsm" => "FGSM",
        "pgd" => "PGD",
        "apgd" => "APGD-CE",
        "square" => "Square",
        _ => "AutoAttack",
    };
    format!("accuracy on {dataset} under {attack}, L∞ strength {strength}/255, {training}")
}

/// What was measured after 12 of 200 epochs.
pub(super) fn fidelities() -> Vec<Fidelity> {
    let of = |dataset: &&str, metric: &str| Fidelity {
        metric: format!("{dataset}/{metric}_12"),
        of: format!("{dataset}/{metric}"),
        unit: "epochs".into(),
        amount: 12,
        full: 200,
    };
    DATASETS.iter().flat_map(|dataset| [of(dataset, "val"), of(dataset, "test")]).collect()
}
