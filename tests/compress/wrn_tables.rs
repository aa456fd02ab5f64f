//! `fashion-wrn`, `cifar10-wrn` and `cifar100-wrn`: benchmarks that whoever has the images makes with one command.

use crate::harness::{Process, SOON, command, failure, output, stdout, text};
use serde_json::Value;
use std::{fs, path::Path, time::Duration};
use tempfile::TempDir;

const TASK: &str = "fashion-wrn/val/worst@32";

/// Four IDX files of a few images of so many pixels each way.
fn write_images(folder: &Path, side: u32) {
    for (name, images) in [("train", 12u32), ("t10k", 2)] {
        let head = |numbers: &[u32]| {
            let magic = 0x0800 + numbers.len() as u32;
            std::iter::once(&magic).chain(numbers).flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>()
        };
        let pixels = vec![7; (images * side * side) as usize];
        let labels: Vec<u8> = (0..images).map(|image| (image % 10) as u8).collect();
        let write = |kind: &str, head: Vec<u8>, values: Vec<u8>| {
            fs::write(folder.join(format!("{name}-{kind}")), [head, values].concat()).unwrap();
        };
        write("images-idx3-ubyte", head(&[images, side, side]), pixels);
        write("labels-idx1-ubyte", head(&[images]), labels);
    }
}

/// CIFAR's files with so many records of so many bytes each, which begin with these labels; the last file is the test set.
fn write_cifar(folder: &Path, labels: &[u8], bytes: usize) {
    let batches = (1..=5).map(|batch| format!("data_batch_{batch}.bin"));
    let (files, images): (Vec<String>, usize) = match labels.len() {
        1 => (batches.chain(["test_batch.bin".into()]).collect(), 4),
        _ => (["train.bin", "test.bin"].map(String::from).into(), 4),
    };
    fs::create_dir_all(folder).unwrap();
    for file in files {
        let record = [labels, &vec![7; bytes - labels.len()]].concat();
        fs::write(folder.join(file), record.repeat(images)).unwrap();
    }
}

#[test]
fn what_a_table_of_cifar_cannot_be_made_of_is_said() {
    let folder = TempDir::new().unwrap();
    let images = |name: &str| folder.path().join(name);
    fs::create_dir(images("empty")).unwrap();
    write_cifar(&images("small"), &[3], 1 + 3 * 28 * 28);
    write_cifar(&images("labels"), &[10], 3073);
    write_cifar(&images("other"), &[3], 3073);
    write_cifar(&images("fine"), &[0, 100], 3074);
    write_cifar(&images("cut"), &[0, 99], 3074);
    let cut = images("cut").join("train.bin");
    fs::write(&cut, &fs::read(&cut).unwrap()[..9000]).unwrap();
    for (arguments, says) in [
        (&["cifar10-wrn"][..], &["wants --images DIR", "cifar-10-binary.tar.gz"][..]),
        (&["cifar10-wrn", "--images", "empty"], &["data_batch_1.bin is missing", "cifar-10-binary.tar.gz"]),
        (&["cifar100-wrn", "--images", "nowhere"], &["train.bin is missing", "cifar-100-binary.tar.gz"]),
        (&["cifar10-wrn", "--images", "small"], &["not whole records of 3073", "images of another size"]),
        (&["cifar100-wrn", "--images", "cut"], &["its 9000 bytes", "cut short"]),
        (&["cifar10-wrn", "--images", "labels"], &["image 0 has the label 10 of 10 classes"]),
        (&["cifar100-wrn", "--images", "fine"], &["image 0 has the label 100 of 100 classes"]),
        (&["cifar10-wrn", "--images", "other"], &["is damaged, or another data set"]),
        (&["digits", "--train-images", "100"], &["cifar10-wrn, cifar100-wrn, fashion-wrn"]),
    ] {
        let generate = [&["bench", "--bench-dir", "tables", "generate"], arguments].concat();
        let (code, said) = failure(&output(folder.path(), &generate));
        assert!(code == 2 && says.iter().all(|text| said.contains(text)), "{arguments:?}: {code} {said}");
    }
    // Nothing was begun.
    assert!(!images("tables").exists());
    let compare = ["compare", "--task", "cifar100-wrn/val/worst@8", "--out", "r"];
    let (_, said) = failure(&output(folder.path(), &compare));
    assert!(said.contains("make it with `srnas bench generate cifar100-wrn`"), "{said}");
}

