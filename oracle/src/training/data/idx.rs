//! The IDX format of MNIST (Y. LeCun, C. Cortes, C. Burges).

use std::path::Path;

use super::{
    DataError, ImageSet, Split,
    file::{check, read, unpack},
};
use crate::training::model::Shape;

/// The files with the SHA-256 of their compressed form.
const FILES: [(&str, &str); 4] = [
    ("train-images-idx3-ubyte", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    ("train-labels-idx1-ubyte", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    ("t10k-images-idx3-ubyte", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    ("t10k-labels-idx1-ubyte", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
];
const FROM: &str = "the data set in IDX format, such as MNIST's four files, compressed or not,";
const HINT: &str = "; idx:DIR reads any data set of this format";

/// Reads the four files of a folder, compressed or not. Where they are to be MNIST's, compressed ones are checked. The last
/// sixth of the training images is for validation.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn idx(
    folder: &Path,
    name: &str,
    published: bool,
    progress: &mut dyn FnMut(&Path),
) -> Result<ImageSet, DataError> {
    from(FROM, folder, name, published, progress)
}

/// As [`idx`]; `source` has the files, where one is missing.
pub(super) fn from(
    source: &'static str,
    folder: &Path,
    name: &str,
    published: bool,
    progress: &mut dyn FnMut(&Path),
) -> Result<ImageSet, DataError> {
    let mut load = |(stem, sha256): (&str, &'static str)| {
        let (plain, packed) = (folder.join(stem), folder.join(format!("{stem}.gz")));
        let path = if packed.exists() { packed } else { plain };
        progress(&path);
        let bytes = read(&path, source)?;
        if path.extension().is_none_or(|e| e != "gz") {
            return Ok((path, bytes));
        }
        if published {
            check(&path, &bytes, sha256, HINT)?;
        }
        let unpacked = unpack(&path, &bytes)?;
        Ok((path, unpacked))
    };
    let mut pair = |images, labels| -> Result<(Split, [usize; 2]), DataError> {
        let (path, bytes) = load(images)?;
        let (dimensions, pixels) = parse(&path, &bytes, 3)?;
        let (label_path, label_bytes) = load(labels)?;
        let (label_dimensions, labels) = parse(&label_path, &label_bytes, 1)?;
        if label_dimensions[0] != dimensions[0] {
            let reason = format!("it has {} labels for {} images", label_dimensions[0], dimensions[0]);
            return Err(DataError::malformed(&label_path, reason));
        }
        let size = [dimensions[1], dimensions[2]];
        if labels.is_empty() || size.contains(&0) {
            return Err(DataError::malformed(&path, "it has no images"));
        }
        Ok((Split { pixels: pixels.to_vec(), labels: labels.to_vec() }, size))
    };
    let [images, labels, test_images, test_labels] = FILES;
    let (mut train, size) = pair(images, labels)?;
    let (test, test_size) = pair(test_images, test_labels)?;
    if size != test_size {
        let reason = format!("its images are {test_size:?}, those of the training {size:?}");
        return Err(DataError::malformed(&folder.join(test_images.0), reason));
    }
    let classes = 1 + usize::from(*train.labels.iter().max().unwrap_or(&0));
    if let Some(label) = test.labels.iter().find(|&&l| usize::from(l) >= classes) {
        let reason = format!("it has the label {label}, which no training image has");
        return Err(DataError::malformed(&folder.join(test_labels.0), reason));
    }
    let validation = train.split_off(train.len() - train.len() / 6, size[0] * size[1]);
    let shape = Shape { channels: 1, size, classes };
    Ok(ImageSet { name: name.into(), shape, full: 255, train, validation, test })
}

/// The dimensions and values of an IDX file of unsigned bytes.
fn parse<'a>(path: &Path, bytes: &'a [u8], dimensions: usize) -> Result<(Vec<usize>, &'a [u8]), DataError> {
    let number =
        |at: usize| bytes.get(4 * at..4 * at + 4).map(|b| u32::from_be_bytes(b.try_into().expect("four")));
    let magic = 0x0800 + dimensions as u32;
    match number(0) {
        Some(found) if found == magic => {}
        Some(found) => {
            let reason =
                format!("it begins with {found:#010x} where {magic:#010x} is expected: not such an IDX file");
            return Err(DataError::malformed(path, reason));
        }
        None => return Err(DataError::malformed(path, "it is too short to be an IDX file")),
    }
    let sizes: Option<Vec<usize>> = (1..=dimensions).map(|d| number(d).map(|n| n as usize)).collect();
    let sizes = sizes.ok_or_else(|| DataError::malformed(path, "it is too short to be an IDX file"))?;
    let values = &bytes[4 * (dimensions + 1)..];
    let announced = sizes.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    if announced != Some(values.len()) {
        let reason = format!("it announces {sizes:?} values and has {}", values.len());
        return Err(DataError::malformed(path, reason));
    }
    Ok((sizes, values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn file(dimensions: &[u32], values: &[u8]) -> Vec<u8> {
        let mut bytes = (0x0800 + dimensions.len() as u32).to_be_bytes().to_vec();
        bytes.extend(dimensions.iter().flat_map(|d| d.to_be_bytes()));
        bytes.extend(values);
        bytes
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Twelve training images and two test images of 2×3 pixels.
    fn write(folder: &Path) {
        let images = |n: usize| file(&[n as u32, 2, 3], &(0..6 * n).map(|v| v as u8).collect::<Vec<_>>());
        let labels = |n: usize| file(&[n as u32], &(0..n).map(|v| (v % 3) as u8).collect::<Vec<_>>());
        let put = |name: &str, bytes: Vec<u8>| std::fs::write(folder.join(name), bytes).unwrap();
        put("train-images-idx3-ubyte", images(12));
        put("train-labels-idx1-ubyte.gz", packed(&labels(12)));
        put("t10k-images-idx3-ubyte.gz", packed(&images(2)));
        put("t10k-labels-idx1-ubyte", labels(2));
    }

    #[test]
    fn files_are_read_compressed_or_not() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        let mut seen = 0;
        let data = idx(folder.path(), "idx", false, &mut |_| seen += 1).unwrap();
        assert_eq!((seen, data.shape.size, data.shape.classes), (4, [2, 3], 3));
        assert_eq!([data.train.len(), data.validation.len(), data.test.len()], [10, 2, 2]);
        assert_eq!(data.validation.pixels[0], 60);
        assert_eq!(data.validation.labels, [1, 2]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |published| idx(folder.path(), "x", published, &mut |_| {}).unwrap_err().to_string();
        assert!(refused(false).contains("train-images-idx3-ubyte is missing"));
        write(folder.path());
        let published = refused(true);
        assert!(published.contains("train-labels") && published.contains("idx:DIR reads any"), "{published}");
        let images = folder.path().join("train-images-idx3-ubyte");
        std::fs::write(&images, file(&[12], &[0; 12])).unwrap();
        assert!(refused(false).contains("it begins with 0x00000801 where 0x00000803 is expected"));
        std::fs::write(&images, file(&[12, 2, 3], &[0; 71])).unwrap();
        assert!(refused(false).contains("announces [12, 2, 3] values and has 71"));
        std::fs::write(&images, file(&[u32::MAX, u32::MAX, u32::MAX], &[])).unwrap();
        assert!(refused(false).contains("announces"));
        std::fs::write(&images, file(&[11, 2, 3], &[0; 66])).unwrap();
        assert!(refused(false).contains("it has 12 labels for 11 images"));
        write(folder.path());
        std::fs::write(folder.path().join("t10k-labels-idx1-ubyte"), file(&[2], &[0, 9])).unwrap();
        assert!(refused(false).contains("the label 9, which no training image has"));
        std::fs::write(folder.path().join("t10k-images-idx3-ubyte.gz"), b"nothing").unwrap();
        assert!(refused(false).contains("cannot be unpacked"));
    }
}
