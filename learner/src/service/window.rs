//! Window: which sequence numbers of one incarnation were entered, and up to where all of them are settled.

use std::collections::VecDeque;

/// Sequence numbers start at 1 and are entered without gaps; they may be settled in any order.
#[derive(Debug, Default)]
pub(super) struct Window {
    acknowledged: u64,
    /// Whether `acknowledged + 1 + index` is settled; as many as there are credits at most.
    settled: VecDeque<bool>,
}

impl Window {
    /// The highest number entered.
    pub fn entered(&self) -> u64 {
        self.acknowledged + self.settled.len() as u64
    }

    /// The highest number up to which all are settled.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Enters the next number and returns it.
    pub fn enter(&mut self) -> u64 {
        self.settled.push_back(false);
        self.entered()
    }

    /// Settles a number; whether that moved [`Self::acknowledged`]. Numbers that are not under way are ignored.
    pub fn settle(&mut self, sequence: u64) -> bool {
        let before = self.acknowledged;
        let index = sequence.checked_sub(before + 1).and_then(|i| usize::try_from(i).ok());
        if let Some(settled) = index.and_then(|i| self.settled.get_mut(i)) {
            *settled = true;
        }
        while self.settled.front() == Some(&true) {
            self.settled.pop_front();
            self.acknowledged += 1;
        }
        self.acknowledged > before
    }
}

#[cfg(test)]
mod tests {
    use super::Window;
    use proptest::prelude::*;

    proptest! {
        /// Acknowledged is always the longest settled prefix, whatever the order.
        #[test]
        fn acknowledges_the_settled_prefix(
            order in Just((1..=20u64).collect::<Vec<_>>()).prop_shuffle(),
            strangers in proptest::collection::vec(prop_oneof![Just(0), 21..u64::MAX], 20),
        ) {
            let mut window = Window::default();
            for expected in 1..=20 {
                prop_assert_eq!(window.enter(), expected);
            }
            let mut settled = [false; 21];
            for (sequence, stranger) in order.into_iter().zip(strangers) {
                prop_assert!(!window.settle(stranger));
                settled[sequence as usize] = true;
                let before = window.acknowledged();
                let moved = window.settle(sequence);
                let prefix = settled[1..].iter().take_while(|s| **s).count() as u64;
                prop_assert_eq!(window.acknowledged(), prefix);
                prop_assert_eq!(moved, prefix > before);
                prop_assert_eq!(window.entered(), 20);
            }
        }
    }
}
