//! An incremental Gaussian process: measured points arrive one at a time, and what they say about a set of *slots*
//! (architectures that may be measured next) is kept up to date.
//!
//! Adding a point costs one row of the Cholesky factor and, for each slot, one multiply-add per point measured before.
//! No step allocates.

use srnas_network::vectorised;
use std::ops::Range;

/// At most so many slots are replaced side by side: they stay in registers while the points pass over them.
const PANEL: usize = 64;
/// So many points are taken into them together, from as many earlier ones at a time.
const ROWS: usize = 4;

/// The factor over the measured points and its products with the slots.
#[derive(Clone, Debug)]
pub struct Process {
    capacity: usize,
    slots: usize,
    n: usize,
    /// Cholesky factor L of kernel + noise, rows of `capacity`.
    factor: Vec<f64>,
    /// The same, single: what slots that are replaced are conditioned by.
    single: Vec<f32>,
    log_diagonal: f64,
    /// L⁻¹ of: the values, ones, the prior mean; one entry per point.
    values: Vec<f64>,
    ones: Vec<f64>,
    prior: Vec<f64>,
    /// V = L⁻¹ K(points, slots), rows of `slots`; behind them a panel may reach.
    columns: Vec<f32>,
    /// Σ V², V·values, V·ones, V·prior for each slot.
    explained: Vec<f32>,
    by_values: Vec<f32>,
    by_ones: Vec<f32>,
    by_prior: Vec<f32>,
    scratch: Vec<f64>,
}

impl Process {
    /// Room for `capacity` points and `slots` slots.
    pub fn new(capacity: usize, slots: usize) -> Self {
        let zeros = || vec![0.0; slots];
        Self {
            capacity,
            slots,
            n: 0,
            factor: vec![0.0; capacity * capacity],
            single: vec![0.0; capacity * capacity],
            log_diagonal: 0.0,
            values: Vec::with_capacity(capacity),
            ones: Vec::with_capacity(capacity),
            prior: Vec::with_capacity(capacity),
            columns: vec![0.0; capacity * slots + PANEL],
            explained: zeros(),
            by_values: zeros(),
            by_ones: zeros(),
            by_prior: zeros(),
            scratch: vec![0.0; capacity],
        }
    }

