//! Common corruptions of images, after the ideas of ImageNet-C (arXiv 1903.12261) at a strength for small images.

use rand::Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

/// What happens to an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Corruption {
    /// Gaussian noise on each pixel.
    Noise,
    /// A Gaussian blur.
    Blur,
    /// Moved by an eighth of the side, up, down, left or right.
    Shift,
    /// Turned by up to 30 degrees either way.
    Rotation,
    /// Half of the contrast.
    Contrast,
}

impl Corruption {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Noise, Self::Blur, Self::Shift, Self::Rotation, Self::Contrast];

    /// The name used for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::Blur => "blur",
            Self::Shift => "shift",
            Self::Rotation => "rotation",
            Self::Contrast => "contrast",
        }
    }

    /// Corrupts an image [C, H, W] in 0..1 in place.
    pub fn apply(self, image: &mut [f32], [height, width]: [usize; 2], rng: &mut impl Rng) {
        match self {
            Self::Noise => {
                for pixel in image {
                    let draw: f32 = StandardNormal.sample(rng);
                    *pixel = (*pixel + 0.25 * draw).clamp(0.0, 1.0);
                }
            }
            Self::Blur => {
                // Two passes of a kernel whose deviation is 7 % of the side.
                let deviation = 0.07 * height.max(width) as f32;
                blur(image, [height, width], deviation);
            }
            Self::Shift => {
                let by = (height.max(width) / 8).max(1) as f32;
                let (rows, columns) = [(by, 0.0), (-by, 0.0), (0.0, by), (0.0, -by)][rng.random_range(0..4)];
                resample(image, [height, width], |row, column| (row - rows, column - columns));
            }
            Self::Rotation => {
                let angle = rng.random_range(-30f64..30f64).to_radians();
                let (sine, cosine) = (angle.sin() as f32, angle.cos() as f32);
                let (middle_row, middle_column) = ((height - 1) as f32 / 2.0, (width - 1) as f32 / 2.0);
                resample(image, [height, width], |row, column| {
                    let (row, column) = (row - middle_row, column - middle_column);
                    (cosine * row - sine * column + middle_row, sine * row + cosine * column + middle_column)
                });
            }
            Self::Contrast => {
                for plane in image.chunks_exact_mut(height * width) {
                    let mean = plane.iter().sum::<f32>() / (height * width) as f32;
                    plane.iter_mut().for_each(|pixel| *pixel = mean + (*pixel - mean) / 2.0);
                }
            }
        }
    }
}

/// Every pixel from where `source` says, between pixels in proportion; black comes from outside.
fn resample(image: &mut [f32], [height, width]: [usize; 2], source: impl Fn(f32, f32) -> (f32, f32)) {
    for plane in image.chunks_exact_mut(height * width) {
        let before = plane.to_vec();
        let at = |row: f32, column: f32| {
            let inside = row >= 0.0 && column >= 0.0 && row < height as f32 && column < width as f32;
            if inside { before[row as usize * width + column as usize] } else { 0.0 }
        };
        for (index, pixel) in plane.iter_mut().enumerate() {
            let (row, column) = source((index / width) as f32, (index % width) as f32);
            let (top, left) = (row.floor(), column.floor());
            let (down, right) = (row - top, column - left);
            *pixel = (1.0 - down) * ((1.0 - right) * at(top, left) + right * at(top, left + 1.0))
                + down * ((1.0 - right) * at(top + 1.0, left) + right * at(top + 1.0, left + 1.0));
        }
    }
}

/// A separable Gaussian; the kernel's share outside of the image does not count.
fn blur(image: &mut [f32], [height, width]: [usize; 2], deviation: f32) {
    let reach = (2.0 * deviation).ceil() as isize;
    let weight = |distance: isize| {
        let scaled = f64::from(distance as i32) / f64::from(deviation);
        (-0.5 * scaled * scaled).exp() as f32
    };
    for plane in image.chunks_exact_mut(height * width) {
        for (length, step, lines, line_step) in [(width, 1, height, width), (height, width, width, 1)] {
            let before = plane.to_vec();
            for line in 0..lines {
                for at in 0..length {
                    let (mut sum, mut weights) = (0.0, 0.0);
                    for distance in -reach..=reach {
                        let Some(from) = at.checked_add_signed(distance).filter(|&from| from < length) else {
                            continue;
                        };
                        sum += weight(distance) * before[line * line_step + from * step];
                        weights += weight(distance);
                    }
                    plane[line * line_step + at * step] = sum / weights;
                }
            }
        }
    }
}
