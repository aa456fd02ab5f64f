//! Image data sets: pixels, labels, and which images serve for training, for validation and for the test.

mod cifar;
mod digits;
mod fashion;
mod file;
mod idx;

pub use cifar::{cifar10, cifar100};
pub use digits::digits;
pub use fashion::{FASHION, fashion};
pub use file::DataError;
pub use idx::idx;

use std::path::Path;

use sha2::{Digest, Sha256};
use srnas_basics::text::hex;

use super::{model::Shape, ops::BLOCK};

/// Images with their labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Image by image, channel by channel, row by row.
    pub pixels: Vec<u8>,
    /// A class below the number of classes for each image.
    pub labels: Vec<u8>,
}

impl Split {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Takes the images from `at` on, of `length` values each.
    fn split_off(&mut self, at: usize, length: usize) -> Self {
        Self { pixels: self.pixels.split_off(at * length), labels: self.labels.split_off(at) }
    }
}

/// The data set that a text names: `digits`, `fashion:DIR`, `mnist:DIR`, `idx:DIR`, `cifar10:DIR` or `cifar100:DIR`. `progress` hears of
/// each file before it is read.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn load(text: &str, progress: &mut dyn FnMut(&Path)) -> Result<ImageSet, DataError> {
    let (name, folder) =
        text.split_once(':').map_or((text, None), |(name, dir)| (name, Some(Path::new(dir))));
    match (name, folder) {
        ("digits", None) => Ok(digits()),
        ("fashion", Some(folder)) => fashion(folder, progress),
        ("mnist", Some(folder)) => idx(folder, "mnist", true, progress),
        ("idx", Some(folder)) => idx(folder, "idx", false, progress),
        ("cifar10", Some(folder)) => cifar10(folder, progress),
        ("cifar100", Some(folder)) => cifar100(folder, progress),
        _ => Err(DataError::Unknown { text: text.into() }),
    }
}

/// What the images of a data set are like, by the text that names it: without reading them, but for `idx:DIR`.
///
/// # Errors
/// As [`load`].
pub fn shape(text: &str) -> Result<Shape, DataError> {
    let of = |channels, side, classes| Ok(Shape { channels, size: [side; 2], classes });
    match text.split_once(':').map_or(text, |(name, _)| name) {
        "digits" => of(1, 8, 10),
        "fashion" => of(1, 14, 10),
        "mnist" => of(1, 28, 10),
        "cifar10" => of(3, 32, 10),
        "cifar100" => of(3, 32, 100),
        _ => Ok(load(text, &mut |_| {})?.shape),
    }
}

/// A data set for classifiers.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageSet {
    /// Its name.
    pub name: String,
    /// Size of the images, number of classes.
    pub shape: Shape,
    /// The value of a pixel that is 1 in full.
    pub full: u8,
    /// What weights are trained on.
    pub train: Split,
    /// What a search may look at.
    pub validation: Split,
    /// What is reported.
    pub test: Split,
}

/// Some images of a split, as networks take them.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// [C, H, W, N] in 0..1, N a multiple of [`BLOCK`]; images beyond the labels are black.
    pub pixels: Vec<f32>,
    /// One for each image there is.
    pub labels: Vec<u8>,
    /// N.
    pub width: usize,
}

impl ImageSet {
    /// Values of one image.
    pub fn image_len(&self) -> usize {
        self.shape.channels * self.shape.size[0] * self.shape.size[1]
    }

    /// The images of these indices; `change` may alter each, given its index and its pixels [C, H, W] in 0..1.
    pub fn batch(
        &self,
        split: &Split,
        indices: &[usize],
        mut change: impl FnMut(usize, &mut [f32]),
    ) -> Batch {
        let (width, length) = (indices.len().next_multiple_of(BLOCK), self.image_len());
        let mut pixels = vec![0.0; length * width];
        let mut image = vec![0.0; length];
        let full = 1.0 / f32::from(self.full);
        for (n, &index) in indices.iter().enumerate() {
            let source = &split.pixels[index * length..][..length];
            image.iter_mut().zip(source).for_each(|(to, &from)| *to = f32::from(from) * full);
            change(index, &mut image);
            pixels[n..].iter_mut().step_by(width).zip(&image).for_each(|(to, &from)| *to = from);
        }
        let labels = indices.iter().map(|&i| split.labels[i]).collect();
        Batch { pixels, labels, width }
    }

    /// Only the first so many images of each split: to train on, for validation, for the test; all where there are fewer.
    pub fn first(mut self, images: [usize; 3]) -> Self {
        let length = self.image_len();
        for (split, images) in [&mut self.train, &mut self.validation, &mut self.test].into_iter().zip(images)
        {
            split.labels.truncate(images);
            split.pixels.truncate(split.len() * length);
        }
        self
    }

    /// The images of a split of these indices.
    pub fn some(&self, split: &Split, indices: &[usize]) -> Split {
        let length = self.image_len();
        let pixels = indices.iter().flat_map(|&i| &split.pixels[i * length..][..length]).copied().collect();
        Split { pixels, labels: indices.iter().map(|&i| split.labels[i]).collect() }
    }

    /// SHA-256, in hexadecimal digits, of all pixels and labels.
    pub fn sha256(&self) -> String {
        let mut sha = Sha256::new();
        for split in [&self.train, &self.validation, &self.test] {
            sha.update((split.len() as u64).to_le_bytes());
            sha.update(&split.pixels);
            sha.update(&split.labels);
        }
        hex(&sha.finalize())
    }

    /// Mean and variance of each channel over the training images, in 0..1.
    pub fn moments(&self) -> (Vec<f32>, Vec<f32>) {
        let plane = self.shape.size[0] * self.shape.size[1];
        let mut sums = vec![[0.0f64; 2]; self.shape.channels];
        for image in self.train.pixels.chunks_exact(self.image_len()) {
            for (sums, plane) in sums.iter_mut().zip(image.chunks_exact(plane)) {
                for &pixel in plane {
                    let value = f64::from(pixel) / f64::from(self.full);
                    sums[0] += value;
                    sums[1] += value * value;
                }
            }
        }
        let count = (self.train.len() * plane) as f64;
        let moments = sums.iter().map(|[sum, squares]| {
            let mean = sum / count;
            // A channel that is the same everywhere is left as it is.
            let variance = squares / count - mean * mean;
            (mean as f32, if variance > 1e-8 { variance as f32 } else { 1.0 })
        });
        moments.unzip()
    }
}
