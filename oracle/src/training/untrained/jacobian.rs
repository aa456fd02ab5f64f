//! What moves the sum of the logits, image by image: the gradient of the images, as rows of pixels.
//!
//! * `jacov`: −Σ log(v + k) + 1/(v + k) over the eigenvalues v of the correlations between the images' rows, k = 10⁻⁵ (Mellor et al.,
//!   arXiv 2006.04647v1).
//! * `epe_nas`: of each class s = Σ log(|r| + k) over the correlations r between its images' rows; Σ |s| over the classes (Lopes et al.,
//!   arXiv 2102.08099). Of more than 100 classes, where a class has few images, s is divided by their number, those of one image do
//!   not count, and the score is the mean over the classes of Σ |s − s'| over the others.

use super::{
    IMAGES,
    matrix::{cholesky, correlations, covariances, log_of, trace_of_inverse},
};
use std::collections::BTreeMap;

/// What keeps a correlation from 0, and an eigenvalue.
const JITTER: f64 = 1e-5;
/// With more classes than these their images are too few.
const MANY_CLASSES: usize = 100;

/// The score of a gradient [C, H, W, N]; none where an image moves nothing, or all move it alike.
pub fn jacov(gradient: &[f32]) -> Option<f64> {
    let mut correlations = correlations::<IMAGES>(covariances::<IMAGES>(gradient))?;
    (0..IMAGES).for_each(|i| correlations[i * IMAGES + i] += JITTER);
    // Σ log(v + k) is a logarithm of a determinant, Σ 1/(v + k) a trace of an inverse.
    let factor = cholesky(&correlations, IMAGES)?;
    Some(-log_of(&factor, IMAGES) - trace_of_inverse(&factor, IMAGES))
}

/// The score of a gradient [C, H, W, N] of images of these classes, of so many; none where an image moves nothing.
pub fn epe_nas(gradient: &[f32], labels: &[u8], classes: usize) -> Option<f64> {
    let correlations = correlations::<IMAGES>(covariances::<IMAGES>(gradient))?;
    let mut of_class: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
    labels.iter().enumerate().for_each(|(image, label)| of_class.entry(*label).or_default().push(image));
    let sum = |images: &[usize]| -> f64 {
        let pairs = images.iter().flat_map(|i| images.iter().map(move |j| (i, j)));
        pairs.map(|(i, j)| (correlations[i * IMAGES + j].abs() + JITTER).ln()).sum()
    };
    if classes <= MANY_CLASSES {
        return Some(of_class.values().map(|images| sum(images).abs()).sum());
    }
    let several = of_class.values().filter(|images| images.len() > 1);
    let sums: Vec<f64> = several.map(|images| sum(images) / images.len() as f64).collect();
    let apart = |a: &f64| sums.iter().map(|b| (a - b).abs()).sum::<f64>();
    Some(sums.iter().map(apart).sum::<f64>() / sums.len().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pixels an image: of even images the second is the larger, of odd ones the first; so pairs have correlation 1 or −1.
    fn gradient() -> Vec<f32> {
        let row = |pixel: usize| (0..IMAGES).map(move |n| if n % 2 == pixel { 0.0 } else { 1.0 + n as f32 });
        (0..2).flat_map(row).collect()
    }

    #[test]
    fn classes_count_by_how_their_images_are_correlated() {
        // Where all are correlated in full, each pair says log(1 + k).
        let one = (1.0 + JITTER).ln();
        let labels: Vec<u8> = (0..IMAGES).map(|n| (n % 4) as u8).collect();
        let expected = 4.0 * (IMAGES / 4).pow(2) as f64 * one;
        assert!((epe_nas(&gradient(), &labels, 10).unwrap() - expected).abs() < 1e-9);
        // Of many classes alike ones differ in nothing, and those of one image do not count.
        assert!(epe_nas(&gradient(), &labels, 101).unwrap() < 1e-12);
        let alone: Vec<u8> = (0..IMAGES as u8).collect();
        assert_eq!(epe_nas(&gradient(), &alone, 101), Some(0.0));
        // Three images of one class, 61 of another: s = n log(1 + k), and each differs from the other.
        let uneven: Vec<u8> = (0..IMAGES).map(|n| u8::from(n > 2)).collect();
        assert!((epe_nas(&gradient(), &uneven, 101).unwrap() - 58.0 * one).abs() < 1e-9);
        assert_eq!(epe_nas(&vec![0.0; 2 * IMAGES], &labels, 10), None);
    }
}
