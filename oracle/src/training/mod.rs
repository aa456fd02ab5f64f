//! The oracle that trains: from an architecture and a data set to what the trained network is good for.
//!
//! [`data`] has the images, [`model`] makes a network of an architecture, [`Network`] trains it and asks it, and
//! [`measure`] puts these together into one measurement. [`ops`] is the hot path.

pub mod attack;
mod checkpoint;
pub mod corruption;
mod counts;
pub mod data;
mod fit;
pub mod inherit;
pub mod measure;
pub mod model;
pub mod ops;
mod oracle;
pub mod robustness;
mod sgd;
mod shared;
mod untrained;

pub use counts::Counts;
pub use fit::{Adversarial, Fit, Network, Recipe, Score, Steps};
pub use oracle::TrainingOracle;
pub use shared::{
    METRIC_ACCURACY, OnSharedWeights, SharedFileError, SharedOracle, SharedSettings, SharedWeights,
};
pub use untrained::{Proxies, Proxy};

/// Why a training gives no measurement.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// The loss is not a number any more.
    #[error("the training diverged in epoch {epoch} of {epochs}: its loss is not a number any more")]
    Diverged {
        /// When, counted from 1.
        epoch: usize,
        /// Of how many.
        epochs: usize,
    },
    /// A trained network says what is no number.
    #[error("the trained network says what is no number of image {image}")]
    NoNumber {
        /// The image of its split, from 0.
        image: usize,
    },
    /// Somebody asked to stop.
    #[error("the training was stopped")]
    Stopped,
    /// There is not one batch.
    #[error("{images} training images do not make one batch of {batch}")]
    TooFewImages {
        /// How many there are.
        images: usize,
        /// How many a batch takes.
        batch: usize,
    },
    /// It cannot be left for a longer one to go on from.
    #[error("cannot write {path}: {source}")]
    Checkpoint {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The network could not be built or run.
    #[error("the network failed: {0}")]
    Network(#[from] candle_core::Error),
}

#[cfg(test)]
mod tests {
    use super::{attack::Attack, data::Split, measure::Questions, model::Scale, *};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use srnas_space::SearchSpace;
    use std::sync::{Arc, atomic::AtomicBool};

    fn space() -> Arc<SearchSpace> {
        SearchSpace::named("nb201").unwrap()
    }

    fn recipe(epochs: usize) -> Recipe {
        Recipe {
            scale: Scale { width: 4, stages: 2, cells: 1 },
            epochs,
            batch: 64,
            ..crate::digits::recipe()
        }
    }

    const CELL: [u8; 6] = [3, 1, 3, 1, 2, 4];

    fn trained(choices: &[u8], recipe: &Recipe, seed: u64) -> (Network, data::ImageSet) {
        let (data, mut rng) = (data::digits(), ChaCha8Rng::seed_from_u64(seed));
        let mut network = Network::new(&space(), choices, &data, recipe.scale, &mut rng).unwrap();
        network.fit(&data, recipe, &mut rng, |_, _| Ok(())).unwrap();
        (network, data)
    }

    #[test]
    fn digits_are_learned_and_equal_seeds_give_equal_networks() {
        let score = |seed| {
            let (mut network, data) = trained(&CELL, &recipe(12), seed);
            network.score(&data, &data.validation, |_, _| {}).unwrap()
        };
        let (one, other) = (score(1), score(2));
        assert!(one.accuracy > 0.7, "{one:?}");
        assert_eq!(one, score(1));
        assert_ne!(one, other);
    }

    #[test]
    fn a_cell_without_a_path_says_the_same_of_every_image() {
        let (mut network, data) = trained(&[0, 0, 3, 0, 0, 3], &recipe(2), 1);
        let score = network.score(&data, &data.test, |_, _| {}).unwrap();
        assert!(score.accuracy < 0.15 && (score.loss - 10f64.ln()).abs() < 0.1, "{score:?}");
        // Nothing in the cell is computed: stem, reduction and classifier alone.
        assert_eq!(network.parameter_count(), 1078);
        let attacked =
            network.score_attacked(&data, &data.test, Attack { epsilon: 0.1, steps: 5 }, 1).unwrap();
        assert_eq!(attacked, score);
    }

    #[test]
    fn attacks_stay_in_their_ball_and_stronger_ones_do_more() {
        let (mut network, data) = trained(&CELL, &recipe(12), 1);
        let indices: Vec<usize> = (0..100).collect();
        let batch = data.batch(&data.test, &indices, |_, _| {});
        let mut accuracies = Vec::new();
        for attack in [
            Attack { epsilon: 0.05, steps: 1 },
            Attack { epsilon: 0.05, steps: 5 },
            Attack { epsilon: 0.1, steps: 5 },
        ] {
            let moved = attack.on(&mut network, &batch, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
            assert_ne!(moved.pixels, batch.pixels);
            let far = moved.pixels.iter().zip(&batch.pixels).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(far <= attack.epsilon + 1e-6 && moved.pixels.iter().all(|p| (0.0..=1.0).contains(p)));
            accuracies.push(network.score_attacked(&data, &data.test, attack, 1).unwrap().accuracy);
        }
        let clean = network.score(&data, &data.test, |_, _| {}).unwrap().accuracy;
        assert!(
            clean > accuracies[0] && accuracies[0] >= accuracies[1] && accuracies[1] > accuracies[2],
            "{clean} {accuracies:?}"
        );
    }

    #[test]
    fn adversarial_training_makes_robust() {
        let attack = Attack { epsilon: 0.1, steps: 2 };
        let robust = |adversarial| {
            let scale = Scale { width: 8, stages: 2, cells: 1 };
            let recipe = Recipe { scale, augmentations: vec![], adversarial, ..recipe(12) };
            let (mut network, data) = trained(&CELL, &recipe, 1);
            network.score_attacked(&data, &data.test, Attack { epsilon: 0.1, steps: 5 }, 1).unwrap().accuracy
        };
        let plain = robust(None);
        let (pgd, trades) = (
            robust(Some(Adversarial::Pgd { attack })),
            robust(Some(Adversarial::Trades { attack, beta: 6.0 })),
        );
        assert!(pgd > plain + 0.05 && trades > plain + 0.05, "plain {plain}, PGD {pgd}, TRADES {trades}");
    }

    #[test]
    fn a_training_that_diverges_is_an_infeasible_answer() {
        use crate::costly::{Answer, CostlyOracle};
        use srnas_task::Training;
        let wild = Recipe { learning_rate: 1e30, ..recipe(4) };
        let oracle = TrainingOracle::new(space(), data::digits(), wild, Questions::default(), 1).unwrap();
        match oracle.measure(&Training::full(CELL.to_vec()), &AtomicBool::new(false)).unwrap() {
            Answer::Infeasible(reason) => assert!(reason.contains("diverged in epoch 1 of 4"), "{reason}"),
            Answer::Metrics(metrics) => panic!("{metrics:?}"),
        }
    }

    #[test]
    fn a_training_in_parts_says_what_one_at_once_says_and_pays_for_the_rest() {
        use crate::costly::{Answer, CostlyOracle, RESUMED_FROM};
        use srnas_task::{Fidelity, Training};
        let questions =
            Questions { attacks: vec![Attack { epsilon: 0.1, steps: 2 }], ..Questions::default() };
        let oracle =
            |recipe| TrainingOracle::new(space(), data::digits(), recipe, questions.clone(), 1).unwrap();
        let make = || oracle(Recipe { continue_shorter: true, ..recipe(6) });
        let said = |oracle: &TrainingOracle, fidelity| {
            let training = Training { choices: CELL.to_vec(), fidelity };
            let answer = oracle.measure(&training, &AtomicBool::new(false)).unwrap();
            let Answer::Metrics(mut metrics) = answer else { panic!("{answer:?}") };
            metrics.retain(|name, _| !name.starts_with("cost/"));
            metrics
        };
        let mut whole = make();
        let at_once = said(&whole, Fidelity::Full);
        let folder = tempfile::tempdir().unwrap();
        whole = whole.with("epochs=2,4,6".parse().unwrap()).unwrap();
        whole.keep_in(folder.path().into()).unwrap();
        let short = said(&whole, Fidelity::Shorter(0));
        assert_ne!(short["val/loss"], at_once["val/loss"]);
        let middle = said(&whole, Fidelity::Shorter(1));
        assert_eq!(middle[RESUMED_FROM], 2.0);
        whole.kept(&Training::shorter(CELL.to_vec(), 1));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let mut rest = said(&whole, Fidelity::Full);
        assert_eq!(rest.remove(RESUMED_FROM), Some(4.0));
        assert_eq!(rest, at_once);
        // With schedules of their own they are the trainings of a shorter recipe.
        let mut annealed = oracle(recipe(6)).with("epochs=2,6".parse().unwrap()).unwrap();
        annealed.keep_in(folder.path().join("not")).unwrap();
        assert_eq!(said(&annealed, Fidelity::Shorter(0)), said(&oracle(recipe(2)), Fidelity::Full));
        assert_eq!(said(&annealed, Fidelity::Full), at_once);
        // What cannot be read is trained anew.
        let left = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let bytes = std::fs::read(&left).unwrap();
        for damaged in [&bytes[..bytes.len() / 2], b"no training"] {
            std::fs::write(&left, damaged).unwrap();
            assert_eq!(said(&whole, Fidelity::Full), at_once);
        }
        for (text, says) in
            [("epochs=2,7", "has 6 epochs"), ("steps=2,6", "whole epochs"), ("epochs=2.5,6", "whole epochs")]
        {
            let error = make().with(text.parse().unwrap()).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_training_inherits_from_the_nearest_before_it_and_says_so_again() {
        use crate::costly::{Answer, CostlyOracle};
        use srnas_task::Training;
        let oracle = |folder: &std::path::Path| {
            let oracle = TrainingOracle::new(space(), data::digits(), recipe(6), Questions::default(), 1);
            let mut oracle = oracle.unwrap().with_heirs(2).unwrap();
            oracle.keep_in(folder.into()).unwrap();
            oracle
        };
        let said = |oracle: &TrainingOracle, choices: [u8; 6]| {
            let training = Training::full(choices.to_vec());
            let answer = oracle.measure(&training, &AtomicBool::new(false)).unwrap();
            let Answer::Metrics(mut metrics) = answer else { panic!("{answer:?}") };
            metrics.retain(|name, _| !name.starts_with("cost/"));
            metrics
        };
        let inherited =
            |of: &std::collections::BTreeMap<String, f64>| (of["inherited/edits"], of["inherited/epochs"]);
        let folder = tempfile::tempdir().unwrap();
        let first = oracle(folder.path());
        let simple = said(&first, [2, 0, 0, 1, 3, 0]);
        assert_eq!(inherited(&simple), (0.0, 6.0));
        let alone = TrainingOracle::new(space(), data::digits(), recipe(6), Questions::default(), 1).unwrap();
        assert_ne!(alone.identity(), first.identity());
        assert_eq!(said(&alone, [2, 0, 0, 1, 3, 0])["val/loss"], simple["val/loss"]);
        // No edit leads there.
        assert_eq!(inherited(&said(&first, [4, 0, 0, 1, 3, 0])), (0.0, 6.0));
        let child = said(&first, [3, 0, 0, 1, 3, 0]);
        assert_eq!(inherited(&child), (1.0, 2.0));
        // Nearer than the first is what came of it.
        assert_eq!(inherited(&said(&first, [3, 3, 0, 1, 3, 2])), (2.0, 2.0));
        // After a restart the same again, and never from itself.
        assert_eq!(said(&oracle(folder.path()), [3, 0, 0, 1, 3, 0]), child);
        // What cannot be read is left out.
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            std::fs::write(entry.unwrap().path(), b"no training").unwrap();
        }
        assert_eq!(inherited(&said(&oracle(folder.path()), [3, 0, 0, 1, 3, 0])), (0.0, 6.0));
        for (epochs, says) in [(6, "fewer"), (0, "fewer")] {
            let oracle = TrainingOracle::new(space(), data::digits(), recipe(6), Questions::default(), 1);
            assert!(oracle.unwrap().with_heirs(epochs).unwrap_err().contains(says));
        }
    }

    #[test]
    fn recipes_that_cannot_be_followed_are_refused() {
        let refused = |recipe: Recipe| {
            TrainingOracle::new(space(), data::digits(), recipe, Questions::default(), 1).unwrap_err()
        };
        for (recipe, says) in [
            (Recipe { batch: 65, ..recipe(1) }, "multiple of 64"),
            (Recipe { batch: 1024, ..recipe(1) }, "more than the 897"),
            (Recipe { epochs: 0, ..recipe(1) }, "epochs"),
            (Recipe { learning_rate: f32::NAN, ..recipe(1) }, "learning_rate"),
            (Recipe { scale: Scale { width: 0, stages: 1, cells: 1 }, ..recipe(1) }, "scale.width"),
        ] {
            let error = refused(recipe);
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn corruptions_change_images_within_range_and_repeat() {
        let data = data::digits();
        for corruption in corruption::Corruption::ALL {
            let apply = || {
                let mut rng = ChaCha8Rng::seed_from_u64(3);
                data.batch(&data.train, &[5], |_, image| corruption.apply(image, [8, 8], &mut rng))
            };
            let (once, before) = (apply(), data.batch(&data.train, &[5], |_, _| {}));
            assert_eq!(once, apply());
            assert_ne!(once.pixels, before.pixels, "{corruption:?} does nothing");
            assert!(once.pixels.iter().all(|p| (-1e-6..=1.0 + 1e-6).contains(p)), "{corruption:?}");
        }
    }

    #[test]
    fn a_batch_holds_images_with_their_batch_innermost() {
        let pixels: Vec<u8> = (0..3 * 4).collect();
        let split = Split { pixels, labels: vec![0, 1, 2] };
        let shape = model::Shape { channels: 1, size: [2, 2], classes: 3 };
        let set = data::ImageSet {
            name: "x".into(),
            shape,
            full: 1,
            train: split.clone(),
            validation: split.clone(),
            test: split,
        };
        let batch = set.batch(&set.train, &[2, 0], |_, _| {});
        assert_eq!((batch.width, batch.labels.as_slice()), (ops::BLOCK, &[2u8, 0][..]));
        let at = |pixel: usize, n: usize| batch.pixels[pixel * ops::BLOCK + n];
        assert_eq!([at(0, 0), at(3, 0), at(0, 1), at(3, 1), at(3, 2)], [8.0, 11.0, 0.0, 3.0, 0.0]);
    }
}
