//! Matrix products of the sizes the networks have: thousands of rows, tens of columns.
//!
//! Written out here because candle's product looks up the number of processors in /proc/cpuinfo each time it is
//! called without RAYON_NUM_THREADS, which takes longer than the product; and because this one works on parts of
//! rows and adds to what is there, so a bias, a residual stream or the heads of attention cost no further pass.

use pulp::{Arch, Simd, WithSimd};

/// A matrix in a slice.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of `columns` values, `stride` apart, as many as there are.
    pub fn new(values: &'a [f32], columns: usize, stride: usize) -> Self {
        let rows = (values.len() + stride - columns) / stride;
        Self { values, rows, columns, row_stride: stride, column_stride: 1 }
    }

    /// The same values with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// What becomes of a sum before it is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Then {
    /// Nothing.
    Keep,
    /// Negative values become 0.
    Relu,
}

/// `result` + `left` · `right`, in place.
///
/// left [R, I], right [I, O]; result holds R rows of O values, `stride` apart.
pub fn add_product(result: &mut [f32], stride: usize, left: Matrix, right: Matrix, then: Then) {
    assert!(left.columns == right.rows && right.rows > 0, "inner sizes differ or are 0");
    assert!(
        left.rows == 0 || result.len() >= (left.rows - 1) * stride + right.columns,
        "no room for {} rows",
        left.rows
    );
    Arch::new().dispatch(Product { result, stride, left, right, then });
}

struct Product<'a> {
    result: &'a mut [f32],
    stride: usize,
    left: Matrix<'a>,
    right: Matrix<'a>,
    then: Then,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut panel = Vec::with_capacity(self.left.columns * 2 * S::F32_LANES);
        let mut column = 0;
        while column < self.right.columns {
            // A strip of two registers reuses what it loads of `left`; the last may need only one.
            if self.right.columns - column > S::F32_LANES {
                self.panel::<S, 2>(simd, column, &mut panel);
                column += 2 * S::F32_LANES;
            } else {
                self.panel::<S, 1>(simd, column, &mut panel);
                column += S::F32_LANES;
            }
        }
    }
}

impl Product<'_> {
    /// Computes the columns from `column` on that fit in `VECTORS` registers.
    #[inline(always)]
    fn panel<S: Simd, const VECTORS: usize>(&mut self, simd: S, column: usize, panel: &mut Vec<f32>) {
        self.pack(column, VECTORS * S::F32_LANES, panel);
        let mut row = 0;
        // Results in flight must cover the latency of a multiply-add and fit in the registers.
        if S::REGISTER_COUNT >= 32 {
            row = self.rows::<S, VECTORS, 8>(simd, row, column, panel);
        }
        row = self.rows::<S, VECTORS, 4>(simd, row, column, panel);
        self.rows::<S, VECTORS, 1>(simd, row, column, panel);
    }

    /// Copies `width` columns of `right` from `column` on, filled up with zeros, one row after the other.
    #[inline(always)]
    fn pack(&self, column: usize, width: usize, panel: &mut Vec<f32>) {
        let Matrix { values, rows, columns, row_stride, column_stride } = self.right;
        let present = width.min(columns - column);
        panel.clear();
        panel.resize(rows * width, 0.0);
        if column_stride == 1 {
            for (row, packed) in panel.chunks_exact_mut(width).enumerate() {
                let start = row * row_stride + column;
                packed[..present].copy_from_slice(&values[start..start + present]);
            }
        } else {
            // Reads along what is contiguous.
            for index in 0..present {
                let source = values[(column + index) * column_stride..].iter().step_by(row_stride);
                let packed = panel[index..].iter_mut().step_by(width);
                packed.zip(source).for_each(|(packed, value)| *packed = *value);
            }
        }
    }

    /// Computes as many rows from `row` on as come in groups of `ROWS`; returns the first that was left.
    #[inline(always)]
    fn rows<S: Simd, const VECTORS: usize, const ROWS: usize>(
        &mut self,
        simd: S,
        mut row: usize,
        column: usize,
        panel: &[f32],
    ) -> usize {
        let panel = S::as_simd_f32s(panel).0.as_chunks::<VECTORS>().0;
        let present = (VECTORS * S::F32_LANES).min(self.right.columns - column);
        let Matrix { values, rows, columns, row_stride, column_stride } = self.left;
        let relu = self.then == Then::Relu;
        let zero = simd.splat_f32s(0.0);
        while row + ROWS <= rows {
            let mut sums = [[zero; VECTORS]; ROWS];
            if column_stride == 1 {
                let left: [&[f32]; ROWS] =
                    std::array::from_fn(|index| &values[(row + index) * row_stride..][..columns]);
                for (inner, right) in panel.iter().enumerate().take(columns) {
                    accumulate(simd, &mut sums, |index| left[index][inner], right);
                }
            } else {
                for (inner, right) in panel.iter().enumerate() {
                    let left = &values[row * row_stride + inner * column_stride..];
                    let left = &left[..(ROWS - 1) * row_stride + 1];
                    accumulate(simd, &mut sums, |index| left[index * row_stride], right);
                }
            }
            for (index, sums) in sums.iter().enumerate() {
                let result = &mut self.result[(row + index) * self.stride + column..][..present];
                let (whole, rest) = S::as_mut_simd_f32s(result);
                let finished = |before, sum| {
                    let value = simd.add_f32s(before, sum);
                    // Not a maximum, which on some processors would hide what is not a number.
                    if relu { simd.select_f32s(simd.less_than_f32s(value, zero), zero, value) } else { value }
                };
                match <&mut [_; VECTORS]>::try_from(&mut *whole) {
                    Ok(whole) => {
                        for vector in 0..VECTORS {
                            whole[vector] = finished(whole[vector], sums[vector]);
                        }
                    }
                    Err(_) => {
                        for (whole, sum) in whole.iter_mut().zip(sums) {
                            *whole = finished(*whole, *sum);
                        }
                        let value = finished(simd.partial_load_f32s(rest), sums[whole.len()]);
                        simd.partial_store_f32s(rest, value);
                    }
                }
            }
            row += ROWS;
        }
        row
    }
}

