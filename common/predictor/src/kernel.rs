//! The kernel of choice counts and Hamming distance on active forms (methods: 0.8·exp(−c/ℓ) + 0.2·exp(−h/ℓ)); where some decisions
//! are numbers, the first is smooth in them.
//!
//! Distances are small whole numbers, so the exponentials are looked up, and architectures are kept one column each so
//! that a row of the kernel is a few passes over bytes.

use super::PlainSettings;
use srnas_network::vectorised;
use srnas_space::{Choices, SearchSpace};

/// Active forms and choice counts of a set of architectures, stored by decision: u8 [decisions, capacity] and
/// u8 [count features, capacity].
#[derive(Clone, Debug)]
pub struct Forms {
    capacity: usize,
    active: Vec<u8>,
    counts: Vec<u8>,
}

impl Forms {
    /// Room for `capacity` architectures of a space.
    pub fn new(space: &SearchSpace, capacity: usize) -> Self {
        Self {
            capacity,
            active: vec![0; space.len() * capacity],
            counts: vec![0; space.count_features() * capacity],
        }
    }

    /// Puts an architecture into a column.
    pub fn set(&mut self, column: usize, form: &Form) {
        for (d, &c) in form.active.iter().enumerate() {
            self.active[d * self.capacity + column] = c;
        }
        for (k, &c) in form.counts.iter().enumerate() {
            self.counts[k * self.capacity + column] = c;
        }
    }

    /// The architecture in a column.
    pub fn copy_to(&self, column: usize, form: &mut Form) {
        for (d, c) in form.active.iter_mut().enumerate() {
            *c = self.active[d * self.capacity + column];
        }
        for (k, c) in form.counts.iter_mut().enumerate() {
            *c = self.counts[k * self.capacity + column];
        }
    }

    /// Number of columns.
    pub fn capacity(&self) -> usize {
        self.capacity
    }
}

/// One architecture as the kernel sees it.
#[derive(Clone, Debug)]
pub struct Form {
    active: Vec<u8>,
    counts: Vec<u8>,
}

impl Form {
    /// An empty form of the space's shape, to be written with [`Form::assign`].
    pub fn new(space: &SearchSpace) -> Self {
        Self { active: vec![0; space.len()], counts: vec![0; space.count_features()] }
    }

    /// The active form: u8 [decisions].
    pub fn active(&self) -> &[u8] {
        &self.active
    }

    /// Takes the active form and the counts of an architecture.
    pub fn assign(&mut self, space: &SearchSpace, choices: &Choices) {
        self.active.copy_from_slice(choices);
        space.activate(&mut self.active);
        space.count_choices(&self.active, &mut self.counts);
    }
}

/// The kernel for one shape of space.
#[derive(Clone, Debug)]
pub struct Kernel {
    by_hamming: Vec<f32>,
    by_squared_count_distance: Vec<f32>,
}

impl Kernel {
    /// The kernel of these settings for a space: lengths scale with decisions/2.
    pub fn new(settings: &PlainSettings, space: &SearchSpace) -> Self {
        let decisions = space.len();
        // Squares are summed up to here.
        let furthest = space.most_squared_count_distance().min(usize::from(u16::MAX));
        let half = decisions as f32 / 2.0;
        let (count_length, hamming_length) = (settings.count_length * half, settings.hamming_length * half);
        let unit = space.count_unit();
        let by_count = |squared: usize| {
            let apart = (squared as f32).sqrt() / f32::from(unit) / count_length;
            match unit {
                1 => (-apart).exp(),
                // What depends on numbers is smooth in them: Matérn 5/2 (Rasmussen & Williams 2006, 4.17).
                _ => {
                    let scaled = 5f32.sqrt() * apart;
                    (1.0 + scaled + scaled * scaled / 3.0) * (-scaled).exp()
                }
            }
        };
        let share = settings.count_share;
        Self {
            by_hamming: (0..=decisions)
                .map(|h| (1.0 - share) * (-(h as f32) / hamming_length).exp())
                .collect(),
            by_squared_count_distance: (0..=furthest).map(|c2| share * by_count(c2)).collect(),
        }
    }

