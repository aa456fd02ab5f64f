#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| srnas_fuzz::properties::run("ledger", bytes));
