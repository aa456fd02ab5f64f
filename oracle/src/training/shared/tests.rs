use super::*;
use crate::training::{data, measure::Questions, measure::measure, model::Scale};
use std::sync::atomic::AtomicBool;

/// Convolutions on every edge, of both sizes; and another cell that has two of them.
const CONVOLUTIONS: [u8; 6] = [3, 2, 3, 2, 3, 2];
const OTHER: [u8; 6] = [3, 1, 3, 1, 4, 4];

fn weights(epochs: usize) -> SharedWeights {
    let recipe =
        Recipe { scale: Scale { width: 4, stages: 2, cells: 1 }, batch: 64, ..crate::digits::recipe() };
    let settings = SharedSettings { epochs, ..SharedSettings::default() };
    SharedWeights::new(crate::digits::space(), Arc::new(data::digits()), recipe, settings).unwrap()
}

fn train(weights: &mut SharedWeights, path: &Path) {
    weights.train(path, &AtomicBool::new(false), &mut |_| ()).unwrap();
}

#[test]
fn architectures_share_what_has_the_same_name_and_shape_and_all_of_it_is_trained() {
    let mut weights = weights(1);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let indices: Vec<usize> = (0..64).collect();
    weights.step(&CONVOLUTIONS, &indices, 0.1, &mut rng).unwrap();
    let first = weights.shared.clone();
    // No gradient is lost on the way.
    assert!(first.values().all(|shared| shared.velocity.iter().any(|v| *v != 0.0)));
    let name = |name: &str, shape: &[usize]| (format!("stage0.cell0.{name}.weight"), shape.to_vec());
    assert!(
        first.contains_key(&name("0>1", &[4, 4, 3, 3])) && first.contains_key(&name("0>2", &[4, 4, 1, 1]))
    );
    assert!(!first.contains_key(&name("0>1", &[4, 4, 1, 1])));
    weights.step(&OTHER, &indices, 0.1, &mut rng).unwrap();
    // The other cell has two of the convolutions and none that are new; what it has not stays.
    assert_eq!(weights.shared.len(), first.len());
    for (name, shared) in &weights.shared {
        let cell = name.0.split_once(".cell0.").map(|(_, rest)| &rest[..3]);
        let trained = cell.is_none_or(|edge| ["0>1", "1>2"].contains(&edge));
        assert_eq!(*shared != first[name], trained, "{name:?}");
    }
    // A convolution of the other size on the same edge is another parameter.
    weights.step(&[2, 0, 0, 0, 1, 0], &indices, 0.1, &mut rng).unwrap();
    assert!(weights.shared.contains_key(&name("0>1", &[4, 4, 1, 1])));
}

#[test]
fn on_the_weights_of_one_architecture_it_is_worth_what_it_is_alone() {
    let mut weights = weights(1);
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut order: Vec<usize> = (0..weights.data.train.len()).collect();
    let epochs = 12;
    for epoch in 0..epochs {
        order.shuffle(&mut rng);
        for indices in order.chunks_exact(64) {
            let rate = weights.recipe.rate(epoch as f64 / epochs as f64);
            weights.step(&CONVOLUTIONS, indices, rate, &mut rng).unwrap();
        }
    }
    let recipe = Recipe { epochs, ..weights.recipe.clone() };
    let stop = AtomicBool::new(false);
    let alone =
        measure(&weights.space, &CONVOLUTIONS, &weights.data, &recipe, &Questions::default(), 3, &stop);
    let (alone, shared) = (alone.unwrap().validation.clean.accuracy, weights.ask(&CONVOLUTIONS).unwrap());
    assert!(
        shared.score.accuracy > 0.7 && (shared.score.accuracy - alone).abs() < 0.08,
        "{shared:?} {alone}"
    );
    // What was never trained with them is worth less, and asking changes nothing.
    assert!(weights.ask(&OTHER).unwrap().score.accuracy < shared.score.accuracy);
    assert_eq!(weights.ask(&CONVOLUTIONS).unwrap(), shared);
}

#[test]
fn what_is_trained_in_parts_is_what_is_trained_at_once_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let mut at_once = weights(5);
    train(&mut at_once, &whole);
    let mut first = weights(5);
    let stop = AtomicBool::new(false);
    let stopped = first.train(&parts, &stop, &mut |epoch| stop.store(epoch == 2, Ordering::Relaxed));
    assert!(matches!(stopped, Err(SharedFileError::Training(TrainingError::Stopped))));
    first = weights(5);
    first.load(&parts).unwrap();
    assert_eq!(first.progress.epochs, 2);
    first = weights(5);
    first.train(&parts, &AtomicBool::new(false), &mut |_| ()).unwrap();
    assert_eq!((&first.shared, &first.progress), (&at_once.shared, &at_once.progress));
    // Another that finds the file trains nothing.
    let mut again = weights(5);
    let mut epochs = 0;
    again.train(&whole, &AtomicBool::new(false), &mut |_| epochs += 1).unwrap();
    assert_eq!((epochs, &again.shared), (0, &at_once.shared));
    assert_eq!(again.ask(&OTHER).unwrap(), at_once.ask(&OTHER).unwrap());
    // Some of the validation images, the same for all.
    let settings = SharedSettings { images: 100, epochs: 5, ..SharedSettings::default() };
    let (data, recipe) = (again.data.clone(), again.recipe.clone());
    let mut few = SharedWeights::new(again.space.clone(), data, recipe, settings).unwrap();
    train(&mut few, &whole);
    assert_eq!((few.asked.len(), few.shared == at_once.shared), (100, true));
    let share = few.ask(&OTHER).unwrap().score.accuracy * 100.0;
    assert!((share - share.round()).abs() < 1e-9, "{share}");
}

#[test]
fn a_file_of_other_weights_or_none_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    train(&mut weights(1), &path);
    let bytes = std::fs::read(&path).unwrap();
    let refused = |mut weights: SharedWeights| {
        let checked = weights.check_file(&path).unwrap_err().to_string();
        let error = weights.train(&path, &AtomicBool::new(false), &mut |_| ()).unwrap_err().to_string();
        assert_eq!(error, checked);
        error
    };
    assert!(refused(weights(2)).contains("`epochs` differs: 1 there, 2 here"));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    for damaged in [&bytes[..40], b"no weights", b""] {
        std::fs::write(&path, damaged).unwrap();
        assert!(refused(weights(1)).contains("no shared weights that can be read"));
    }
    std::fs::write(&path, &bytes[..bytes.len() - 8]).unwrap();
    assert!(weights(1).train(&path, &AtomicBool::new(false), &mut |_| ()).is_err());
}

#[test]
fn settings_that_cannot_be_followed_are_refused() {
    let data = data::digits();
    for (settings, says) in [
        (SharedSettings { epochs: 0, ..SharedSettings::default() }, "epochs must be at least 1"),
        (SharedSettings { calibration: 0, ..SharedSettings::default() }, "multiple of 64"),
        (SharedSettings { calibration: 100, ..SharedSettings::default() }, "multiple of 64"),
        (SharedSettings { calibration: 1024, ..SharedSettings::default() }, "at most the 897"),
        (SharedSettings { images: 451, ..SharedSettings::default() }, "more than the 450"),
    ] {
        assert!(settings.check(&data).unwrap_err().contains(says), "{settings:?}");
    }
    let darts = SearchSpace::named("darts").unwrap();
    let refused =
        SharedWeights::new(darts, Arc::new(data), crate::digits::recipe(), SharedSettings::default());
    assert!(refused.err().unwrap().contains("darts share no weights"));
}