    /// k(x, column) for the columns `start .. start + out.len()`.
    pub fn row(&self, forms: &Forms, start: usize, x: &Form, out: &mut [f32]) {
        vectorised!(self.fill(forms, start, x, out));
    }

    #[inline(always)]
    fn fill(&self, forms: &Forms, start: usize, x: &Form, out: &mut [f32]) {
        const BLOCK: usize = 256;
        const LANES: usize = 64;
        // So many decisions are counted in a byte.
        const BYTE: usize = u8::MAX as usize;
        let n = out.len();
        debug_assert!(start + n <= forms.capacity);
        let (mut hamming, mut few, mut squares) = ([0u16; BLOCK], [0u8; BLOCK], [0u16; BLOCK]);
        let mut done = 0;
        while done < n {
            let len = BLOCK.min(n - done);
            let (h, few, c) = (&mut hamming[..len], &mut few[..len], &mut squares[..len]);
            h.fill(0);
            c.fill(0);
            for (nth, active) in x.active.chunks(BYTE).enumerate() {
                let column = nth * BYTE * forms.capacity + start + done;
                let (whole, rest) = few.as_chunks_mut::<LANES>();
                for (k, few) in whole.iter_mut().enumerate() {
                    // Counted in registers, whatever the number of decisions.
                    let mut sums = [0; LANES];
                    for (d, &own) in active.iter().enumerate() {
                        let at = column + d * forms.capacity + k * LANES;
                        let others: &[u8; LANES] = forms.active[at..][..LANES].try_into().expect("as long");
                        sums.iter_mut().zip(others).for_each(|(sum, &other)| *sum += u8::from(other != own));
                    }
                    *few = sums;
                }
                rest.fill(0);
                for (d, &own) in active.iter().enumerate() {
                    let at = column + d * forms.capacity + len - rest.len();
                    for (few, &other) in rest.iter_mut().zip(&forms.active[at..]) {
                        *few += u8::from(other != own);
                    }
                }
                h.iter_mut().zip(few.iter()).for_each(|(h, &few)| *h += u16::from(few));
            }
            for (k, &own) in x.counts.iter().enumerate() {
                let at = k * forms.capacity + start + done;
                for (c, &other) in c.iter_mut().zip(&forms.counts[at..at + len]) {
                    let difference = u16::from(other.abs_diff(own));
                    *c = c.saturating_add(difference * difference);
                }
            }
            for ((out, &h), &c) in out[done..done + len].iter_mut().zip(h.iter()).zip(c.iter()) {
                *out = self.by_hamming[h as usize] + self.by_squared_count_distance[c as usize];
            }
            done += len;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use srnas_space::{Condition, Conditional, Decision};

    fn check(space: &SearchSpace, a: &Choices, b: &Choices, hamming: f32, squared: f32) {
        let settings = PlainSettings::default();
        let kernel = Kernel::new(&settings, space);
        let mut forms = Forms::new(space, 2);
        let mut form = Form::new(space);
        form.assign(space, b);
        forms.set(1, &form);
        form.assign(space, a);
        forms.set(0, &form);
        let mut row = [0.0; 2];
        kernel.row(&forms, 0, &form, &mut row);
        assert!((row[0] - 1.0).abs() < 1e-6, "k(x, x) is {}", row[0]);
        let half = space.len() as f32 / 2.0;
        let expected = 0.8 * (-squared.sqrt() / half).exp() + 0.2 * (-hamming / half).exp();
        assert!((row[1] - expected).abs() < 1e-6, "{} instead of {expected}", row[1]);
    }

    #[test]
    fn dead_edges_do_not_count_and_moved_choices_count_little() {
        let space = SearchSpace::named("nb201").unwrap();
        // The first two differ in edge 0>1, but nothing leads on from node 1.
        check(&space, &[3, 0, 0, 2, 0, 0], &[4, 0, 0, 2, 0, 0], 0.0, 0.0);
        // A convolution moved from edge 0>3 to the path over node 1 (with a skip): two edges more are active.
        check(&space, &[0, 0, 0, 3, 0, 0], &[3, 0, 0, 0, 1, 0], 3.0, 1.0 + 1.0);
    }

    #[test]
    fn ordered_choices_are_the_nearer_the_nearer_they_stand() {
        let width = ["8", "16", "32", "64"];
        let ordered = |name: &str| Decision { ordered: true, ..Decision::new(name, &width) };
        let decisions = vec![ordered("width1"), ordered("width2"), Decision::new("op", &width)];
        let space = Conditional::space("made-up", decisions, vec![]).unwrap();
        // Neighbours differ in one cumulative count, the ends in three; words in two, whichever they are.
        check(&space, &[0, 1, 2], &[1, 1, 2], 1.0, 1.0);
        check(&space, &[0, 1, 2], &[3, 1, 2], 1.0, 3.0);
        check(&space, &[0, 1, 0], &[0, 1, 3], 1.0, 2.0);
        // Both from one end to the other, and the word: the furthest there is.
        check(&space, &[0, 0, 0], &[3, 3, 3], 3.0, 3.0 * 4.0 + 2.0);
        // A column that holds nothing yet is further from the other end than that.
        let (mut form, mut row) = (Form::new(&space), [0.0; 2]);
        form.assign(&space, &[3, 3, 3]);
        Kernel::new(&PlainSettings::default(), &space).row(&Forms::new(&space, 2), 0, &form, &mut row);
        assert!(row[0] > 0.0 && row[0] < 0.8 * (-14f32.sqrt() / 1.5).exp() + 0.2);
        assert_eq!(space.most_squared_count_distance(), 4 * 4 + 2);
    }

    #[test]
    fn numbers_are_near_where_they_are_near_and_each_is_its_own() {
        let levels: Vec<String> = (0..33).map(|level| level.to_string()).collect();
        let levels: Vec<&str> = levels.iter().map(String::as_str).collect();
        let number = |name: &str| Decision { ordered: true, ..Decision::new(name, &levels) };
        let decisions = vec![number("x"), number("y"), Decision::new("op", &["conv", "pool"])];
        let space = Conditional::space("made-up", decisions, vec![]).unwrap();
        assert_eq!((space.count_features(), space.count_unit()), (4, 16));
        let kernel = Kernel::new(&PlainSettings::default(), &space);
        let k = |a: &Choices, b: &Choices| {
            let (mut forms, mut form, mut row) = (Forms::new(&space, 1), Form::new(&space), [0.0]);
            form.assign(&space, b);
            forms.set(0, &form);
            form.assign(&space, a);
            kernel.row(&forms, 0, &form, &mut row);
            row[0]
        };
        let apart = |levels: u8| k(&[8, 20, 0], &[8 + levels, 20, 0]);
        assert!((apart(0) - 1.0).abs() < 1e-6);
        // A level of 32 is a quarter of a count, and half the decisions are 1.5.
        let scaled = 5f32.sqrt() * 0.25 / 1.5;
        let expected =
            0.8 * (1.0 + scaled + scaled * scaled / 3.0) * (-scaled).exp() + 0.2 * (-1f32 / 1.5).exp();
        assert!((apart(1) - expected).abs() < 1e-6, "{} instead of {expected}", apart(1));
        assert!((0..24).all(|levels| apart(levels) > apart(levels + 1)));
        // Exchanged, they are not the same: how many there are of a number says nothing.
        assert!(k(&[4, 28, 0], &[28, 4, 0]) < k(&[4, 28, 0], &[6, 26, 0]));
        assert!(k(&[0, 0, 0], &[32, 32, 1]) > 0.0 && k(&[0, 0, 0], &[32, 32, 1]) < 0.05);
        assert_eq!(space.most_squared_count_distance(), 16 * 16 * (64 + 64 + 2));
    }

    #[test]
    fn conditions_and_vocabularies_of_other_spaces_count_too() {
        let width = ["64", "128", "256"];
        let space = Conditional::space(
            "made-up",
            vec![
                Decision::new("depth", &["1", "2"]),
                Decision::new("width1", &width),
                Decision::new("width2", &width),
            ],
            vec![Condition { decision: 2, depends_on: 0, active_if: vec![1] }],
        )
        .unwrap();
        check(&space, &[0, 1, 2], &[0, 1, 1], 0.0, 0.0);
        // Swapped widths: the same counts, two decisions apart.
        check(&space, &[1, 1, 2], &[1, 2, 1], 2.0, 0.0);
    }
}
