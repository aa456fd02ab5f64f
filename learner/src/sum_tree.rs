//! A sum tree: draws an index with a chance proportional to its priority in O(log n).

/// Priorities of `capacity` leaves, all 0 at first.
#[derive(Clone, Debug)]
pub struct SumTree {
    leaves: usize,
    /// A binary heap: node i is the sum of 2i and 2i + 1; leaves start at `leaves`.
    nodes: Vec<f64>,
}

impl SumTree {
    /// A tree of at least `capacity` leaves.
    pub fn new(capacity: usize) -> Self {
        let leaves = capacity.max(1).next_power_of_two();
        Self { leaves, nodes: vec![0.0; 2 * leaves] }
    }

    /// Sum of all priorities.
    pub fn total(&self) -> f64 {
        self.nodes[1]
    }

    /// Priority of a leaf.
    pub fn get(&self, leaf: usize) -> f64 {
        self.nodes[self.leaves + leaf]
    }

    /// Changes a priority. What is not a finite number of 0 or more counts as 0.
    pub fn set(&mut self, leaf: usize, priority: f64) {
        let mut node = self.leaves + leaf;
        self.nodes[node] = if priority.is_finite() { priority.max(0.0) } else { 0.0 };
        // Sums are made anew from both children: differences would gather rounding errors over millions of changes.
        while node > 1 {
            node /= 2;
            self.nodes[node] = self.nodes[2 * node] + self.nodes[2 * node + 1];
        }
    }

    /// The leaf at which the running sum of priorities passes `mass`, for 0 ≤ mass < total. Never a leaf of priority 0
    /// while the total is above 0.
    pub fn find(&self, mut mass: f64) -> usize {
        let mut node = 1;
        while node < self.leaves {
            let left = self.nodes[2 * node];
            // Rounding may leave a mass at the very end: never go into an empty half.
            if mass < left || self.nodes[2 * node + 1] <= 0.0 {
                node *= 2;
            } else {
                mass -= left;
                node = 2 * node + 1;
            }
        }
        node - self.leaves
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_finds_what_a_running_sum_finds(
            priorities in proptest::collection::vec(0u32..5, 1..70),
            share in 0.0f64..1.0,
        ) {
            let mut tree = SumTree::new(priorities.len());
            for (i, &p) in priorities.iter().enumerate() {
                tree.set(i, 7.0);
                tree.set(i, f64::from(p));
            }
            let total: u32 = priorities.iter().sum();
            prop_assert_eq!(tree.total(), f64::from(total));
            prop_assume!(total > 0);
            let mass = share * f64::from(total);
            let mut sum = 0.0;
            let expected = priorities.iter().position(|&p| { sum += f64::from(p); mass < sum }).unwrap();
            prop_assert_eq!(tree.find(mass), expected);
            // Also at and beyond the end: a leaf that can be drawn.
            prop_assert!(priorities[tree.find(f64::from(total))] > 0);
        }
    }

    #[test]
    fn what_is_not_a_priority_counts_as_none() {
        let mut tree = SumTree::new(3);
        tree.set(0, f64::NAN);
        tree.set(1, -1.0);
        tree.set(2, 2.0);
        assert_eq!((tree.total(), tree.find(1.9)), (2.0, 2));
    }
}
