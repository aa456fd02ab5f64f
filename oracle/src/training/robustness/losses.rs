//! What attacks climb: a number for each image, and its gradient by the logits.

use crate::training::ops::log_softmax;

/// What is climbed.
#[derive(Clone, Debug)]
pub enum Loss {
    /// The cross-entropy, −log p(label).
    CrossEntropy,
    /// By how much another class leads (Carlini and Wagner, arXiv 1608.04644): max of the others − the label's logit.
    Margin,
    /// The targeted difference of logits ratio (arXiv 2003.01690): (z_target − z_label) / (z₁ − ½ (z₃ + z₄)), zᵢ the i-th highest logit. It
    /// does not change where all logits are multiplied or moved. By image, its target.
    Targeted(Vec<u8>),
    /// KL(p ‖ q), p what the network said of the clean images, [classes, width] logarithms, and q what it says now (TRADES, arXiv
    /// 1901.08573).
    Divergence(Vec<f32>),
}

/// What a loss says of images.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// By image.
    pub values: Vec<f32>,
    /// By the logits, [classes, width]: of each image's value by itself.
    pub gradient: Vec<f32>,
}

impl Loss {
    /// Of logits [classes, width], of which the first images have labels; beyond them all is 0.
    pub fn of(&self, logits: &[f32], width: usize, labels: &[u8]) -> Said {
        let classes = logits.len() / width;
        let mut said = Said { values: vec![0.0; labels.len()], gradient: vec![0.0; logits.len()] };
        let at = |class: usize, n: usize| class * width + n;
        match self {
            Self::CrossEntropy | Self::Divergence(_) => {
                let mut log = logits.to_vec();
                log_softmax(logits, width, &mut log);
                // In double precision and rounded, as the softmax.
                let exp = |log: f32| f64::from(log).exp() as f32;
                for (n, &label) in labels.iter().enumerate() {
                    for class in 0..classes {
                        let now = exp(log[at(class, n)]);
                        let before = match self {
                            Self::Divergence(clean) => {
                                let p = exp(clean[at(class, n)]);
                                said.values[n] += p * (clean[at(class, n)] - log[at(class, n)]);
                                p
                            }
                            _ => f32::from(u8::from(class == usize::from(label))),
                        };
                        said.gradient[at(class, n)] = now - before;
                    }
                    if matches!(self, Self::CrossEntropy) {
                        said.values[n] = -log[at(usize::from(label), n)];
                    }
                }
            }
            Self::Margin => {
                for (n, &label) in labels.iter().enumerate() {
                    let label = usize::from(label);
                    let Some(other) = highest_other(logits, width, n, label) else { continue };
                    said.values[n] = logits[at(other, n)] - logits[at(label, n)];
                    said.gradient[at(other, n)] = 1.0;
                    said.gradient[at(label, n)] = -1.0;
                }
            }
            Self::Targeted(targets) => {
                for (n, (&label, &target)) in labels.iter().zip(targets).enumerate() {
                    let (label, target) = (usize::from(label), usize::from(target));
                    let order = ranked(logits, width, n);
                    let z = |class: usize| logits[at(class, n)];
                    let spread = z(order[0]) - 0.5 * (z(order[2]) + z(order[3])) + 1e-12;
                    let value = (z(target) - z(label)) / spread;
                    said.values[n] = value;
                    said.gradient[at(target, n)] += 1.0 / spread;
                    said.gradient[at(label, n)] -= 1.0 / spread;
                    for (class, share) in [(order[0], -1.0), (order[2], 0.5), (order[3], 0.5)] {
                        said.gradient[at(class, n)] += share * value / spread;
                    }
                }
            }
        }
        said
    }
}

/// The class that leads among all others; none where there is one class.
pub fn highest_other(logits: &[f32], width: usize, n: usize, label: usize) -> Option<usize> {
    let classes = (0..logits.len() / width).filter(|&class| class != label);
    // The first of equals.
    classes
        .reduce(|best, class| if logits[class * width + n] > logits[best * width + n] { class } else { best })
}

