//! Tables of wide residual networks that are no part of the program: who has the images makes them. Networks of the space of
//! [`digits_wrn`](crate::digits_wrn), trained and attacked in the same way. `docs/benchmarks/fashion-wrn.md` and `docs/benchmarks/cifar-wrn.md`
//! tell how, and what they are good for.

use crate::{
    benchmark::Benchmark,
    built_in::{
        GenerateError, Generated, Progress,
        images::{Header, Plan},
    },
    digits_wrn,
    training::{
        Adversarial, Recipe, TrainingError,
        attack::Attack,
        data::{DataError, FASHION, ImageSet, cifar10, cifar100, fashion},
        measure::Questions,
        model::Scale,
        robustness::Radius,
    },
    verify::Check,
};
use std::{
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

/// Networks, drawn from all of the space, where no number is given.
pub const SHAPES: usize = 260;
/// Trainings of each, with seeds counted from 0, where no number is given.
pub const SEEDS: u64 = 1;
/// Images of CIFAR's that a network is trained on where no number is given: of all 25,000 a table would take days of one core.
pub const CIFAR_TRAIN_IMAGES: usize = 5_000;
/// The first so many validation images, and test images, of CIFAR's are asked about: they say an accuracy to a point.
const CIFAR_ASKED: usize = 2_000;
/// Images of each split that are attacked where no number is given.
const ATTACK_IMAGES: usize = 96;
/// Networks that are timed to say beforehand how long all of them take.
const TIMED: usize = 8;

/// Reads a folder of images, and tells of each file before.
type Load = fn(&Path, &mut dyn FnMut(&Path)) -> Result<ImageSet, DataError>;

/// A table that the program makes of images which it has not.
#[derive(Debug)]
pub struct WrnTable {
    /// Its name.
    pub name: &'static str,
    /// What its images are called.
    pub images: &'static str,
    /// The folder that it needs, in words.
    pub needs: &'static str,
    /// Where they are if nobody says, if that is known.
    usual_folder: Option<&'static str>,
    load: Load,
    recipe: fn() -> Recipe,
    /// The radii of the attacks, in 255ths of the range of pixels.
    epsilon_255: [f32; 2],
    /// Images that are trained on where no number is given.
    train_images: usize,
    /// Images of the validation split, and of the test split, that are asked about.
    asked: usize,
    source: &'static str,
    licence: &'static str,
}

/// What is said of the images of CIFAR.
const CIFAR_LICENCE: &str = "of the scores: that of whoever made them; the images (A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, \
     2009) are published without a licence, and none of them is in here";

/// All of them, by name.
pub static ALL: [WrnTable; 3] = [
    WrnTable {
        name: "cifar10-wrn",
        images: "CIFAR-10",
        needs: "the folder that the published archive cifar-10-binary.tar.gz unpacks to",
        usual_folder: None,
        load: cifar10,
        recipe: cifar_recipe,
        epsilon_255: [4.0, 8.0],
        train_images: CIFAR_TRAIN_IMAGES,
        asked: CIFAR_ASKED,
        source: "CIFAR-10",
        licence: CIFAR_LICENCE,
    },
    WrnTable {
        name: "cifar100-wrn",
        images: "CIFAR-100",
        needs: "the folder that the published archive cifar-100-binary.tar.gz unpacks to",
        usual_folder: None,
        load: cifar100,
        recipe: cifar_recipe,
        epsilon_255: [4.0, 8.0],
        train_images: CIFAR_TRAIN_IMAGES,
        asked: CIFAR_ASKED,
        source: "CIFAR-100, its 100 fine classes",
        licence: CIFAR_LICENCE,
    },
    WrnTable {
        name: "fashion-wrn",
        images: "Fashion-MNIST",
        needs: "the folder with the four files of Fashion-MNIST, which the Debian package dataset-fashion-mnist has",
        usual_folder: Some(FASHION),
        load: fashion,
        recipe: fashion_recipe,
        epsilon_255: digits_wrn::EPSILON_255,
        train_images: 897,
        asked: 450,
        source: "Fashion-MNIST, means of 2×2 pixels",
        licence: "MIT, as the images: Fashion-MNIST, copyright 2017 Zalando SE, arXiv 1708.07747",
    },
];

/// As the networks of digits-wrn, in half the epochs: images have three times as many pixels.
fn fashion_recipe() -> Recipe {
    Recipe { epochs: 8, ..digits_wrn::recipe() }
}

/// As there, within the radius that is usual for CIFAR, of networks with a quarter of the published channels.
fn cifar_recipe() -> Recipe {
    let attack = Attack { epsilon: 8.0 / 255.0, steps: 3 };
    Recipe {
        scale: Scale { width: 4, ..digits_wrn::recipe().scale },
        epochs: 8,
        adversarial: Some(Adversarial::Trades { attack, beta: 6.0 }),
        ..digits_wrn::recipe()
    }
}

impl WrnTable {
    /// The one of this name.
    pub fn of(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|one| one.name == name)
    }

    /// Where its images are, if nobody says and that is known.
    pub fn usual_folder(&self) -> Option<PathBuf> {
        self.usual_folder.map(PathBuf::from)
    }

    /// The questions of digits-wrn, within the radii of this table, on so many attacked images.
    fn questions(&self, attacked: usize) -> Questions {
        let mut questions = digits_wrn::questions();
        if let Some(robustness) = &mut questions.robustness {
            robustness.epsilon =
                self.epsilon_255.map(|of| Radius::new(of / 255.0).expect("within the range")).to_vec();
            robustness.images = Some(attacked);
        }
        questions
    }
}