    /// Forgets the points.
    pub fn clear(&mut self) {
        self.n = 0;
        self.log_diagonal = 0.0;
        for v in [&mut self.values, &mut self.ones, &mut self.prior] {
            v.clear();
        }
        for v in [&mut self.explained, &mut self.by_values, &mut self.by_ones, &mut self.by_prior] {
            v.fill(0.0);
        }
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether nothing was measured yet.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Σ log Lᵢᵢ.
    pub fn log_diagonal(&self) -> f64 {
        self.log_diagonal
    }

    /// Adds a point.
    ///
    /// `to_points` is its kernel with each earlier point, `own` its kernel with itself plus noise, `to_slots` its kernel
    /// with each slot; `value` what was measured, `prior` its prior mean.
    pub fn observe(&mut self, to_points: &[f32], own: f32, to_slots: &[f32], value: f64, prior: f32) {
        assert_eq!(to_points.len(), self.n, "one kernel value for each earlier point");
        assert!(self.n < self.capacity, "the process has room for {} points", self.capacity);
        let n = self.n;
        let mut rest = f64::from(own);
        // Each sum waits for its last addition: rows are summed side by side, as far as they are known alike.
        for first in (0..n).step_by(ROWS) {
            let last = (first + ROWS).min(n) - 1;
            let rows: [&[f64]; ROWS] =
                std::array::from_fn(|k| &self.factor[(first + k).min(last) * self.capacity..][..first]);
            let mut dots = [0.0; ROWS];
            for (j, l) in self.scratch[..first].iter().enumerate() {
                for k in 0..ROWS {
                    dots[k] += rows[k][j] * l;
                }
            }
            for (i, dot) in (first..=last).zip(dots) {
                let row = &self.factor[i * self.capacity..][..=i];
                let dot = (first..i).fold(dot, |dot, j| dot + row[j] * self.scratch[j]);
                let entry = (f64::from(to_points[i]) - dot) / row[i];
                self.scratch[i] = entry;
                rest -= entry * entry;
            }
        }
        // Two points that the kernel cannot tell apart leave at least the noise; rounding may leave less.
        let diagonal = rest.max(1e-6 * f64::from(own)).sqrt();
        let row = &mut self.factor[n * self.capacity..(n + 1) * self.capacity];
        row[..n].copy_from_slice(&self.scratch[..n]);
        row[n] = diagonal;
        let single = &mut self.single[n * self.capacity..][..=n];
        single.iter_mut().zip(&*row).for_each(|(single, &l)| *single = l as f32);
        self.log_diagonal += diagonal.ln();
        let solve = |whole: &mut Vec<f64>, target: f64| {
            let dot: f64 = self.scratch[..n].iter().zip(whole.iter()).map(|(a, b)| a * b).sum();
            let entry = (target - dot) / diagonal;
            whole.push(entry);
            entry as f32
        };
        let value = solve(&mut self.values, value);
        let one = solve(&mut self.ones, 1.0);
        let prior = solve(&mut self.prior, f64::from(prior));

        // Blocks of slots stay in the first-level cache while the earlier rows pass over them.
        const BLOCK: usize = 1024;
        let (before, now) = self.columns.split_at_mut(n * self.slots);
        let scale = (1.0 / diagonal) as f32;
        let mut start = 0;
        while start < to_slots.len() {
            let len = BLOCK.min(to_slots.len() - start);
            let now = &mut now[start..start + len];
            now.copy_from_slice(&to_slots[start..start + len]);
            subtract_rows(now, &self.scratch[..n], before, start, self.slots);
            for (k, v) in now.iter_mut().enumerate() {
                *v *= scale;
                let s = start + k;
                self.explained[s] += *v * *v;
                self.by_values[s] += *v * value;
                self.by_ones[s] += *v * one;
                self.by_prior[s] += *v * prior;
            }
            start += len;
        }
        self.n += 1;
    }

    /// Where to write the kernel between point `i` and a range of slots before [`Self::replace`].
    pub fn column_mut(&mut self, point: usize, slots: Range<usize>) -> &mut [f32] {
        &mut self.columns[point * self.slots..][slots]
    }

    /// Takes new architectures into a range of slots. The kernel of every point with them was written into
    /// [`Self::column_mut`].
    pub fn replace(&mut self, slots: Range<usize>) {
        for v in [&mut self.explained, &mut self.by_values, &mut self.by_ones, &mut self.by_prior] {
            v[slots.clone()].fill(0.0);
        }
        let mut left = slots;
        while !left.is_empty() {
            let panel = left.start..left.end.min(left.start + PANEL);
            left.start = panel.end;
            // A walk places some tens of slots, or one: no more lanes than that needs.
            match panel.len() {
                0..=16 => vectorised!(self.panel::<16>(panel.clone())),
                17..=32 => vectorised!(self.panel::<32>(panel.clone())),
                _ => vectorised!(self.panel::<PANEL>(panel.clone())),
            }
        }
    }

    #[inline(always)]
    fn panel<const LANES: usize>(&mut self, slots: Range<usize>) {
        for first in (0..self.n).step_by(ROWS) {
            let points = first..self.n.min(first + ROWS);
            // What lies behind the slots is taken along, and written nowhere.
            let mut block: [[f32; LANES]; ROWS] = std::array::from_fn(|k| match points.clone().nth(k) {
                Some(point) => *lanes(&self.columns, point * self.slots + slots.start),
                None => [0.0; LANES],
            });
            let last = points.end - 1;
            let factor: [&[f32]; ROWS] =
                std::array::from_fn(|k| &self.single[(first + k).min(last) * self.capacity..][..self.n]);
            subtract_from_block(&mut block, factor, first, &self.columns, (slots.start, self.slots));
            for (k, point) in points.enumerate() {
                let (done, rest) = block.split_at_mut(k);
                let now = &mut rest[0];
                for (row, c) in done.iter().zip(&factor[k][first..]) {
                    now.iter_mut().zip(row).for_each(|(now, v)| *now -= c * v);
                }
                let scale = (1.0 / self.factor[point * self.capacity + point]) as f32;
                now.iter_mut().for_each(|v| *v *= scale);
                self.columns[point * self.slots..][slots.clone()].copy_from_slice(&now[..slots.len()]);
                let add = |sums: &mut [f32], factor: f32| {
                    sums[slots.clone()].iter_mut().zip(&*now).for_each(|(sum, v)| *sum += v * factor);
                };
                add(&mut self.by_values, self.values[point] as f32);
                add(&mut self.by_ones, self.ones[point] as f32);
                add(&mut self.by_prior, self.prior[point] as f32);
                self.explained[slots.clone()].iter_mut().zip(&*now).for_each(|(sum, v)| *sum += v * v);
            }
        }
    }

    /// Σ V² of each slot: the share of the prior variance that the points explain.
    pub fn explained(&self) -> &[f32] {
        &self.explained
    }

    /// V · (values·L⁻¹ scaled to z, i.e. (values − mean)/deviation) for each slot.
    pub fn by_standardised(&self, slot: usize, mean: f64, deviation: f64) -> f32 {
        (self.by_values[slot] - mean as f32 * self.by_ones[slot]) / deviation as f32
    }

    /// V · a for each slot, and a·a, with a = L⁻¹z for other values z of the points than those observed.
    pub fn regress(&mut self, z: &[f64], means: &mut [f32]) -> f64 {
        assert_eq!(
            (z.len(), means.len()),
            (self.n, means.len().min(self.slots)),
            "a value for each point, at most a mean for each slot"
        );
        let mut square = 0.0;
        for (i, &value) in z.iter().enumerate() {
            let row = &self.factor[i * self.capacity..][..=i];
            let dot: f64 = row[..i].iter().zip(&self.scratch).map(|(l, a)| l * a).sum();
            let entry = (value - dot) / row[i];
            self.scratch[i] = entry;
            square += entry * entry;
        }
        means.fill(0.0);
        // Subtracting them with the other sign adds the rows.
        self.scratch[..self.n].iter_mut().for_each(|a| *a = -*a);
        subtract_rows(means, &self.scratch[..self.n], &self.columns, 0, self.slots);
        square
    }

    /// L⁻¹z for other values z of the points than those observed.
    pub fn whitened(&self, z: &[f64]) -> Vec<f64> {
        let mut solved: Vec<f64> = Vec::with_capacity(z.len());
        for (i, &value) in z.iter().enumerate() {
            let row = &self.factor[i * self.capacity..][..=i];
            let dot: f64 = row[..i].iter().zip(&solved).map(|(l, a)| l * a).sum();
            solved.push((value - dot) / row[i]);
        }
        solved
    }

    /// (K + noise)⁻¹ z for other values z of the points than those observed.
    pub fn coefficients(&self, z: &[f64]) -> Vec<f64> {
        assert_eq!(z.len(), self.n, "a value for each point");
        let at = |i: usize, j: usize| self.factor[i * self.capacity + j];
        let mut solved = z.to_vec();
        for i in 0..self.n {
            let known: f64 = (0..i).map(|j| at(i, j) * solved[j]).sum();
            solved[i] = (solved[i] - known) / at(i, i);
        }
        for i in (0..self.n).rev() {
            let later: f64 = (i + 1..self.n).map(|j| at(j, i) * solved[j]).sum();
            solved[i] = (solved[i] - later) / at(i, i);
        }
        solved
    }

    /// V · L⁻¹ prior mean of a slot.
    pub fn by_prior(&self, slot: usize) -> f32 {
        self.by_prior[slot]
    }

    /// The products A = a·a, B = a·b, C = b·b with a = L⁻¹z, b = L⁻¹m; z = (values − mean)/deviation.
    pub fn products(&self, mean: f64, deviation: f64) -> [f64; 3] {
        let (mut aa, mut ab, mut bb) = (0.0, 0.0, 0.0);
        for ((v, o), b) in self.values.iter().zip(&self.ones).zip(&self.prior) {
            let a = (v - mean * o) / deviation;
            aa += a * a;
            ab += a * b;
            bb += b * b;
        }
        [aa, ab, bb]
    }
}

/// now −= Σ coefficients[j] · rows[j][start ..].
fn subtract_rows(now: &mut [f32], coefficients: &[f64], rows: &[f32], start: usize, stride: usize) {
    vectorised!(subtract(now, coefficients, rows, start, stride));
}

/// `LANES` slots of a row.
#[inline(always)]
fn lanes<const LANES: usize>(rows: &[f32], at: usize) -> &[f32; LANES] {
    rows[at..][..LANES].try_into().expect("as long as a panel")
}

/// Each of the block −= Σ its factor[j] · rows[j][start ..], j below `before`, a multiple of [`ROWS`]; as [`subtract`], and the same to
/// the bit. What is read of a row serves all of the block.
#[inline(always)]
fn subtract_from_block<const LANES: usize>(
    block: &mut [[f32; LANES]; ROWS],
    factor: [&[f32]; ROWS],
    before: usize,
    rows: &[f32],
    (start, stride): (usize, usize),
) {
    let mut sums = *block;
    for j in (0..before).step_by(ROWS) {
        let [r0, r1, r2, r3]: [&[f32; LANES]; ROWS] =
            std::array::from_fn(|k| lanes(rows, (j + k) * stride + start));
        for (sums, factor) in sums.iter_mut().zip(factor) {
            let [c0, c1, c2, c3]: [f32; ROWS] = factor[j..][..ROWS].try_into().expect("four");
            for i in 0..LANES {
                sums[i] -= c0 * r0[i] + c1 * r1[i] + c2 * r2[i] + c3 * r3[i];
            }
        }
    }
    *block = sums;
}

/// Four rows a pass: one load and store of `now` serves four multiply-adds.
#[inline(always)]
fn subtract(now: &mut [f32], coefficients: &[f64], rows: &[f32], start: usize, stride: usize) {
    let len = now.len();
    let mut j = 0;
    while j + 4 <= coefficients.len() {
        let [c0, c1, c2, c3] = [0, 1, 2, 3].map(|k| coefficients[j + k] as f32);
        let [r0, r1, r2, r3] = [0, 1, 2, 3].map(|k| &rows[(j + k) * stride + start..][..len]);
        for i in 0..len {
            now[i] -= c0 * r0[i] + c1 * r1[i] + c2 * r2[i] + c3 * r3[i];
        }
        j += 4;
    }
    for (j, &c) in coefficients.iter().enumerate().skip(j) {
        let c = c as f32;
        for (now, &row) in now.iter_mut().zip(&rows[j * stride + start..][..len]) {
            *now -= c * row;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_of_any_number_that_are_replaced_have_the_bits_of_those_that_were_there() {
        const SLOTS: usize = 150;
        const POINTS: usize = 23;
        let alike = |a: usize, b: usize| (-0.01 * (a as f32 - b as f32).abs()).exp();
        let place = |point: usize| 7 * point + 3;
        let (mut there, mut replaced) = (Process::new(POINTS, SLOTS), Process::new(POINTS, SLOTS));
        for point in 0..POINTS {
            let to_points: Vec<f32> = (0..point).map(|other| alike(place(point), place(other))).collect();
            let to_slots: Vec<f32> = (0..SLOTS).map(|slot| alike(place(point), slot)).collect();
            let (value, prior) = ((point as f64).sin(), point as f32 / 5.0);
            there.observe(&to_points, 1.01, &to_slots, value, prior);
            // What is in the slots meanwhile is of no account.
            replaced.observe(&to_points, 1.01, &vec![f32::NAN; SLOTS], value, prior);
        }
        let mut start = 0;
        for slots in [1, 15, 17, 32, 64, 21] {
            let range = start..start + slots;
            for point in 0..POINTS {
                let column = replaced.column_mut(point, range.clone());
                column.iter_mut().zip(range.clone()).for_each(|(k, slot)| *k = alike(place(point), slot));
            }
            replaced.replace(range);
            start += slots;
        }
        assert_eq!(start, SLOTS);
        assert_eq!(there.explained(), replaced.explained());
        for slot in 0..SLOTS {
            let of = |process: &Process| (process.by_standardised(slot, 0.1, 2.0), process.by_prior(slot));
            assert_eq!(of(&there), of(&replaced), "slot {slot}");
        }
        assert!(there.explained().iter().all(|explained| (0.0..1.0).contains(explained)));
    }
}