/// Classes from the highest logit on, the first of equals first.
pub fn ranked(logits: &[f32], width: usize, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..logits.len() / width).collect();
    order.sort_by(|&a, &b| logits[b * width + n].total_cmp(&logits[a * width + n]).then(a.cmp(&b)));
    order
}

/// Whether an image is told wrong: another class has as high a logit or a higher one, or there is no number.
pub fn is_fooled(logits: &[f32], width: usize, n: usize, label: usize) -> bool {
    let own = logits[label * width + n];
    let told = |class: usize| class == label || logits[class * width + n] < own;
    !(0..logits.len() / width).all(told) || !own.is_finite()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 3;

    fn logits() -> Vec<f32> {
        // Three images, five classes.
        let images = [[2.0, 1.0, 0.5, -1.0, 0.0], [-1.0, 3.0, 2.5, 0.1, 0.2], [0.3, 0.2, 0.1, 0.0, -0.4]];
        (0..5).flat_map(|class| images.map(|image| image[class])).collect()
    }

    #[test]
    fn gradients_are_differences() {
        let (logits, labels) = (logits(), [0u8, 1, 2]);
        let mut clean = logits.clone();
        clean.iter_mut().enumerate().for_each(|(i, v)| *v += (i as f32).sin());
        let raw = clean.clone();
        log_softmax(&raw, WIDTH, &mut clean);
        for loss in [Loss::CrossEntropy, Loss::Margin, Loss::Targeted(vec![1, 2, 0]), Loss::Divergence(clean)]
        {
            let said = loss.of(&logits, WIDTH, &labels);
            for i in 0..logits.len() {
                let step = 1e-2;
                let moved = |by: f32| {
                    let mut moved = logits.clone();
                    moved[i] += by;
                    loss.of(&moved, WIDTH, &labels).values[i % WIDTH]
                };
                let difference = (moved(step) - moved(-step)) / (2.0 * step);
                assert!(
                    (difference - said.gradient[i]).abs() < 2e-3,
                    "{loss:?} {i}: {difference} {}",
                    said.gradient[i]
                );
            }
        }
    }

    #[test]
    fn closed_forms() {
        let (logits, labels) = (logits(), [0u8, 1, 2]);
        assert_eq!(Loss::Margin.of(&logits, WIDTH, &labels).values, [1.0 - 2.0, 2.5 - 3.0, 0.3 - 0.1]);
        let targeted = Loss::Targeted(vec![1, 2, 0]).of(&logits, WIDTH, &labels).values;
        let expected = [(1.0 - 2.0) / (2.0 - 0.25), (2.5 - 3.0) / (3.0 - 0.15), (0.3 - 0.1) / (0.3 - 0.05)];
        assert!(
            targeted.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6),
            "{targeted:?}"
        );
        // Nothing changes where all logits are multiplied and moved.
        let scaled: Vec<f32> = logits.iter().map(|v| 7.0 * v + 3.0).collect();
        let again = Loss::Targeted(vec![1, 2, 0]).of(&scaled, WIDTH, &labels).values;
        assert!(targeted.iter().zip(again).all(|(a, b)| (a - b).abs() < 1e-5));
        let mut clean = logits.clone();
        log_softmax(&logits, WIDTH, &mut clean);
        let none = Loss::Divergence(clean).of(&logits, WIDTH, &labels);
        assert!(none.values.iter().chain(&none.gradient).all(|v| v.abs() < 1e-6));
    }

    #[test]
    fn who_is_fooled() {
        let logits = logits();
        assert!(!is_fooled(&logits, WIDTH, 0, 0) && is_fooled(&logits, WIDTH, 2, 2));
        // Nothing said is nothing told, and what is no number is wrong.
        assert!(is_fooled(&[1.0, 1.0], 1, 0, 0));
        assert!(is_fooled(&[f32::NAN, 1.0], 1, 0, 0) && is_fooled(&[1.0, f32::NAN], 1, 0, 0));
        assert!(!is_fooled(&[1.0], 1, 0, 0) && highest_other(&[1.0], 1, 0, 0).is_none());
        assert_eq!(ranked(&[1.0, 3.0, 3.0, 0.0], 1, 0), [1, 2, 0, 3]);
    }
}