/// How much of a table is made; what is not said is as the table usually is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    /// Networks.
    pub shapes: Option<usize>,
    /// Trainings of each.
    pub seeds: Option<u64>,
    /// Images that are trained on.
    pub train_images: Option<usize>,
    /// Images of each split that are attacked.
    pub attack_images: Option<usize>,
}

impl Size {
    /// That of a table that was made, as it says itself.
    pub fn of(benchmark: &Benchmark) -> Self {
        let header = Header::of(benchmark);
        Self {
            shapes: None,
            seeds: benchmark.metric("val/clean").ok().map(|metric| metric.seeds() as u64),
            train_images: header.as_ref().and_then(|header| header.train_images),
            attack_images: header.and_then(|header| header.questions.robustness?.images),
        }
    }

    fn shapes(&self) -> Result<usize, MakingError> {
        let all = digits_wrn::space().size().unwrap_or(0);
        match self.shapes.unwrap_or(SHAPES) {
            shapes if shapes as u64 > all => Err(MakingError::Shapes(shapes, all)),
            shapes => Ok(shapes),
        }
    }
}

/// A table, to be made of somebody's images.
#[derive(Clone, Debug)]
pub struct Making {
    table: &'static WrnTable,
    data: ImageSet,
    shapes: usize,
    seeds: u64,
    attack_images: usize,
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
    /// There are not so many images, or too few are wanted.
    #[error("{option} {wanted}: {images} has {most} images for that, and it takes {least} at least")]
    Count {
        /// Where it is said.
        option: &'static str,
        /// How many are wanted.
        wanted: usize,
        /// What the images are called.
        images: &'static str,
        /// All that there are.
        most: usize,
        /// The fewest.
        least: usize,
    },
}

impl Making {
    /// Reads the images in a folder.
    ///
    /// # Errors
    /// Images that are missing or others, and where the right ones are to be had; more of something than there is.
    pub fn new(table: &'static WrnTable, images: &Path, size: Size) -> Result<Self, MakingError> {
        // Before hundreds of megabytes are read.
        size.shapes()?;
        Self::of_data(table, (table.load)(images, &mut |_| {})?, size)
    }

    fn of_data(table: &'static WrnTable, data: ImageSet, size: Size) -> Result<Self, MakingError> {
        let shapes = size.shapes()?;
        let within = |option, wanted: usize, least: usize, most: usize| {
            let wrong = MakingError::Count { option, wanted, images: table.images, most, least };
            if (least..=most).contains(&wanted) { Ok(wanted) } else { Err(wrong) }
        };
        let train_images = size.train_images.unwrap_or(table.train_images);
        let batch = (table.recipe)().batch;
        let train_images = within("--train-images", train_images, batch, data.train.len())?;
        let data = data.first([train_images, table.asked, table.asked]);
        let attack_images = size.attack_images.unwrap_or(ATTACK_IMAGES);
        let both = data.validation.len().min(data.test.len());
        let attack_images = within("--attack-images", attack_images, 1, both)?;
        let seeds = size.seeds.unwrap_or(SEEDS);
        Ok(Self { table, data, shapes, seeds, attack_images })
    }

    /// How many trainings there are.
    pub fn trainings(&self) -> u64 {
        self.shapes as u64 * self.seeds
    }

    /// Images that each is trained on, and that are attacked of each split.
    pub fn images(&self) -> [usize; 2] {
        [self.data.train.len(), self.attack_images]
    }

    /// How many seconds of one core they take at most, by the clock: what some of the networks take here for a step of training and for a look at
    /// images, times how often. What falls to an attack is looked at no more, so that it may be less.
    ///
    /// # Errors
    /// A network that fails.
    pub fn seconds(&self) -> Result<f64, TrainingError> {
        Ok(self.plan().seconds(TIMED)? * self.trainings() as f64)
    }

