//! `fashion-wrn`: networks of the space of [`digits_wrn`](crate::digits_wrn), trained and attacked in the same way on Fashion-MNIST at 14×14
//! pixels. It is no part of the program: who has the images makes it. `docs/benchmarks/fashion-wrn.md` tells how, and what it is good for.

use crate::{
    benchmark::Benchmark,
    built_in::{GenerateError, Generated, Progress, images::Plan},
    digits_wrn,
    training::{
        Recipe, TrainingError,
        data::{DataError, FASHION, ImageSet, fashion},
        measure::Questions,
    },
    verify::Check,
};
use std::{
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

/// Name of the benchmark.
pub const BENCHMARK: &str = "fashion-wrn";
/// Networks, drawn from all of the space, where no number is given.
pub const SHAPES: usize = 260;
/// Trainings of each, with seeds counted from 0, where no number is given.
pub const SEEDS: u64 = 1;
/// What a training and its attacks took of one core where the table of the documentation was made.
const SECONDS: f64 = 3.3;

/// As the networks of digits-wrn, in half the epochs: images have three times as many pixels.
fn recipe() -> Recipe {
    Recipe { epochs: 8, ..digits_wrn::recipe() }
}

/// The same as there, on half the images.
fn questions() -> Questions {
    let mut questions = digits_wrn::questions();
    if let Some(robustness) = &mut questions.robustness {
        robustness.images = robustness.images.map(|images| images / 2);
    }
    questions
}

/// The benchmark, to be made of somebody's images.
#[derive(Clone, Debug)]
pub struct Making {
    data: ImageSet,
    shapes: usize,
    seeds: u64,
}

/// Why it cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MakingError {
    /// The images cannot be used.
    #[error(transparent)]
    Images(#[from] DataError),
    /// There are not so many networks.
    #[error("--shapes {0}: the space has {1} networks")]
    Shapes(usize, u64),
}

impl Making {
    /// Where the images are, if nobody says: where Debian's package has them.
    pub fn usual_folder() -> PathBuf {
        FASHION.into()
    }

    /// Reads the images in a folder.
    ///
    /// # Errors
    /// Images that are missing or others, and the package that has the right ones.
    pub fn new(images: &Path, shapes: Option<usize>, seeds: Option<u64>) -> Result<Self, MakingError> {
        let all = digits_wrn::space().size().unwrap_or(0);
        let shapes = shapes.unwrap_or(SHAPES);
        if shapes as u64 > all {
            return Err(MakingError::Shapes(shapes, all));
        }
        Ok(Self { data: fashion(images, &mut |_| {})?, shapes, seeds: seeds.unwrap_or(SEEDS) })
    }

    /// How many trainings there are, and how many minutes of one core they take, about.
    pub fn expected(&self) -> (u64, f64) {
        let trainings = self.shapes as u64 * self.seeds;
        (trainings, trainings as f64 * SECONDS / 60.0)
    }

    fn plan(&self) -> Plan {
        Plan {
            name: BENCHMARK,
            space: digits_wrn::space(),
            shapes: Some(self.shapes),
            data: self.data.clone(),
            recipe: recipe(),
            questions: questions(),
            seeds: self.seeds,
            fidelities: Vec::new(),
            metric_info: |name| digits_wrn::describe(name, recipe().epochs, &questions()),
            source: "Fashion-MNIST, means of 2×2 pixels",
            licence: "MIT, as the images: Fashion-MNIST, copyright 2017 Zalando SE, arXiv 1708.07747",
        }
    }

    /// Trains and measures the networks, see [`Plan::generate`].
    ///
    /// # Errors
    /// Says why it stopped; the journal then holds what was trained.
    pub fn generate(
        &self,
        journal: &Path,
        stop: &AtomicBool,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Generated, GenerateError> {
        self.plan().generate(journal, stop, progress)
    }

    /// Trains some of a table's networks again, see [`Plan::retrain`].
    ///
    /// # Errors
    /// A network that fails.
    pub fn retrain(
        &self,
        benchmark: &Benchmark,
        trainings: usize,
        draw: u64,
    ) -> Result<Vec<Check>, TrainingError> {
        let seeds = benchmark.metric("val/clean").map_or(1, |metric| metric.seeds() as u64);
        Plan { seeds, ..self.plan() }.retrain(benchmark, trainings, draw)
    }
}
