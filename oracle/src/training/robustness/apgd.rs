//! APGD (Croce and Hein, arXiv 2003.01690): gradient steps with momentum whose size halves, image by image, where the loss stops rising,
//! going on from the best point so far.

use super::{
    crowd::{Crowd, Victim, columns, entries, held, room, sign},
    losses::{Loss, Said, is_fooled},
};
use candle_core::Result;
use rand::Rng;

/// Share of the new step in what is moved; the rest goes on in the last direction.
const MOMENTUM: f32 = 0.75;
/// Share of the steps since the last check in which the loss must have risen.
const RISING: f32 = 0.75;

/// How far, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Apgd {
    /// The radius of the ball, as a share of the range.
    pub epsilon: f32,
    /// How many steps.
    pub steps: usize,
    /// Of the draws of where to begin.
    pub seed: u64,
}

/// What is kept of each image.
struct State {
    pixels: Vec<f32>,
    before: Vec<f32>,
    gradient: Vec<f32>,
    best_pixels: Vec<f32>,
    best_gradient: Vec<f32>,
    images: Vec<Image>,
}

#[derive(Clone, Copy)]
struct Image {
    stride: f32,
    last: f32,
    best: f32,
    best_at_check: f32,
    /// Steps since the check in which the loss rose.
    rises: usize,
    /// Whether the check halved the step.
    halved: bool,
}

impl Apgd {
    /// Climbs; gives the places of the images that it fooled. Targets of a loss are by the crowd's images.
    ///
    /// # Errors
    /// Images of another size.
    pub fn on(self, victim: &mut dyn Victim, mut crowd: Crowd, mut loss: Loss) -> Result<Vec<usize>> {
        let mut fooled = Vec::new();
        let Some(mut state) = self.begin(victim, &mut crowd, &mut loss, &mut fooled)? else {
            return Ok(fooled);
        };
        let share = |of: f32| ((of * self.steps as f32) as usize).max(1);
        let (mut period, shorter, shortest) = (share(0.22), share(0.03), share(0.06));
        let mut since = 0;
        for step in 0..self.steps {
            if crowd.labels.is_empty() {
                break;
            }
            state.advance(&crowd, self.epsilon, step == 0);
            let (logits, said, gradient) = asked(victim, &crowd, &loss, &state.pixels)?;
            let Some(gradient) = gradient else { break };
            state.gradient = gradient;
            state.hear(&said, crowd.width);
            state.leave(&mut crowd, &mut loss, &logits, &mut fooled);
            since += 1;
            if since == period {
                state.check(since, crowd.width);
                period = period.saturating_sub(shorter).max(shortest);
                since = 0;
            }
        }
        Ok(fooled)
    }

    fn begin(
        self,
        victim: &mut dyn Victim,
        crowd: &mut Crowd,
        loss: &mut Loss,
        fooled: &mut Vec<usize>,
    ) -> Result<Option<State>> {
        if crowd.labels.is_empty() {
            return Ok(None);
        }
        let (width, epsilon) = (crowd.width, self.epsilon);
        let mut pixels = crowd.clean.clone();
        for (n, mut rng) in crowd.draws(self.seed).into_iter().enumerate() {
            let draws: Vec<f32> = (0..crowd.values()).map(|_| rng.random_range(-1.0..=1.0)).collect();
            // At least one pixel at the border of the ball.
            let most = draws.iter().fold(f32::MIN_POSITIVE, |most, draw| draw.abs().max(most));
            for (at, draw) in (n..pixels.len()).step_by(width).zip(draws) {
                pixels[at] = held(pixels[at] + epsilon * draw / most, crowd.clean[at], epsilon);
            }
        }
        let (logits, said, gradient) = asked(victim, crowd, loss, &pixels)?;
        let Some(gradient) = gradient else { return Ok(None) };
        let image = |&value: &f32| Image {
            stride: 2.0 * epsilon,
            last: value,
            best: value,
            best_at_check: value,
            rises: 0,
            halved: true,
        };
        let mut state = State {
            before: pixels.clone(),
            best_pixels: pixels.clone(),
            best_gradient: gradient.clone(),
            images: said.values.iter().map(image).collect(),
            pixels,
            gradient,
        };
        state.leave(crowd, loss, &logits, fooled);
        Ok(Some(state))
    }
}

type Answer = (Vec<f32>, Said, Option<Vec<f32>>);

fn asked(victim: &mut dyn Victim, crowd: &Crowd, loss: &Loss, pixels: &[f32]) -> Result<Answer> {
    let mut said = Said::default();
    let (logits, gradient) = victim.climb(pixels, crowd.width, &mut |logits| {
        said = loss.of(logits, crowd.width, &crowd.labels);
        said.gradient.clone()
    })?;
    Ok((logits, said, gradient))
}