    fn plan(&self) -> Plan {
        let recipe = (self.table.recipe)();
        let questions = self.table.questions(self.attack_images);
        let (epochs, asked) = (recipe.epochs, questions.clone());
        let images = [self.data.validation.len(), self.data.test.len()];
        Plan {
            name: self.table.name,
            space: digits_wrn::space(),
            shapes: Some(self.shapes),
            data: self.data.clone(),
            train_images: Some(self.data.train.len()),
            recipe,
            questions,
            seeds: self.seeds,
            fidelities: Vec::new(),
            metric_info: Box::new(move |name| digits_wrn::describe(name, epochs, images, &asked)),
            source: self.table.source,
            licence: self.table.licence,
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
        self.plan().retrain(benchmark, trainings, draw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::{data::Split, model::Shape};
    use std::sync::atomic::Ordering;

    /// Images of CIFAR's form, of which each class is brighter than the one before.
    fn images(images: [usize; 3]) -> ImageSet {
        let split = |images: usize| {
            let labels: Vec<u8> = (0..images).map(|image| (image % 10) as u8).collect();
            let pixel = |image: usize, at: usize| (image % 10 * 20 + (image * 31 + at * 17) % 40) as u8;
            let pixels = (0..images).flat_map(|image| (0..3072).map(move |at| pixel(image, at))).collect();
            Split { pixels, labels }
        };
        let shape = Shape { channels: 3, size: [32; 2], classes: 10 };
        let [train, validation, test] = images.map(split);
        ImageSet { name: "cifar10".into(), shape, full: 255, train, validation, test }
    }

    fn making(size: Size) -> Result<Making, MakingError> {
        Making::of_data(WrnTable::of("cifar10-wrn").unwrap(), images([80, 70, 66]), size)
    }

    const SIZE: Size = Size { shapes: Some(2), seeds: None, train_images: Some(64), attack_images: Some(3) };

    /// As it is made, but for one epoch and one attack: the others take a minute of a core.
    fn quickly(making: &Making) -> Plan {
        let mut plan = making.plan();
        plan.recipe.epochs = 1;
        plan.questions.corruptions.truncate(1);
        plan.questions.robustness.as_mut().unwrap().attacks.truncate(1);
        plan
    }

    #[test]
    fn a_table_of_cifar_is_made_over_a_stop_and_trained_again_as_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("cifar10-wrn.trainings.jsonl");
        let small = making(SIZE).unwrap();
        assert_eq!((small.trainings(), small.images()), (2, [64, 3]));
        let stop = AtomicBool::new(false);
        let after_one = |progress: Progress| stop.store(progress.done == 1, Ordering::Relaxed);
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let stopped = one.install(|| quickly(&small).generate(&journal, &stop, &after_one)).err().unwrap();
        assert!(matches!(stopped, GenerateError::Stopped { done: 1, total: 2 }), "{stopped}");
        // What was trained on other images is not gone on with.
        let other = making(Size { train_images: Some(80), ..SIZE }).unwrap();
        let going_on = AtomicBool::new(false);
        let refused = quickly(&other).generate(&journal, &going_on, &|_| {}).err().unwrap();
        assert!(matches!(refused, GenerateError::OtherRecipe { .. }), "{refused}");
        let made = quickly(&small).generate(&journal, &going_on, &|_| {}).unwrap();
        assert_eq!((made.trained, made.benchmark.rows()), (2, 1458));
        let file = folder.path().join("cifar10-wrn.safetensors");
        made.benchmark.write(&file).unwrap();
        let table = Benchmark::open(&file).unwrap();
        let about = |name: &str| table.metric(name).unwrap().info().description.clone();
        assert_eq!(about("val/clean"), "accuracy on 70 validation images after 8 epochs");
        assert_eq!(about("test/noise"), "accuracy on 66 test images under noise");
        assert!(about("test/worst@8").contains("8/255") && about("test/worst@8").contains("first 3 test"));
        assert!(table.metric("val/worst@4").is_ok());
        let again = making(Size::of(&table)).unwrap();
        assert_eq!((again.images(), again.seeds), ([64, 3], 1));
        let checks = quickly(&again).retrain(&table, 1, 1).unwrap();
        assert!(checks.iter().all(|check| check.ok), "{checks:?}");
    }

    #[test]
    fn more_of_something_than_there_is_is_refused() {
        for (size, says) in [
            (Size { shapes: Some(1459), ..SIZE }, "--shapes 1459: the space has 1458 networks"),
            (Size { train_images: Some(81), ..SIZE }, "--train-images 81: CIFAR-10 has 80 images"),
            (Size { train_images: Some(63), ..SIZE }, "takes 64 at least"),
            (Size { attack_images: Some(67), ..SIZE }, "--attack-images 67: CIFAR-10 has 66 images"),
            (Size { attack_images: Some(0), ..SIZE }, "takes 1 at least"),
            (Size { train_images: None, ..SIZE }, "--train-images 5000"),
        ] {
            let error = making(size).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    /// The time of a table does not depend on what is in its images.
    #[test]
    #[ignore = "prints how long a table of CIFAR takes on this machine"]
    #[expect(clippy::print_stderr, reason = "a figure for a person")]
    fn how_long_a_table_of_cifar_takes() {
        let table = WrnTable::of("cifar10-wrn").unwrap();
        let whole = Making::of_data(table, images([CIFAR_TRAIN_IMAGES, 2_000, 2_000]), Size::default());
        let seconds = whole.unwrap().seconds().unwrap();
        eprintln!("at most {:.1} hours of one core", seconds / 3600.0);
    }
}
