//! `digits-wrn`: every wide residual network of up to three blocks a stage and up to three times as wide, trained by TRADES on the UCI
//! handwritten digits and attacked. `docs/benchmarks/digits-wrn.md` tells how it was made and what it is good for.

use crate::{
    benchmark::{Benchmark, Direction, MetricInfo},
    built_in::{GenerateError, Generated, Progress, images::Plan},
    digits,
    training::{
        Adversarial, Proxies, Recipe, TrainingError,
        attack::Attack,
        corruption::Corruption,
        data,
        measure::Questions,
        model::Scale,
        robustness::{Radius, Robustness, Strong},
    },
    verify::Check,
};
use srnas_space::{SearchSpace, wrn::Measure};
use std::{
    path::Path,
    sync::{Arc, LazyLock, atomic::AtomicBool},
};

/// Name of the benchmark.
pub const BENCHMARK: &str = "digits-wrn";
/// Trainings of each network, with seeds counted from 0.
pub const SEEDS: u64 = 2;
/// Name of the space: the networks within WRN-22-3, of basic blocks. Robust blocks need stages of 16 channels, which few of these have.
pub const SPACE: &str = "wrn-compress-22-3-basic";
/// Images of each split that are attacked: a third of the time that all of them take.
const ATTACKED: usize = 192;
/// The radii of the attacks, in 255ths of the range of pixels.
pub(crate) const EPSILON_255: [f32; 2] = [16.0, 32.0];

/// The benchmark, as it is in the program.
pub fn benchmark() -> Arc<Benchmark> {
    static BENCHMARK: LazyLock<Arc<Benchmark>> = LazyLock::new(|| {
        let bytes = include_bytes!("../data/digits-wrn.safetensors");
        Arc::new(Benchmark::built_in(bytes).expect("a test opens it"))
    });
    BENCHMARK.clone()
}

/// The space.
pub fn space() -> Arc<SearchSpace> {
    SearchSpace::named(SPACE).expect("a teacher that there is")
}

/// What its networks say before they are trained.
pub fn untrained() -> Option<Proxies> {
    Proxies::new(space(), &data::digits(), recipe().scale, 0).ok()
}

/// How each network is trained.
pub fn recipe() -> Recipe {
    let attack = Attack { epsilon: 24.0 / 255.0, steps: 3 };
    Recipe {
        scale: Scale { width: 2, stages: 3, cells: 1 },
        epochs: 16,
        batch: 64,
        learning_rate: 0.1,
        momentum: 0.9,
        weight_decay: 5e-4,
        augmentations: vec![Corruption::Shift],
        adversarial: Some(Adversarial::Trades { attack, beta: 6.0 }),
        continue_shorter: false,
    }
}

/// What is measured of each training.
pub fn questions() -> Questions {
    let epsilon = EPSILON_255.map(|of| Radius::new(of / 255.0).expect("within the range")).to_vec();
    let attacks = vec![
        Strong::Fgsm,
        Strong::Pgd(20),
        Strong::Cw(40),
        Strong::ApgdCe(20),
        Strong::ApgdDlr(10, 2),
        Strong::Square(50),
    ];
    Questions {
        early: 0,
        corruptions: Corruption::ALL.to_vec(),
        attacks: Vec::new(),
        robustness: Some(Robustness { epsilon, attacks, images: Some(ATTACKED) }),
    }
}

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
        fidelities: Vec::new(),
        metric_info: Box::new(metric_info),
        source: "the UCI handwritten digits",
        licence: digits::LICENCE,
    }
}

/// Trains and measures all networks, see [`Plan::generate`].
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

/// What a metric of the benchmark means.
fn metric_info(name: &str) -> MetricInfo {
    describe(name, recipe().epochs, [450; 2], &questions())
}

/// What a metric means of networks that were trained for so many epochs and asked this of so many validation and test images.
pub(crate) fn describe(name: &str, epochs: usize, images: [usize; 2], questions: &Questions) -> MetricInfo {
    let info =
        |unit: &str, direction, description: String| MetricInfo { unit: unit.into(), direction, description };
    if let Some(measure) = Measure::ALL.into_iter().find(|measure| measure.metric_of_teacher() == name) {
        return info(
            "%",
            Direction::Minimise,
            format!("{} in percent of the teacher's, WRN-22-3", measure.metric()),
        );
    }
    let (split, metric) = name.split_once('/').unwrap_or(("", name));
    let (count, of) =
        if split == "val" { (images[0], "validation images") } else { (images[1], "test images") };
    let robustness = questions.robustness.as_ref();
    let attacked = robustness.and_then(|robustness| robustness.images).unwrap_or(count);
    match (split, metric, robustness.and_then(|robustness| robustness.describe(metric))) {
        (_, _, Some(text)) if metric.starts_with("lipschitz") => info("", Direction::Minimise, text),
        (_, _, Some(text)) => info("%", Direction::Maximise, format!("{text}; on the first {attacked} {of}")),
        (_, "multiply_adds", _) => {
            info("", Direction::Minimise, "multiply-adds for one image, zeros around it counted".into())
        }
        (_, "clean", _) => {
            info("%", Direction::Maximise, format!("accuracy on {count} {of} after {epochs} epochs"))
        }
        ("cost", ..) => digits::metric_info(name),
        (_, "loss", _) => info("nats", Direction::Minimise, format!("cross-entropy on {count} {of}")),
        (_, corruption, _) => {
            info("%", Direction::Maximise, format!("accuracy on {count} {of} under {corruption}"))
        }
    }
}
