//! The published name of a cell: a hash that is the same for cells that differ in the numbers of their vertices alone.

use md5::{Digest, Md5};
use srnas_basics::text::hex;
use srnas_space::{Choices, nb101};

/// The hash of `hash_module` in the benchmark's `graph_util.py`; none for what is no cell.
pub fn module_hash(choices: &Choices) -> Option<String> {
    let (labels, edges) = nb101::published_form(choices)?;
    let n = labels.len();
    let vertex = |v: usize| {
        let outputs = (0..n).filter(|&w| edges[v][w]).count();
        let inputs = (0..n).filter(|&w| edges[w][v]).count();
        md5(&format!("({outputs}, {inputs}, {})", labels[v]))
    };
    let mut hashes: Vec<String> = (0..n).map(vertex).collect();
    for _ in 0..n {
        let sorted = |leads: &dyn Fn(usize) -> bool| {
            let mut all: Vec<&str> = (0..n).filter(|&w| leads(w)).map(|w| hashes[w].as_str()).collect();
            all.sort_unstable();
            all.concat()
        };
        let next = |v: usize| {
            let (inputs, outputs) = (sorted(&|w| edges[w][v]), sorted(&|w| edges[v][w]));
            md5(&format!("{inputs}|{outputs}|{}", hashes[v]))
        };
        hashes = (0..n).map(next).collect();
    }
    hashes.sort_unstable();
    // As Python writes a list of words.
    let list: Vec<String> = hashes.iter().map(|hash| format!("'{hash}'")).collect();
    Some(md5(&format!("[{}]", list.join(", "))))
}

fn md5(text: &str) -> String {
    hex(&Md5::digest(text))
}
