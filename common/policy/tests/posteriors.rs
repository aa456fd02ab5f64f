//! The incremental posteriors against their formulas, computed densely and from nothing.

use proptest::prelude::*;
use srnas_predictor::{Form, Forms, Kernel, Kind, PosteriorSettings, Predictor, Prior, WholeSpace};
use srnas_space::SearchSpace;
use std::sync::Arc;

const SIZE: usize = 15_625;

fn prior() -> Arc<Prior> {
    let families = ["a", "b", "c"].map(String::from).to_vec();
    let values = (0..3 * SIZE)
        .map(|i| {
            let (task, rank) = (i / SIZE, i % SIZE);
            ((rank as f32 * 0.001 * (task as f32 + 1.0)).sin() - 0.5 * task as f32).clamp(-3.0, 1.0)
        })
        .collect();
    Arc::new(Prior::new(families.clone(), families, SIZE, values).unwrap())
}

fn choices(space: &SearchSpace, rank: usize) -> Vec<u8> {
    let mut choices = vec![0; space.len()];
    space.unrank(rank as u64, &mut choices);
    choices
}

/// Plain kernel between two ranks.
fn plain_kernel(space: &SearchSpace, settings: &PosteriorSettings, a: usize, b: usize) -> f64 {
    let kernel = Kernel::new(&settings.plain, space);
    let (mut forms, mut form) = (Forms::new(space, 1), Form::new(space));
    form.assign(space, &choices(space, a));
    forms.set(0, &form);
    form.assign(space, &choices(space, b));
    let mut row = [0.0];
    kernel.row(&forms, 0, &form, &mut row);
    f64::from(row[0])
}

fn transfer_kernel(
    space: &SearchSpace,
    s: &PosteriorSettings,
    prior: &Prior,
    w: &[f32],
    a: usize,
    b: usize,
) -> f64 {
    let z = |t: usize, r: usize| f64::from(prior.of_task(t)[r]);
    let mean = |r: usize| (0..3).map(|t| f64::from(w[t]) * z(t, r)).sum::<f64>();
    let kept = w.iter().filter(|&&w| w > 0.0).count() as f64;
    let features: f64 =
        (0..3).filter(|&t| w[t] > 0.0).map(|t| (z(t, a) - mean(a)) * (z(t, b) - mean(b)) / kept).sum();
    let t = &s.transfer;
    features
        + f64::from(t.slope).powi(2) * mean(a) * mean(b)
        + f64::from(t.residual) * plain_kernel(space, s, a, b)
        + f64::from(t.constant)
}

/// Solves K x = y by Gaussian elimination.
fn solve(mut k: Vec<Vec<f64>>, mut y: Vec<f64>) -> Vec<f64> {
    let n = y.len();
    for i in 0..n {
        let pivot = k[i].clone();
        for j in i + 1..n {
            let factor = k[j][i] / pivot[i];
            k[j].iter_mut().zip(&pivot).for_each(|(v, p)| *v -= factor * p);
            y[j] -= factor * y[i];
        }
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|c| k[i][c] * y[c]).sum();
        y[i] = (y[i] - known) / k[i][i];
    }
    y
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// One transfer posterior, of the tables as they are.
fn as_they_are() -> PosteriorSettings {
    let mut settings = PosteriorSettings::default();
    settings.transfer.smoothing = 0.0;
    settings
}