/// `sums` + `left` · `right`, an outer product; `left` gives the value of each row.
#[inline(always)]
fn accumulate<S: Simd, const VECTORS: usize, const ROWS: usize>(
    simd: S,
    sums: &mut [[S::f32s; VECTORS]; ROWS],
    left: impl Fn(usize) -> f32,
    right: &[S::f32s; VECTORS],
) {
    for (index, sums) in sums.iter_mut().enumerate() {
        let factor = simd.splat_f32s(left(index));
        for (sum, right) in sums.iter_mut().zip(right) {
            *sum = simd.mul_add_e_f32s(factor, *right, *sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    /// The same product, one value after the other.
    fn plain(result: &mut [f32], stride: usize, left: Matrix, right: Matrix, then: Then) {
        let at = |matrix: &Matrix, row, column| {
            matrix.values[row * matrix.row_stride + column * matrix.column_stride]
        };
        for row in 0..left.rows {
            for column in 0..right.columns {
                let terms = (0..left.columns).map(|inner| at(&left, row, inner) * at(&right, inner, column));
                let value = &mut result[row * stride + column];
                *value += terms.sum::<f32>();
                if then == Then::Relu {
                    *value = value.max(0.0);
                }
            }
        }
    }

    /// The product on this processor as it is, without vectors, and as on a processor without AVX-512.
    fn runs() -> Vec<fn(Product)> {
        let mut runs: Vec<fn(Product)> = vec![
            |product| add_product(product.result, product.stride, product.left, product.right, product.then),
            |product| product.with_simd(pulp::Scalar),
        ];
        #[cfg(target_arch = "x86_64")]
        if pulp::x86::V3::try_new().is_some() {
            runs.push(|product| Simd::vectorize(pulp::x86::V3::try_new().unwrap(), product));
        }
        runs
    }

    #[test]
    fn what_is_not_a_number_stays_visible() {
        let mut result = [0.0; 20];
        let (left, right) = ([f32::NAN], [1.0; 20]);
        add_product(&mut result, 20, Matrix::new(&left, 1, 1), Matrix::new(&right, 20, 20), Then::Relu);
        assert!(result.iter().all(|value| value.is_nan()));
    }

    #[test]
    fn equals_the_plain_product() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut draw =
            |count: usize| -> Vec<f32> { (0..count).map(|_| rng.random_range(-1.0..1.0)).collect() };
        for (rows, inner, columns) in [(1, 1, 1), (29, 22, 64), (8, 64, 37), (13, 37, 16), (64, 300, 22)] {
            for gap in [0, 3] {
                for (turn_left, turn_right) in [(false, false), (true, false), (false, true), (true, true)] {
                    let size = |turned, rows, columns| if turned { (columns, rows) } else { (rows, columns) };
                    let (left_rows, left_columns) = size(turn_left, rows, inner);
                    let (right_rows, right_columns) = size(turn_right, inner, columns);
                    let left = draw(left_rows * (left_columns + gap));
                    let right = draw(right_rows * (right_columns + gap));
                    let view = |values, turned, rows, columns| {
                        let matrix =
                            Matrix { values, rows, columns, row_stride: columns + gap, column_stride: 1 };
                        if turned { matrix.transposed() } else { matrix }
                    };
                    let left = view(&left, turn_left, left_rows, left_columns);
                    let right = view(&right, turn_right, right_rows, right_columns);
                    for then in [Then::Keep, Then::Relu] {
                        let start = draw(rows * (columns + gap));
                        let stride = columns + gap;
                        let mut expected = start.clone();
                        plain(&mut expected, stride, left, right, then);
                        for run in runs() {
                            let mut result = start.clone();
                            run(Product { result: &mut result, stride, left, right, then });
                            let largest =
                                result.iter().zip(&expected).map(|(left, right)| (left - right).abs());
                            assert!(largest.fold(0.0, f32::max) < 2e-5);
                        }
                    }
                }
            }
        }
    }
}
