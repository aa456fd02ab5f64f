//! Fashion-MNIST (arXiv 1708.07747) at a size for small networks: the mean of every two by two pixels.

use super::{DataError, ImageSet, Split, idx};
use crate::training::model::Shape;
use std::path::Path;

/// Where Debian's package has it once it is installed.
pub const FASHION: &str = "/usr/share/datasets/fashion-mnist";
const FROM: &str =
    "the Debian package dataset-fashion-mnist, which puts it into /usr/share/datasets/fashion-mnist,";
/// Height and width as published.
const SIDE: usize = 28;
/// Of all that was published, as [`ImageSet::sha256`] has it.
const SHA256: &str = "2d5c94c2517ec7b7798c6d1b3882e780fea32a3062e04771d93d33c69ca46b2c";
/// As many images as [`digits`](super::digits) has.
const SPLITS: [usize; 3] = [897, 450, 450];

/// The first 897 training images to train on, the first 450 of the last sixth of them for validation, the first 450 test images for the test; each
/// of 14×14 pixels, the means of two by two.
///
/// # Errors
/// Names the file and what is wrong with it, and the package that has the right one.
pub fn fashion(folder: &Path, progress: &mut dyn FnMut(&Path)) -> Result<ImageSet, DataError> {
    let whole = idx::from(FROM, folder, "fashion", false, progress)?;
    let ImageSet { shape: Shape { size: [height, width], classes, .. }, .. } = whole;
    let wrong = |what: String| {
        let reason = format!("{what}: it is another data set, or damaged; {FROM} has it");
        DataError::malformed(folder, reason)
    };
    if [height, width] != [SIDE; 2] {
        return Err(wrong(format!("its images are {height}×{width}, those of Fashion-MNIST {SIDE}×{SIDE}")));
    }
    if classes != 10 {
        return Err(wrong(format!("it tells {classes} classes apart, and Fashion-MNIST 10")));
    }
    let found = whole.sha256();
    if found != SHA256 {
        return Err(wrong(format!("its images have SHA-256 {found}, those of Fashion-MNIST {SHA256}")));
    }
    Ok(pooled(&whole))
}

/// The first images of each split at half the height and width.
fn pooled(whole: &ImageSet) -> ImageSet {
    let [height, width] = whole.shape.size;
    let halved = |split: &Split, images: usize| {
        let images = images.min(split.len());
        let mut pixels = Vec::with_capacity(images * height * width / 4);
        for image in split.pixels.chunks_exact(height * width).take(images) {
            for rows in image.chunks_exact(2 * width) {
                let (upper, lower) = rows.split_at(width);
                let mean = |(a, b): (&[u8], &[u8])| {
                    // To the nearest.
                    ((a.iter().chain(b).map(|&pixel| u16::from(pixel)).sum::<u16>() + 2) / 4) as u8
                };
                pixels.extend(upper.chunks_exact(2).zip(lower.chunks_exact(2)).map(mean));
            }
        }
        Split { pixels, labels: split.labels[..images].to_vec() }
    };
    let [train, validation, test] = SPLITS;
    ImageSet {
        name: whole.name.clone(),
        shape: Shape { size: [height / 2, width / 2], ..whole.shape },
        full: whole.full,
        train: halved(&whole.train, train),
        validation: halved(&whole.validation, validation),
        test: halved(&whole.test, test),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Four files of so many images of one size each, labelled in turn.
    fn write(folder: &Path, side: u32, classes: u8) {
        for (name, images) in [("train", 60u32), ("t10k", 20)] {
            let head = |numbers: &[u32]| {
                let magic = 0x0800 + numbers.len() as u32;
                std::iter::once(&magic).chain(numbers).flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>()
            };
            let mut bytes = head(&[images, side, side]);
            bytes.extend((0..images * side * side).map(|pixel| (pixel % 251) as u8));
            fs::write(folder.join(format!("{name}-images-idx3-ubyte")), bytes).unwrap();
            let mut bytes = head(&[images]);
            bytes.extend((0..images).map(|image| (image % u32::from(classes)) as u8));
            fs::write(folder.join(format!("{name}-labels-idx1-ubyte")), bytes).unwrap();
        }
    }

    #[test]
    fn what_is_not_fashion_mnist_is_refused_and_the_package_named() {
        let folder = tempfile::tempdir().unwrap();
        let refused = || fashion(folder.path(), &mut |_| {}).unwrap_err().to_string();
        let says = |text: &str| {
            let said = refused();
            assert!(said.contains(text) && said.contains("dataset-fashion-mnist"), "{said}");
        };
        says("train-images-idx3-ubyte is missing");
        write(folder.path(), 32, 10);
        says("its images are 32×32, those of Fashion-MNIST 28×28");
        write(folder.path(), 28, 7);
        says("it tells 7 classes apart");
        write(folder.path(), 28, 10);
        says("its images have SHA-256");
    }

    #[test]
    fn pixels_are_the_means_of_two_by_two() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 28, 10);
        let whole = idx::idx(folder.path(), "x", false, &mut |_| {}).unwrap();
        let data = pooled(&whole);
        assert_eq!((data.shape.size, data.image_len()), ([14, 14], 196));
        // Of a small set there are as many as there are.
        assert_eq!([data.train.len(), data.validation.len(), data.test.len()], [50, 10, 20]);
        assert_eq!(data.validation.labels, whole.validation.labels);
        let of = |image: usize, row: usize, column: usize| {
            let pixel =
                |row: usize, column: usize| f64::from(whole.train.pixels[image * 784 + row * 28 + column]);
            let [above, below] = [0, 1].map(|down| pixel(2 * row + down, 2 * column));
            let [above, below] =
                [above + pixel(2 * row, 2 * column + 1), below + pixel(2 * row + 1, 2 * column + 1)];
            ((above + below) / 4.0 + 0.5).floor() as u8
        };
        for (image, row, column) in [(0, 0, 0), (3, 5, 13), (49, 13, 2)] {
            assert_eq!(data.train.pixels[image * 196 + row * 14 + column], of(image, row, column));
        }
        assert_eq!(data.train.pixels.len(), 50 * 196);
    }

    #[test]
    #[expect(clippy::print_stderr, reason = "a test says that it is skipped")]
    fn the_published_files_are_read() {
        let Some(folder) = std::env::var_os("FASHION_MNIST") else {
            return eprintln!(
                "skipped: FASHION_MNIST names no folder with the files of the Debian package dataset-fashion-mnist"
            );
        };
        let data = fashion(Path::new(&folder), &mut |_| {}).unwrap();
        assert_eq!([data.train.len(), data.validation.len(), data.test.len()], SPLITS);
        assert_eq!(data.shape, Shape { channels: 1, size: [14, 14], classes: 10 });
    }
}
