//! `digits`: a benchmark that is built in. Every class of NAS-Bench-201 cells, trained on the UCI handwritten digits
//! by [`crate::training`]. `docs/benchmarks/digits.md` tells how it was made and what it is good for.

use srnas_space::SearchSpace;
use std::{
    path::Path,
    sync::{Arc, LazyLock, atomic::AtomicBool},
};

use crate::{
    benchmark::{Benchmark, Direction, Fidelity, MetricInfo},
    built_in::{GenerateError, Generated, Progress, images::Plan},
    training::{
        Proxies, Recipe, TrainingError, attack::Attack, corruption::Corruption, data, measure::Questions,
        model::Scale,
    },
    verify::Check,
};

/// Name of the benchmark.
pub const BENCHMARK: &str = "digits";
/// Trainings of each class, with seeds counted from 0.
pub const SEEDS: u64 = 2;
/// Of the images, and so of what was trained from them.
pub const LICENCE: &str = "CC BY 4.0, as the images: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI \
                           Machine Learning Repository, 1998, doi:10.24432/C50P49";

/// The benchmark, as it is in the program.
pub fn benchmark() -> Arc<Benchmark> {
    static BENCHMARK: LazyLock<Arc<Benchmark>> = LazyLock::new(|| {
        let bytes = include_bytes!("../data/digits.safetensors");
        Arc::new(Benchmark::built_in(bytes).expect("a test opens it"))
    });
    BENCHMARK.clone()
}

/// The space: that of NAS-Bench-201.
pub fn space() -> Arc<SearchSpace> {
    SearchSpace::named("nb201").expect("a built-in space")
}

/// What its networks say before they are trained. Of a seed of its own: each training draws other weights.
pub fn untrained() -> Option<Proxies> {
    Proxies::new(space(), &data::digits(), recipe().scale, 0).ok()
}

/// How each cell is trained: small enough for a third of a second of one core, and augmented so strongly that
/// networks of this size never learn it all, which is what sets architectures apart.
pub fn recipe() -> Recipe {
    Recipe {
        scale: Scale { width: 4, stages: 2, cells: 1 },
        epochs: 30,
        batch: 64,
        learning_rate: 0.1,
        momentum: 0.9,
        weight_decay: 5e-4,
        augmentations: vec![Corruption::Shift, Corruption::Rotation, Corruption::Noise],
        adversarial: None,
        continue_shorter: false,
    }
}

/// How all of it is made.
fn plan() -> Plan {
    Plan {
        name: BENCHMARK,
        space: space(),
        shapes: None,
        data: data::digits(),
        train_images: None,
        recipe: recipe(),
        questions: questions(),
        seeds: SEEDS,
        fidelities: fidelities(),
        metric_info: Box::new(metric_info),
        source: "the UCI handwritten digits",
        licence: LICENCE,
    }
}

/// Trains and measures all classes, see [`Plan::generate`].
///
/// # Errors
/// Says why it stopped; the journal then holds what was trained.
pub fn generate(
    journal: &Path,
    stop: &AtomicBool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Generated, GenerateError> {
    plan().generate(journal, stop, progress)
}

/// Trains some of them again, see [`Plan::retrain`].
///
/// # Errors
/// A network that fails.
pub fn retrain(benchmark: &Benchmark, trainings: usize, draw: u64) -> Result<Vec<Check>, TrainingError> {
    plan().retrain(benchmark, trainings, draw)
}

/// What is measured of each training.
pub fn questions() -> Questions {
    let attacks = [1, 5].iter().flat_map(|&steps| [0.05, 0.1].map(|epsilon| Attack { epsilon, steps }));
    Questions {
        early: 10,
        corruptions: Corruption::ALL.to_vec(),
        attacks: attacks.collect(),
        robustness: None,
    }
}

/// The accuracies that a training said early, of those that it said at its end.
fn fidelities() -> Vec<Fidelity> {
    let of = |split: &str| Fidelity {
        metric: format!("{split}/early"),
        of: format!("{split}/clean"),
        unit: "epochs".into(),
        amount: questions().early as u32,
        full: recipe().epochs as u32,
    };
    vec![of("test"), of("val")]
}

/// What a metric of the benchmark means.
pub(crate) fn metric_info(name: &str) -> MetricInfo {
    let (split, metric) = name.split_once('/').unwrap_or(("", name));
    let images = match split {
        "val" => "450 validation images",
        _ => "450 test images",
    };
    let (recipe, questions) = (recipe(), questions());
    let (unit, direction, description) = match (split, metric) {
        ("cost", "parameters") => ("", Direction::Minimise, "weights".to_string()),
        ("cost", "multiply_adds") => ("", Direction::Minimise, "multiply-adds for one image".into()),
        ("cost", "training_s") => {
            ("s", Direction::Minimise, "the training on one core of the machine that made this".into())
        }
        ("cost", _) => (
            "ms",
            Direction::Minimise,
            "inference on 64 images on one core of the machine that made this".into(),
        ),
        (_, "loss") => ("nats", Direction::Minimise, format!("cross-entropy on {images}")),
        (_, "clean") => {
            ("%", Direction::Maximise, format!("accuracy on {images} after {} epochs", recipe.epochs))
        }
        (_, "early") => {
            ("%", Direction::Maximise, format!("accuracy on {images} after {} epochs", questions.early))
        }
        (_, attack) if attack.contains('@') => {
            let (kind, epsilon) = attack.split_once('@').expect("it contains one");
            let kind = if kind == "fgsm" { "FGSM" } else { "PGD with 5 steps" };
            (
                "%",
                Direction::Maximise,
                format!("accuracy on {images} under {kind}, ε = {epsilon} of the range"),
            )
        }
        (_, corruption) => ("%", Direction::Maximise, format!("accuracy on {images} under {corruption}")),
    };
    MetricInfo { unit: unit.into(), direction, description }
}