#[test]
fn what_fashion_wrn_cannot_be_made_of_is_said() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("images")).unwrap();
    write_images(&folder.path().join("images"), 32);
    let generate = |more: &[&str]| failure(&output(folder.path(), &[&["bench", "generate"], more].concat()));
    let package = "dataset-fashion-mnist";
    for (arguments, says) in [
        (
            &["fashion-wrn", "--images", "nowhere"][..],
            &["nowhere/train-images-idx3-ubyte is missing", package][..],
        ),
        (
            &["fashion-wrn", "--images", "images"],
            &["its images are 32×32, those of Fashion-MNIST 28×28", package],
        ),
        (&["fashion-wrn", "--images", "images", "--shapes", "2000"], &["the space has 1458 networks"]),
        (&["fashion-wrn", "--shapes", "0"], &["--shapes"]),
        (&["digits-wrn", "--seeds", "1"], &["go with cifar10-wrn, cifar100-wrn, fashion-wrn"]),
    ] {
        let (code, said) = generate(arguments);
        assert!(code == 2 && says.iter().all(|text| said.contains(text)), "{arguments:?}: {code} {said}");
    }
    // Nothing was begun.
    assert!(!folder.path().join("digits-wrn.safetensors").exists());
    let (_, said) = failure(&output(folder.path(), &["compare", "--task", TASK, "--out", "r"]));
    assert!(said.contains("make it with `srnas bench generate fashion-wrn`"), "{said}");
    let search =
        ["search", "--oracle", "train", "--space", "wrn-compress-22-3-basic", "--data", "fashion:images"];
    let (code, said) = failure(&output(folder.path(), &search));
    assert!(code != 0 && said.contains(package), "{said}");
}

#[test]
fn it_is_made_over_a_kill_and_searched() {
    let Some(images) = std::env::var_os("FASHION_MNIST") else {
        return eprintln!(
            "skipped: FASHION_MNIST names no folder with the files of the Debian package dataset-fashion-mnist"
        );
    };
    let (images, folder) = (images.to_str().unwrap(), TempDir::new().unwrap());
    let here = ["--out", "fashion-wrn.safetensors", "--images", images];
    let size = ["--shapes", "6", "--train-images", "640", "--attack-images", "64", "--threads", "1"];
    let generate = [&["bench", "generate", "fashion-wrn"], &size[..], &here].concat();
    let journal = folder.path().join("fashion-wrn.trainings.jsonl");
    let trained = || fs::read_to_string(&journal).map_or(0, |text| text.lines().count().saturating_sub(1));
    let mut first = Process::start(command(folder.path(), &generate));
    let deadline = std::time::Instant::now() + SOON;
    while trained() < 2 && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    first.kill();
    let before = fs::read_to_string(&journal).unwrap();
    assert!(trained() >= 2 && !folder.path().join("fashion-wrn.safetensors").exists());
    let second = output(folder.path(), &generate);
    assert!(second.status.success(), "{}", text(&second.stderr));
    let said = text(&second.stderr);
    let announced = "6 trainings on 640 images each, 64 of each split attacked";
    assert!(said.contains(announced) && said.contains("at most about"), "{said}");
    assert!(stdout(&second).contains("6 of 1,458 classes"), "{}", stdout(&second));
    assert!(!journal.exists());
    // What was trained before the kill is in the table as it was then.
    let entry: Value = serde_json::from_str(before.lines().nth(1).unwrap()).unwrap();
    let bench = |more: &[&str]| {
        let done = output(folder.path(), &[&["bench", "--bench-dir", "."], more].concat());
        assert!(done.status.success(), "{}", text(&done.stderr));
        stdout(&done)
    };
    let all = bench(&["best", "fashion-wrn", "val/loss", "--limit", "6", "--json"]);
    let loss = entry["values"]["val/loss"].as_f64().unwrap();
    let value = |line: &str| serde_json::from_str::<Value>(line).unwrap()["value"].as_f64().unwrap();
    assert!(all.lines().any(|line| (value(line) - loss).abs() < 2e-3 * loss), "{loss}: {all}");
    let verified = bench(&["verify", "fashion-wrn", "--retrain", "1", "--images", images]);
    assert!(verified.contains("equal scores") && !verified.contains("FAILED"), "{verified}");
    let compared = output(
        folder.path(),
        &[
            "compare",
            "--bench-dir",
            ".",
            "--task",
            TASK,
            "--method",
            "random",
            "--budget",
            "3",
            "--seeds",
            "2",
            "--out",
            "r",
        ],
    );
    assert!(compared.status.success(), "{}", text(&compared.stderr));
}
