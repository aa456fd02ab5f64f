//! Bytes from somebody who means harm, and a limit on what reading them may allocate.
#![allow(dead_code, reason = "each test file uses what it needs")]

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};

/// Any bytes, up to so many.
pub fn noise(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=longest)
}

/// Bytes that were good: with bits flipped, runs overwritten (by what reads as small or huge numbers too), cut,
/// lengthened, or with a piece moved.
pub fn damaged(good: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let change = (0..6u8, any::<Index>(), any::<Index>(), any::<[u8; 8]>());
    vec(change, 1..6).prop_map(move |changes| {
        let mut bytes = good.clone();
        for (kind, place, other, values) in changes {
            let (place, other) = (place.index(bytes.len() + 1), other.index(bytes.len() + 1));
            let overwrite = |bytes: &mut Vec<u8>, values: [u8; 8]| {
                bytes.iter_mut().skip(place).zip(values).for_each(|(byte, value)| *byte = value);
            };
            match kind {
                0 => bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 1 << (values[0] % 8)),
                1 => overwrite(&mut bytes, values),
                2 => overwrite(&mut bytes, [if values[0] % 2 == 0 { 0xff } else { 0 }; 8]),
                3 => bytes.truncate(place),
                4 => bytes.extend(values),
                _ => bytes.rotate_left(place.abs_diff(other)),
            }
        }
        bytes
    })
}

/// A text with some of its numbers replaced by those that programs stumble over.
pub fn with_odd_numbers(text: String) -> impl Strategy<Value = String> {
    let numbers = numbers(&text);
    let odd = [
        "0",
        "-1",
        "1e39",
        "1e-39",
        "65537",
        "4294967296",
        "9223372036854775808",
        "18446744073709551615",
        "null",
    ];
    vec((any::<Index>(), select(odd.to_vec())), 1..4).prop_map(move |changes| {
        let mut changes: Vec<_> = changes
            .into_iter()
            .map(|(place, odd)| (numbers[place.index(numbers.len())].clone(), odd))
            .collect();
        changes.sort_by_key(|(place, _)| std::cmp::Reverse(place.start));
        changes.dedup_by_key(|(place, _)| place.start);
        let mut text = text.clone();
        changes.into_iter().for_each(|(place, odd)| text.replace_range(place, odd));
        text
    })
}

/// Where the numbers of a text are.
fn numbers(text: &str) -> Vec<std::ops::Range<usize>> {
    let digit = |c: char| c.is_ascii_digit() || c == '.';
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = text[from..].find(digit).map(|at| from + at) {
        from = text[start..].find(|c| !digit(c)).map_or(text.len(), |at| start + at);
        found.push(start..from);
    }
    found
}

/// What `read` returns; fails if it held more than `factor` times the bytes of its input at a time, and 16 KiB.
pub fn bounded<T>(input: usize, factor: usize, read: impl FnOnce() -> T) -> T {
    let mut result = None;
    let allocations = allocation_counter::measure(|| result = Some(read()));
    let limit = (factor * input + (16 << 10)) as u64;
    assert!(allocations.bytes_max <= limit, "{} bytes held to read {input}", allocations.bytes_max);
    result.expect("it was read")
}
