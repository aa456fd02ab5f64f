//! The binary format of CIFAR-10 and CIFAR-100 (A. Krizhevsky, 2009).

use std::path::{Path, PathBuf};

use super::{
    DataError, ImageSet, Split,
    file::{check, read},
};
use crate::training::model::Shape;

/// Bytes of an image: three planes of 32×32.
const IMAGE: usize = 3 * 32 * 32;

/// One of the two data sets.
struct Format {
    name: &'static str,
    /// The folder that the published archive unpacks to.
    folder: &'static str,
    from: &'static str,
    classes: usize,
    /// Bytes before the pixels; the last is the label.
    labels: usize,
    /// Files with their SHA-256; the last is the test set.
    files: &'static [(&'static str, &'static str)],
}

const CIFAR10: Format = Format {
    name: "cifar10",
    folder: "cifar-10-batches-bin",
    from: "the published archive cifar-10-binary.tar.gz, unpacked,",
    classes: 10,
    labels: 1,
    files: &[
        ("data_batch_1.bin", "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
        ("data_batch_2.bin", "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
        ("data_batch_3.bin", "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
        ("data_batch_4.bin", "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
        ("data_batch_5.bin", "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
        ("test_batch.bin", "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
    ],
};

const CIFAR100: Format = Format {
    name: "cifar100",
    folder: "cifar-100-binary",
    from: "the published archive cifar-100-binary.tar.gz, unpacked,",
    classes: 100,
    labels: 2,
    files: &[
        ("train.bin", "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29"),
        ("test.bin", "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a"),
    ],
};

/// Reads CIFAR-10 from the folder that its archive unpacks to, or the folder that has that. Half of the training images
/// are for validation, as in NAS-Bench-201.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn cifar10(folder: &Path, progress: &mut dyn FnMut(&Path)) -> Result<ImageSet, DataError> {
    load(&CIFAR10, folder, progress, true)
}

/// Reads CIFAR-100 with its fine labels, as [`cifar10`] does.
///
/// # Errors
/// As [`cifar10`].
pub fn cifar100(folder: &Path, progress: &mut dyn FnMut(&Path)) -> Result<ImageSet, DataError> {
    load(&CIFAR100, folder, progress, true)
}

fn load(
    format: &Format,
    folder: &Path,
    progress: &mut dyn FnMut(&Path),
    published: bool,
) -> Result<ImageSet, DataError> {
    let inner = folder.join(format.folder);
    let folder: PathBuf = if inner.is_dir() { inner } else { folder.into() };
    let (mut train, mut test) = (Split::default(), Split::default());
    for (place, &(file, sha256)) in format.files.iter().enumerate() {
        let path = folder.join(file);
        progress(&path);
        let bytes = read(&path, format.from)?;
        let split = if place + 1 == format.files.len() { &mut test } else { &mut train };
        // What is wrong by its form is told before that it is not the published file.
        parse(&path, &bytes, format, split)?;
        if published {
            check(&path, &bytes, sha256, "")?;
        }
    }
    let validation = train.split_off(train.len() - train.len() / 2, IMAGE);
    let shape = Shape { channels: 3, size: [32, 32], classes: format.classes };
    Ok(ImageSet { name: format.name.into(), shape, full: 255, train, validation, test })
}

fn parse(path: &Path, bytes: &[u8], format: &Format, split: &mut Split) -> Result<(), DataError> {
    let record = format.labels + IMAGE;
    if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
        let reason = format!(
            "its {} bytes are not whole records of {record}, the labels and 32×32 pixels in three colours of an image: it is cut short, or has \
             images of another size",
            bytes.len()
        );
        return Err(DataError::malformed(path, reason));
    }
    for (index, record) in bytes.chunks_exact(record).enumerate() {
        let (labels, pixels) = record.split_at(format.labels);
        let label = labels[format.labels - 1];
        if usize::from(label) >= format.classes {
            let reason = format!("image {index} has the label {label} of {} classes", format.classes);
            return Err(DataError::malformed(path, reason));
        }
        split.labels.push(label);
        split.pixels.extend_from_slice(pixels);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of `images` images each, labelled in turn.
    fn write(format: &Format, folder: &Path, images: usize) {
        for (file, _) in format.files {
            let mut bytes = Vec::new();
            for image in 0..images {
                bytes.extend(vec![(image % format.classes) as u8; format.labels]);
                bytes.extend(vec![image as u8; IMAGE]);
            }
            std::fs::write(folder.join(file), bytes).unwrap();
        }
    }

    #[test]
    fn both_formats_are_read_from_either_folder() {
        for format in [&CIFAR10, &CIFAR100] {
            let folder = tempfile::tempdir().unwrap();
            let inner = folder.path().join(format.folder);
            std::fs::create_dir(&inner).unwrap();
            write(format, &inner, 12);
            for given in [folder.path(), &inner] {
                let data = load(format, given, &mut |_| {}, false).unwrap();
                let train = 12 * (format.files.len() - 1);
                assert_eq!(
                    [data.train.len(), data.validation.len(), data.test.len()],
                    [train - train / 2, train / 2, 12]
                );
                assert_eq!(data.test.labels[11], (11 % format.classes) as u8);
                assert_eq!(data.test.pixels[11 * IMAGE..], vec![11; IMAGE]);
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |format| load(format, folder.path(), &mut |_| {}, true).unwrap_err().to_string();
        let missing = refused(&CIFAR10);
        assert!(
            missing.contains("data_batch_1.bin is missing") && missing.contains("cifar-10-binary.tar.gz"),
            "{missing}"
        );
        write(&CIFAR10, folder.path(), 12);
        assert!(refused(&CIFAR10).contains("is damaged, or another data set"));
        let batch = folder.path().join("data_batch_1.bin");
        std::fs::write(&batch, vec![0; 3000]).unwrap();
        assert!(refused(&CIFAR10).contains("3000 bytes are not whole records of 3073"));
        std::fs::write(&batch, vec![77; 3073]).unwrap();
        assert!(refused(&CIFAR10).contains("image 0 has the label 77 of 10 classes"));
    }
}