/// Mean and deviation of both posteriors at `x` by the formulas.
fn dense(measured: &[(usize, f32)], w: &[f32], x: usize) -> [(f64, f64); 2] {
    let space = SearchSpace::named("nb201").unwrap();
    let (s, prior, n) = (as_they_are(), prior(), measured.len());
    let y: Vec<f64> = measured.iter().map(|m| f64::from(m.1)).collect();
    let mean = y.iter().sum::<f64>() / n as f64;
    let deviation = (y.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64).sqrt();
    let deviation = if deviation > 1e-9 { deviation } else { 1.0 };
    let z: Vec<f64> = y.iter().map(|v| (v - mean) / deviation).collect();
    let gram = |kernel: &dyn Fn(usize, usize) -> f64, noise: f32| -> Vec<Vec<f64>> {
        let entry = |i: usize, j: usize| {
            kernel(measured[i].0, measured[j].0) + if i == j { f64::from(noise) } else { 0.0 }
        };
        (0..n).map(|i| (0..n).map(|j| entry(i, j)).collect()).collect()
    };
    let column = |kernel: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
        measured.iter().map(|m| kernel(m.0, x)).collect()
    };
    let plain = |a: usize, b: usize| plain_kernel(&space, &s, a, b);
    let (k, kx) = (gram(&plain, s.plain.noise), column(&plain));
    let amplitude = (dot(&z, &solve(k.clone(), z.clone())) + 1.0) / (n as f64 + 1.0);
    let plain_mean = dot(&kx, &solve(k.clone(), z.clone()));
    let plain_variance = amplitude * (plain(x, x) - dot(&kx, &solve(k, kx.clone())));

    let transfer = |a: usize, b: usize| transfer_kernel(&space, &s, &prior, w, a, b);
    let prior_mean = |r: usize| (0..3).map(|t| f64::from(w[t]) * f64::from(prior.of_task(t)[r])).sum::<f64>();
    let (k, kx) = (gram(&transfer, s.transfer.noise), column(&transfer));
    let m: Vec<f64> = measured.iter().map(|p| prior_mean(p.0)).collect();
    let a = dot(&z, &solve(k.clone(), z.clone()));
    let b = dot(&z, &solve(k.clone(), m.clone()));
    let root = (b * b + 4.0 * a * n as f64).sqrt();
    let u = if n == 1 { 1.0 } else { ((b + root) / (2.0 * a).max(1e-12)).min(3.0) };
    let rest: Vec<f64> = z.iter().zip(&m).map(|(z, m)| u * z - m).collect();
    let transfer_mean = prior_mean(x) + dot(&kx, &solve(k.clone(), rest));
    let transfer_variance = transfer(x, x) - dot(&kx, &solve(k, kx.clone()));
    [(plain_mean, plain_variance.max(1e-6).sqrt()), (transfer_mean, transfer_variance.max(1e-6).sqrt())]
}

