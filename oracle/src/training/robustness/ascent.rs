//! FGSM (arXiv 1412.6572) and PGD (arXiv 1706.06083): steps along the sign of a loss's gradient, back into the ball after each. An image
//! is fooled as soon as one step fools it, and is left alone from then on: more steps never help the defender.

use super::{
    crowd::{Crowd, Victim, columns, held, room, sign},
    losses::{Loss, is_fooled},
};
use crate::training::{data::Batch, ops::BLOCK};
use candle_core::Result;
use rand::Rng;

/// How far, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ascent {
    /// The radius of the ball, as a share of the range.
    pub epsilon: f32,
    /// Of a step, likewise.
    pub stride: f32,
    /// How many.
    pub steps: usize,
    /// Begins anywhere in the ball, by draws of this seed, and not at the image itself.
    pub start: Option<u64>,
}

/// An image with which an attack has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// Which image of the split.
    pub place: usize,
    /// Whether it is told wrong now.
    pub fooled: bool,
    /// How far the pixel moved that moved most.
    pub moved: f32,
    /// What is said of it now.
    pub logits: Vec<f32>,
}

impl Ascent {
    /// Climbs the cross-entropy or the margin. `ended` hears of each image once.
    ///
    /// # Errors
    /// Images of another size.
    pub fn on(
        self,
        victim: &mut dyn Victim,
        mut crowd: Crowd,
        loss: &Loss,
        ended: &mut dyn FnMut(Ended),
    ) -> Result<()> {
        let mut pixels = crowd.clean.clone();
        if let Some(seed) = self.start {
            for (n, mut rng) in crowd.draws(seed).into_iter().enumerate() {
                for at in (n..pixels.len()).step_by(crowd.width) {
                    pixels[at] = held(
                        pixels[at] + rng.random_range(-self.epsilon..=self.epsilon),
                        crowd.clean[at],
                        self.epsilon,
                    );
                }
            }
        }
        for step in 0..=self.steps {
            if crowd.labels.is_empty() {
                return Ok(());
            }
            let (logits, gradient) = if step < self.steps {
                let (width, labels) = (crowd.width, &crowd.labels);
                victim.climb(&pixels, width, &mut |logits| loss.of(logits, width, labels).gradient)?
            } else {
                (victim.logits(&pixels, crowd.width)?, None)
            };
            let mut kept = Vec::with_capacity(crowd.labels.len());
            for (n, &label) in crowd.labels.iter().enumerate() {
                let fooled = is_fooled(&logits, crowd.width, n, usize::from(label));
                // Nothing moves what does not look.
                if !fooled && gradient.is_some() {
                    kept.push(n);
                    continue;
                }
                let of_image =
                    |values: &[f32]| values[n..].iter().step_by(crowd.width).copied().collect::<Vec<f32>>();
                let apart = of_image(&pixels)
                    .iter()
                    .zip(of_image(&crowd.clean))
                    .map(|(a, b)| (a - b).abs())
                    .fold(0.0, f32::max);
                ended(Ended { place: crowd.places[n], fooled, moved: apart, logits: of_image(&logits) });
            }
            let Some(mut gradient) = gradient else { return Ok(()) };
            if kept.len() < crowd.labels.len() {
                let to = room(kept.len());
                pixels = columns(&pixels, crowd.width, &kept, to);
                gradient = columns(&gradient, crowd.width, &kept, to);
                crowd = crowd.only(&kept);
            }
            for ((pixel, gradient), &clean) in pixels.iter_mut().zip(&gradient).zip(&crowd.clean) {
                *pixel = held(*pixel + self.stride * sign(*gradient), clean, self.epsilon);
            }
        }
        Ok(())
    }
}

/// Images climb apart from what a network says of them now: the inner attack of TRADES, from a thousandth of noise on. All steps are made,
/// whoever is fooled. `noise` gives a draw of the standard normal distribution.
///
/// # Errors
/// Images of another size.
pub fn diverged(
    victim: &mut dyn Victim,
    clean: &[f32],
    (images, width): (usize, usize),
    ascent: Ascent,
    noise: &mut dyn FnMut() -> f32,
) -> Result<Vec<f32>> {
    debug_assert!(width.is_multiple_of(BLOCK) && images <= width);
    let logits = victim.logits(clean, width)?;
    let mut log = logits.clone();
    crate::training::ops::log_softmax(&logits, width, &mut log);
    let (loss, labels) = (Loss::Divergence(log), vec![0; images]);
    let mut pixels: Vec<f32> =
        clean.iter().map(|&pixel| held(pixel + 0.001 * noise(), pixel, ascent.epsilon)).collect();
    for _ in 0..ascent.steps {
        let (_, gradient) =
            victim.climb(&pixels, width, &mut |logits| loss.of(logits, width, &labels).gradient)?;
        let Some(gradient) = gradient else { break };
        for ((pixel, gradient), &clean) in pixels.iter_mut().zip(&gradient).zip(clean) {
            *pixel = held(*pixel + ascent.stride * sign(*gradient), clean, ascent.epsilon);
        }
    }
    Ok(pixels)
}

