//! What must hold whatever is read. Each function takes any bytes: it reads them as the program reads what comes from outside,
//! and fails where what is read does not keep what it promises. The fuzz targets call them, and an ordinary test
//! (`tests/fuzz_corpus.rs`) calls them on the kept corpus.

mod answer;
mod benchmark;
mod ledger;
mod policy;
mod replay;
mod sections;
mod space;
mod table;
mod wire;
mod words;

/// What must hold of any bytes; it panics where it does not.
pub type Property = fn(&[u8]);

/// The properties by the names of their targets.
pub const PROPERTIES: &[(&str, Property)] = &[
    ("formula", space::formula),
    ("space", space::toml),
    ("configspace", space::configspace),
    ("table", table::table),
    ("suggest", table::suggested),
    ("benchmark", benchmark::benchmark),
    ("wire", wire::wire),
    ("ledger", ledger::ledger),
    ("policy", policy::policy),
    ("answer", answer::answer),
    ("replay", replay::replay),
    ("words", words::words),
];

/// Calls the property of a target.
///
/// # Panics
/// Where it does not hold, or there is none.
pub fn run(target: &str, bytes: &[u8]) {
    let (_, holds) = PROPERTIES.iter().find(|(name, _)| *name == target).expect("a target");
    holds(bytes);
}