fn close(found: f32, expected: f64) -> bool {
    (f64::from(found) - expected).abs() < 5e-3 * expected.abs().max(1.0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn incremental_posteriors_equal_the_formulas(
        ranks in proptest::collection::btree_set(0usize..SIZE, 1..14),
        seed in 0u32..1000,
        left_out in 0usize..4,
        slots in proptest::collection::vec(0usize..SIZE, 4),
        placed_after in 0usize..14,
    ) {
        let space = SearchSpace::named("nb201").unwrap();
        let prior = prior();
        let w = prior.weights(|t| t != left_out);
        let measured: Vec<(usize, f32)> =
            ranks.iter().map(|&r| (r, 60.0 + ((r as u32 * 7 + seed) % 97) as f32 * 0.01)).collect();
        let mut predictor =
            Predictor::sampled(space.clone(), as_they_are(), Some(prior), 20, slots.len());
        predictor.restart(&w);
        // Slots that come late must end where slots that were there from the start end.
        let all: Vec<u8> = slots.iter().flat_map(|&r| choices(&space, r)).collect();
        let slot_ranks: Vec<u64> = slots.iter().map(|&r| r as u64).collect();
        for (i, &(r, value)) in measured.iter().enumerate() {
            if i == placed_after.min(measured.len() - 1) {
                predictor.place(0, &all, &slot_ranks);
            }
            predictor.observe(&choices(&space, r), r as u64, value);
        }
        let beliefs = predictor.beliefs();
        for (slot, &r) in slots.iter().enumerate() {
            let expected = dense(&measured, &w, r);
            for (kind, (mean, deviation)) in [Kind::Plain, Kind::Transfer].into_iter().zip(expected) {
                let found = beliefs.of(kind, slot);
                prop_assert!(close(found.0, mean), "{kind:?} mean {} instead of {mean}", found.0);
                prop_assert!(close(found.1, deviation), "{kind:?} deviation {} instead of {deviation}", found.1);
            }
        }
    }
}

#[test]
fn a_posterior_that_cuts_is_that_of_the_cut_values() {
    let space = SearchSpace::named("nb201").unwrap();
    let mut cutting = PosteriorSettings::default();
    cutting.plain.cut = 1.0;
    let slots = [11usize, 4000, 9999, 15000];
    let all: Vec<u8> = slots.iter().flat_map(|&r| choices(&space, r)).collect();
    // Median 61, best 63: cut at 59.
    let values = [61.0, -500.0, 60.0, 63.0, 62.0, 10.0, 61.0f32];
    let believed = |settings: PosteriorSettings, floor: f32| -> Vec<(f64, f64)> {
        let mut predictor = Predictor::sampled(space.clone(), settings, None, values.len(), slots.len());
        for (i, value) in values.iter().enumerate() {
            let rank = 2000 * i;
            predictor.observe(&choices(&space, rank), rank as u64, value.max(floor));
        }
        // Placed last, so that what is measured is brought up to date too.
        predictor.place(0, &all, &slots.map(|r| r as u64));
        let b = predictor.beliefs();
        let of = |slot| b.of(Kind::Plain, slot);
        let unit = |(mean, deviation): (f32, f32)| {
            (b.centre + b.spread * f64::from(mean), b.spread * f64::from(deviation))
        };
        (0..slots.len()).map(of).map(unit).collect()
    };
    let (found, expected) = (believed(cutting, f32::MIN), believed(PosteriorSettings::default(), 59.0));
    for (found, expected) in found.iter().zip(&expected) {
        assert!(
            (found.0 - expected.0).abs() < 1e-3 && (found.1 - expected.1).abs() < 1e-3,
            "{found:?} {expected:?}"
        );
    }
    let uncut = believed(PosteriorSettings::default(), f32::MIN);
    assert!((found[0].1 - uncut[0].1).abs() > 1.0, "the low values set the scale where they are not cut");
}

#[test]
fn a_whole_space_says_the_same_as_a_pool_and_restarts_forget() {
    let space = SearchSpace::named("nb201").unwrap();
    let (settings, prior) = (PosteriorSettings::default(), prior());
    let whole = WholeSpace::new(&space).unwrap();
    let mut all = Predictor::whole(space.clone(), &whole, settings, Some(prior.clone()), 8);
    let mut pool = Predictor::sampled(space.clone(), settings, Some(prior.clone()), 8, 2);
    for round in 0..2u64 {
        let weights = prior.weights(|t| t as u64 != round);
        all.restart(&weights);
        pool.restart(&weights);
        let slots = [77u64, 9_000];
        let both: Vec<u8> = slots.iter().flat_map(|&r| choices(&space, r as usize)).collect();
        pool.place(0, &both, &slots);
        for k in 0..6u64 {
            let rank = (k * 2_311 + round * 17) % SIZE as u64;
            let c = choices(&space, rank as usize);
            all.observe(&c, rank, k as f32 * 0.3);
            pool.observe(&c, rank, k as f32 * 0.3);
        }
        for (slot, &rank) in slots.iter().enumerate() {
            for kind in [Kind::Plain, Kind::Transfer] {
                let (a, b) = (all.beliefs().of(kind, rank as usize), pool.beliefs().of(kind, slot));
                assert!((a.0 - b.0).abs() < 1e-3 && (a.1 - b.1).abs() < 1e-3, "{a:?} {b:?}");
            }
        }
    }
}

#[test]
fn after_another_prior_all_is_as_if_it_had_been_the_first() {
    let space = SearchSpace::named("nb201").unwrap();
    let whole = WholeSpace::new(&space).unwrap();
    let settings = PosteriorSettings::default();
    let mut other = settings;
    other.transfer.residual = 0.6;
    let measured: Vec<u64> = (0..5).map(|k| k * 2_311).collect();
    let observe = |predictor: &mut Predictor| {
        for (k, &rank) in measured.iter().enumerate() {
            predictor.observe(&choices(&space, rank as usize), rank, (k as f32 * 1.7).sin());
        }
    };
    let prior = prior();
    let one_task = Prior::new(vec!["x".into()], vec!["x".into()], SIZE, prior.of_task(1).to_vec()).unwrap();
    for (settings, prior) in [(other, Arc::new(one_task)), (settings, prior)] {
        let weights = prior.all();
        let mut fresh = Predictor::whole(space.clone(), &whole, settings, Some(prior.clone()), 8);
        fresh.restart(&weights);
        observe(&mut fresh);
        for first in [None, Some(self::prior())] {
            let mut changed = Predictor::whole(space.clone(), &whole, other, first, 8);
            observe(&mut changed);
            changed.beliefs();
            changed.change_prior(settings, prior.clone(), &weights);
            let (a, b) = (fresh.beliefs().clone(), changed.beliefs().clone());
            assert_eq!((a.plain_mean, a.plain_deviation), (b.plain_mean, b.plain_deviation));
            assert_eq!((a.transfer_mean, a.transfer_deviation), (b.transfer_mean, b.transfer_deviation));
            assert_eq!((a.evidence, a.scale), (b.evidence, b.scale));
        }
    }
}

#[test]
fn equal_values_and_a_single_one_give_finite_numbers() {
    let space = SearchSpace::named("nb201").unwrap();
    let prior = prior();
    let settings = PosteriorSettings::default();
    let mut predictor = Predictor::sampled(space.clone(), settings, Some(prior.clone()), 4, 1);
    predictor.restart(&prior.all());
    predictor.place(0, &choices(&space, 5), &[5]);
    for rank in [1u64, 2, 3] {
        predictor.observe(&choices(&space, rank as usize), rank, 7.0);
        let beliefs = predictor.beliefs();
        for kind in [Kind::Plain, Kind::Transfer] {
            let (mean, deviation) = beliefs.of(kind, 0);
            assert!(mean.is_finite() && deviation.is_finite() && deviation > 0.0);
        }
        assert!(beliefs.evidence.is_finite());
    }
}

#[test]
fn the_posterior_about_the_past_has_its_slope_and_leaves_a_past_that_says_nothing() {
    let space = SearchSpace::named("nb201").unwrap();
    let prior = prior();
    let whole = WholeSpace::new(&space).unwrap();
    let weights = prior.all();
    let past = |rank: usize| (0..3).map(|t| weights[t] * prior.of_task(t)[rank]).sum::<f32>();
    let ranks: Vec<usize> = (0..40).map(|i| i * 389 % SIZE).collect();
    let told_by = |cut: f32, value: &dyn Fn(usize) -> f32, n: usize| {
        let mut settings = PosteriorSettings::default();
        settings.plain.cut = cut;
        let mut predictor = Predictor::whole(space.clone(), &whole, settings, Some(prior.clone()), 40);
        for &rank in &ranks[..n] {
            predictor.observe(&choices(&space, rank), rank as u64, value(rank));
        }
        predictor
    };
    let told = |value: &dyn Fn(usize) -> f32, n: usize| told_by(1.0, value, n);
    // In other units: what was never measured is known.
    let value = |rank: usize| 90.0 + 4.0 * past(rank);
    let errors = |cut: f32| {
        let mut follows = told_by(cut, &value, 40);
        let (mean, deviation) = follows.about_the_past().unwrap();
        let beliefs = follows.beliefs();
        let plain: f32 = beliefs.plain_deviation.iter().sum();
        assert!(deviation.iter().all(|d| d.is_finite() && *d > 0.0));
        assert!(deviation.iter().sum::<f32>() < 0.5 * plain);
        // Above what is cut, below which all is the same.
        let known = (0..SIZE).step_by(97).filter(|&rank| past(rank) > -0.5);
        let error = |rank: usize| (mean[rank] - beliefs.standardise(value(rank))).abs();
        known.map(error).collect::<Vec<f32>>()
    };
    assert!(errors(0.0).iter().all(|error| *error < 0.02), "{:?}", errors(0.0));
    // Measurements and past are cut at medians of their own.
    let cut = errors(1.0);
    assert!(cut.len() > 50 && cut.iter().sum::<f32>() / (cut.len() as f32) < 0.1, "{cut:?}");
    // Too few to say, the opposite, what is the same everywhere, and what has nothing to do with it.
    assert!(told(&value, 3).about_the_past().is_none());
    assert!(told(&|rank| -past(rank), 40).about_the_past().is_none());
    assert!(told(&|_| 5.0, 40).about_the_past().is_none());
    assert!(told(&|rank| ((rank * 7_919) % 1_009) as f32, 40).about_the_past().is_none());
    let mut alone = Predictor::whole(space.clone(), &whole, PosteriorSettings::default(), None, 40);
    ranks.iter().for_each(|&rank| alone.observe(&choices(&space, rank), rank as u64, value(rank)));
    assert!(alone.about_the_past().is_none());
}

#[test]
fn a_past_of_noisy_tables_is_smoothed_where_the_evidence_is_for_it() {
    // Past tasks are one function with noise of their own; the new task is that function.
    let space = SearchSpace::named("nb201").unwrap();
    let whole = WholeSpace::new(&space).unwrap();
    let hash = |rank: usize, task: usize| ((rank * 2_654_435_761 + task * 40_503) % 10_007) as f32 / 10_007.0;
    let good = |rank: usize| {
        choices(&space, rank)
            .iter()
            .enumerate()
            .map(|(d, &c)| ((d + 2) as f32 * f32::from(c)).sin())
            .sum::<f32>()
    };
    let table =
        |task| Prior::scaled((0..SIZE).map(|rank| good(rank) + 4.0 * hash(rank, task)).collect(), |_| true);
    let names = vec!["a".to_string(), "b".to_string()];
    let prior = Arc::new(Prior::new(names.clone(), names, SIZE, [table(1), table(2)].concat()).unwrap());
    let error = |settings: PosteriorSettings| {
        let mut predictor = Predictor::whole(space.clone(), &whole, settings, Some(prior.clone()), 30);
        for rank in (0..30).map(|i| i * 389 % SIZE) {
            predictor.observe(&choices(&space, rank), rank as u64, good(rank));
        }
        let beliefs = predictor.beliefs();
        assert!(beliefs.evidence.is_finite() && beliefs.scale > 0.0);
        (0..SIZE).map(|rank| (beliefs.value(Kind::Transfer, rank) - good(rank)).powi(2)).sum::<f32>()
    };
    let (averaged, alone) = (error(PosteriorSettings::default()), error(as_they_are()));
    assert!(averaged < 0.7 * alone, "{averaged} {alone}");
}

#[test]
fn numbers_of_before_there_was_any_smoothing_go_on_without() {
    let now = PosteriorSettings::default();
    let stored = serde_json::to_value(now).unwrap();
    let read = |stored: serde_json::Value| srnas_policy::stored_settings(stored).unwrap();
    assert_eq!(read(stored.clone()), now);
    let mut before = stored;
    let transfer = before["transfer"].as_object_mut().unwrap();
    assert!(transfer.remove("smoothing").is_some() && transfer.remove("smoothed_slope").is_some());
    assert_eq!(read(before), as_they_are());
    assert!(srnas_policy::stored_settings(serde_json::json!({"transfer": 3})).is_err());
}