impl State {
    fn advance(&mut self, crowd: &Crowd, epsilon: f32, first: bool) {
        let share = if first { 1.0 } else { MOMENTUM };
        let (width, images) = (crowd.width, &self.images);
        let rows = self.pixels.chunks_exact_mut(width).zip(self.before.chunks_exact_mut(width));
        let given = self.gradient.chunks_exact(width).zip(crowd.clean.chunks_exact(width));
        for ((pixels, before), (gradient, clean)) in rows.zip(given) {
            for (n, image) in images.iter().enumerate() {
                let (here, clean) = (pixels[n], clean[n]);
                let stepped = held(here + image.stride * sign(gradient[n]), clean, epsilon);
                pixels[n] = held(
                    here + share * (stepped - here) + (1.0 - share) * (here - before[n]),
                    clean,
                    epsilon,
                );
                before[n] = here;
            }
        }
    }

    fn hear(&mut self, said: &Said, width: usize) {
        for (n, (image, &value)) in self.images.iter_mut().zip(&said.values).enumerate() {
            image.rises += usize::from(value > image.last);
            image.last = value;
            if value > image.best {
                image.best = value;
                for at in (n..self.pixels.len()).step_by(width) {
                    self.best_pixels[at] = self.pixels[at];
                    self.best_gradient[at] = self.gradient[at];
                }
            }
        }
    }

    /// Halves the steps of images that have not risen enough, and brings them back to their best.
    fn check(&mut self, steps: usize, width: usize) {
        for (n, image) in self.images.iter_mut().enumerate() {
            let oscillates = image.rises as f32 <= RISING * steps as f32;
            let halve = oscillates || (!image.halved && image.best_at_check >= image.best);
            (image.rises, image.halved, image.best_at_check) = (0, halve, image.best);
            if halve {
                image.stride /= 2.0;
                for at in (n..self.pixels.len()).step_by(width) {
                    self.pixels[at] = self.best_pixels[at];
                    self.gradient[at] = self.best_gradient[at];
                }
            }
        }
    }

    fn leave(&mut self, crowd: &mut Crowd, loss: &mut Loss, logits: &[f32], fooled: &mut Vec<usize>) {
        let width = crowd.width;
        let told = |&n: &usize| !is_fooled(logits, width, n, usize::from(crowd.labels[n]));
        let (kept, gone): (Vec<usize>, Vec<usize>) = (0..crowd.labels.len()).partition(told);
        if gone.is_empty() {
            return;
        }
        fooled.extend(gone.iter().map(|&n| crowd.places[n]));
        let to = room(kept.len());
        let all = [
            &mut self.pixels,
            &mut self.before,
            &mut self.gradient,
            &mut self.best_pixels,
            &mut self.best_gradient,
        ];
        all.into_iter().for_each(|values| *values = columns(values, width, &kept, to));
        self.images = entries(&self.images, &kept);
        if let Loss::Targeted(targets) = loss {
            *targets = entries(targets, &kept);
        }
        *crowd = crowd.only(&kept);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{crowd::linear::Linear, losses::ranked},
        *,
    };
    use std::collections::BTreeSet;

    #[test]
    fn on_a_linear_map_images_fall_at_their_distance() {
        for (classes, targeted) in [(2, false), (6, false), (6, true)] {
            let mut victim = Linear::new(classes, 30, 3);
            let crowd = victim.crowd(100, 4);
            let logits = victim.logits(&crowd.clean, crowd.width).unwrap();
            let distances: Vec<f32> = (0..100).map(|n| victim.distance(&crowd, n)).collect();
            let mut sorted = distances.clone();
            sorted.sort_by(f32::total_cmp);
            for epsilon in [sorted[20], sorted[60]] {
                // What is a little nearer or farther than that is not decided in so few steps.
                let within = |factor: f32| -> BTreeSet<usize> {
                    (0..100).filter(|&n| distances[n] < factor * epsilon).collect()
                };
                let mut fooled = BTreeSet::new();
                let ranks = if targeted { 1..classes } else { 1..2 };
                for rank in ranks {
                    let loss = match targeted {
                        true => Loss::Targeted(
                            (0..100).map(|n| ranked(&logits, crowd.width, n)[rank] as u8).collect(),
                        ),
                        false => Loss::CrossEntropy,
                    };
                    fooled.extend(
                        Apgd { epsilon, steps: 60, seed: 5 }.on(&mut victim, crowd.clone(), loss).unwrap(),
                    );
                }
                assert!(fooled.is_subset(&within(1.0001)), "{classes} {targeted}");
                // Every class is a target of its own; the cross-entropy may climb towards another class than the nearest.
                let sure = if classes == 2 || targeted { within(0.99) } else { within(0.8) };
                assert!(
                    fooled.is_superset(&sure),
                    "{classes} {targeted}: {} of {}",
                    fooled.len(),
                    sure.len()
                );
            }
        }
    }

    #[test]
    fn it_ends_early_where_all_have_fallen_and_attacks_nobody_where_nobody_is() {
        let mut victim = Linear::new(3, 30, 3);
        let crowd = victim.crowd(70, 4);
        victim.asked = 0;
        let apgd = Apgd { epsilon: 0.5, steps: 100, seed: 1 };
        assert_eq!(apgd.on(&mut victim, crowd.clone(), Loss::CrossEntropy).unwrap().len(), 70);
        assert!(victim.asked < 30, "{}", victim.asked);
        assert!(apgd.on(&mut victim, crowd.only(&[]), Loss::CrossEntropy).unwrap().is_empty());
    }
}