/// Images moved by one step of 1.25 ε from anywhere in the ball (arXiv 2001.03994).
///
/// # Errors
/// Images of another size.
pub fn fast(victim: &mut dyn Victim, batch: &Batch, epsilon: f32, rng: &mut impl Rng) -> Result<Batch> {
    let near = |&pixel: &f32| held(pixel + rng.random_range(-epsilon..=epsilon), pixel, epsilon);
    let mut pixels: Vec<f32> = batch.pixels.iter().map(near).collect();
    let labels = &batch.labels;
    let mut loss = |logits: &[f32]| Loss::CrossEntropy.of(logits, batch.width, labels).gradient;
    if let (_, Some(gradient)) = victim.climb(&pixels, batch.width, &mut loss)? {
        for ((pixel, gradient), &clean) in pixels.iter_mut().zip(&gradient).zip(&batch.pixels) {
            *pixel = held(*pixel + 1.25 * epsilon * sign(*gradient), clean, epsilon);
        }
    }
    Ok(Batch { pixels, ..batch.clone() })
}

#[cfg(test)]
mod tests {
    use super::{super::crowd::linear::Linear, *};
    use std::collections::BTreeSet;

    fn fooled(victim: &mut Linear, crowd: &Crowd, ascent: Ascent, loss: &Loss) -> BTreeSet<usize> {
        let mut all = Vec::new();
        ascent.on(victim, crowd.clone(), loss, &mut |ended| all.push(ended)).unwrap();
        assert_eq!(all.len(), crowd.labels.len());
        assert!(all.iter().all(|ended| ended.moved <= ascent.epsilon + 1e-6));
        all.into_iter().filter(|ended| ended.fooled).map(|ended| ended.place).collect()
    }

    /// Of two classes, w = w₁ − w₀: an image falls where ε reaches lead / ‖w‖₁, and one step of ε along the sign is the strongest attack.
    #[test]
    fn on_a_linear_map_of_two_classes_images_fall_at_their_distance() {
        let mut victim = Linear::new(2, 30, 3);
        let crowd = victim.crowd(100, 4);
        let distances: Vec<f32> = (0..100).map(|n| victim.distance(&crowd, n)).collect();
        let mut sorted = distances.clone();
        sorted.sort_by(f32::total_cmp);
        for epsilon in [sorted[20], sorted[50], sorted[80]].map(|distance| distance * 1.0001) {
            let reached: BTreeSet<usize> = (0..100).filter(|&n| distances[n] < epsilon).collect();
            let fgsm = Ascent { epsilon, stride: epsilon, steps: 1, start: None };
            let pgd = Ascent { epsilon, stride: epsilon / 4.0, steps: 40, start: Some(1) };
            assert_eq!(fooled(&mut victim, &crowd, fgsm, &Loss::CrossEntropy), reached);
            assert_eq!(fooled(&mut victim, &crowd, pgd, &Loss::CrossEntropy), reached);
            assert_eq!(fooled(&mut victim, &crowd, pgd, &Loss::Margin), reached);
        }
    }

    #[test]
    fn more_steps_and_larger_balls_fool_no_less() {
        let mut victim = Linear::new(5, 40, 5);
        let crowd = victim.crowd(90, 6);
        let mut before = BTreeSet::new();
        for steps in [0, 1, 2, 5, 10, 20] {
            let ascent = Ascent { epsilon: 0.01, stride: 0.001, steps, start: Some(2) };
            let now = fooled(&mut victim, &crowd, ascent, &Loss::Margin);
            assert!(now.is_superset(&before), "{steps}");
            before = now;
        }
        assert!(before.len() > 10 && before.len() < 90, "{}", before.len());
        let wide = Ascent { epsilon: 0.3, stride: 0.03, steps: 20, start: Some(2) };
        assert_eq!(fooled(&mut victim, &crowd, wide, &Loss::Margin).len(), 90);
    }

    #[test]
    fn an_image_is_attacked_alike_whoever_is_beside_it() {
        let mut victim = Linear::new(4, 20, 7);
        let crowd = victim.crowd(130, 8);
        let ascent = Ascent { epsilon: 0.02, stride: 0.005, steps: 8, start: Some(9) };
        let all = fooled(&mut victim, &crowd, ascent, &Loss::CrossEntropy);
        let some: Vec<usize> = (0..130).step_by(7).rev().collect();
        let alone = fooled(&mut victim, &crowd.only(&some), ascent, &Loss::CrossEntropy);
        assert_eq!(alone, all.into_iter().filter(|place| some.contains(place)).collect());
        assert!(fooled(&mut victim, &crowd.only(&[]), ascent, &Loss::Margin).is_empty());
    }

    /// KL rises along w and against it, whichever way the noise begins.
    #[test]
    fn what_diverges_ends_in_a_corner_of_the_ball() {
        let mut victim = Linear::new(2, 10, 3);
        let crowd = victim.crowd(64, 4);
        let ascent = Ascent { epsilon: 0.05, stride: 0.0125, steps: 10, start: None };
        let mut next = 0u32;
        let mut noise = || {
            next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            next as f32 / u32::MAX as f32 - 0.5
        };
        let found = diverged(&mut victim, &crowd.clean, (64, 64), ascent, &mut noise).unwrap();
        for n in 0..64 {
            let moves: Vec<f32> =
                (0..10).map(|value| found[value * 64 + n] - crowd.clean[value * 64 + n]).collect();
            let along: f32 = moves
                .iter()
                .enumerate()
                .map(|(v, m)| m * (victim.weights[1][v] - victim.weights[0][v]))
                .sum();
            let most: f32 = (0..10).map(|v| 0.05 * (victim.weights[1][v] - victim.weights[0][v]).abs()).sum();
            assert!((along.abs() / most - 1.0).abs() < 1e-3, "{n}: {along} of {most}");
        }
    }
}
