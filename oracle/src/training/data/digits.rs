//! The handwritten digits of the UCI repository, built in.

use std::io::Read;

use flate2::read::GzDecoder;

use super::{ImageSet, Split};
use crate::training::model::Shape;

/// A row an image: 64 pixels of 0 to 16, then the digit. See `oracle/data/README.md`.
const IMAGES: &[u8] = include_bytes!("../../../data/digits.csv.gz");
/// The published order keeps the images of a writer together; splitting it there, nobody's hand is in two splits but
/// where the border falls.
const SPLITS: [usize; 3] = [897, 450, 450];

/// 1,797 images of 8×8 pixels: 897 to train on, 450 for validation, 450 for the test.
pub fn digits() -> ImageSet {
    let mut text = String::new();
    GzDecoder::new(IMAGES).read_to_string(&mut text).expect("the file in the repository is whole");
    let mut lines = text.lines();
    let [train, validation, test] = SPLITS.map(|images| {
        let mut split = Split::default();
        for line in lines.by_ref().take(images) {
            split.pixels.extend(line.split(',').map(|v| v.parse::<u8>().expect("a small number")));
            split.labels.extend(split.pixels.pop());
        }
        split
    });
    let shape = Shape { channels: 1, size: [8, 8], classes: 10 };
    ImageSet { name: "digits".into(), shape, full: 16, train, validation, test }
}
