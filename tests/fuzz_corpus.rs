//! The inputs that fuzzing has kept, through the same properties (fuzz/README.md).

#[path = "../fuzz/src/properties/mod.rs"]
mod properties;

use std::{fs, path::Path};

#[test]
fn every_property_holds_of_every_kept_input() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (target, _) in properties::PROPERTIES {
        let inputs = fs::read_dir(corpus.join(target)).expect("each target has a corpus");
        let inputs: Vec<_> = inputs.map(|entry| entry.unwrap().path()).collect();
        assert!(!inputs.is_empty(), "{target}");
        for input in inputs {
            // A panic says which input it is of.
            println!("{}", input.display());
            properties::run(target, &fs::read(&input).unwrap());
        }
    }
}
