//! Small symmetric matrices, f64 [n, n], and what proxies ask of them.

/// The covariances, times their number, between the columns of values [rows, N] → [N, N].
pub fn covariances<const N: usize>(values: &[f32]) -> Vec<f64> {
    let rows = values.len() / N;
    let at = |row: usize, column: usize| f64::from(values[row * N + column]);
    let mut means = [0.0; N];
    (0..rows).for_each(|row| means.iter_mut().enumerate().for_each(|(n, mean)| *mean += at(row, n)));
    means.iter_mut().for_each(|mean| *mean /= rows as f64);
    let mut covariance = vec![0.0; N * N];
    for row in 0..rows {
        let centred: [f64; N] = std::array::from_fn(|n| at(row, n) - means[n]);
        for (i, a) in centred.iter().enumerate() {
            covariance[i * N..][..N].iter_mut().zip(&centred).for_each(|(sum, b)| *sum += a * b);
        }
    }
    covariance
}

/// From covariances to correlations; none where something does not vary.
pub fn correlations<const N: usize>(mut covariance: Vec<f64>) -> Option<Vec<f64>> {
    let deviation: [f64; N] = std::array::from_fn(|n| covariance[n * N + n].sqrt());
    if deviation.contains(&0.0) {
        return None;
    }
    for i in 0..N {
        for j in 0..N {
            covariance[i * N + j] /= deviation[i] * deviation[j];
        }
    }
    Some(covariance)
}

/// Logarithm of the determinant of a symmetric positive matrix; none where it is not positive.
pub fn log_determinant(matrix: &[f64], n: usize) -> Option<f64> {
    Some(log_of(&cholesky(matrix, n)?, n))
}

/// Logarithm of the determinant of the matrix that has this factor.
pub fn log_of(factor: &[f64], n: usize) -> f64 {
    2.0 * (0..n).map(|i| factor[i * n + i].ln()).sum::<f64>()
}

/// Cholesky's factor, f64 [n, n], of which the lower half counts.
pub fn cholesky(matrix: &[f64], n: usize) -> Option<Vec<f64>> {
    let mut factor = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let known: f64 = (0..j).map(|k| factor[i * n + k] * factor[j * n + k]).sum();
            let rest = matrix[i * n + j] - known;
            factor[i * n + j] = match i == j {
                true if rest > 1e-9 * matrix[i * n + i].abs() => rest.sqrt(),
                true => return None,
                false => rest / factor[j * n + j],
            };
        }
    }
    Some(factor)
}

/// Trace of the inverse of the matrix that has this factor: Σ over the squares of the inverse factor's entries.
pub fn trace_of_inverse(factor: &[f64], n: usize) -> f64 {
    let mut trace = 0.0;
    let mut column = vec![0.0; n];
    for start in 0..n {
        column.fill(0.0);
        for i in start..n {
            let known: f64 = (start..i).map(|k| factor[i * n + k] * column[k]).sum();
            column[i] = (f64::from(u8::from(i == start)) - known) / factor[i * n + i];
            trace += column[i] * column[i];
        }
    }
    trace
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn determinants_and_traces_are_those_of_the_matrix() {
        // Eigenvalues 1, 3 and 5.
        let matrix = [2.0, 1.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 5.0];
        let factor = cholesky(&matrix, 3).unwrap();
        assert!((log_of(&factor, 3) - 15f64.ln()).abs() < 1e-12);
        assert!((trace_of_inverse(&factor, 3) - (1.0 + 1.0 / 3.0 + 0.2)).abs() < 1e-12);
        assert!(log_determinant(&[1.0, 1.0, 1.0, 1.0], 2).is_none());
    }

    #[test]
    fn correlations_are_those_of_the_columns() {
        // The second column is twice the first, the third falls where they rise.
        let found = correlations::<3>(covariances::<3>(&[1.0, 2.0, 5.0, 2.0, 4.0, 3.0, 3.0, 6.0, 1.0]));
        let expected = [1.0, 1.0, -1.0, 1.0, 1.0, -1.0, -1.0, -1.0, 1.0];
        assert!(found.unwrap().iter().zip(expected).all(|(found, e)| (found - e).abs() < 1e-12));
        assert!(correlations::<2>(covariances::<2>(&[1.0, 2.0, 1.0, 3.0])).is_none());
    }
}
