//! The weights of one linear map, in one of the formats of the search: f32, or GGML's Q8_0 and Q4_0.

use crate::{LlmError, blocks};
use candle_core::{
    DType, Device, Tensor,
    quantized::{GgmlDType, QStorage, QTensor},
};
use srnas_network::{
    ops::{product, simd::dot},
    vectorised,
};
use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

/// Weights of a block share one scale; a quantised row has whole blocks.
pub const BLOCK: usize = 32;

/// How weights are stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// 32-bit floating point, 4 bytes a weight.
    F32,
    /// 8-bit integers with a scale to 32: 34 bytes a block.
    Q8_0,
    /// 4-bit integers with a scale to 32: 18 bytes a block.
    Q4_0,
}

impl Format {
    /// All formats, the largest first.
    pub const ALL: [Self; 3] = [Self::F32, Self::Q8_0, Self::Q4_0];

    /// Its name on the command line and in spaces.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
        }
    }

    pub(crate) fn ggml(self) -> GgmlDType {
        match self {
            Self::F32 => GgmlDType::F32,
            Self::Q8_0 => GgmlDType::Q8_0,
            Self::Q4_0 => GgmlDType::Q4_0,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|f| f.name().eq_ignore_ascii_case(text));
        known.ok_or_else(|| format!("`{text}` is no weight format: f32, q8_0 and q4_0 are"))
    }
}

/// A matrix of `rows` outputs by `columns` inputs.
#[derive(Clone, Debug)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    weights: Weights,
}

#[derive(Clone, Debug)]
enum Weights {
    Dense(Arc<Vec<f32>>),
    /// GGML's blocks, row after row.
    Blocks(Format, Arc<Vec<u8>>),
}

/// Fewer vectors than this are multiplied with blocks as they are; for more the blocks are expanded once.
const FEW: usize = 4;

impl Matrix {
    /// A matrix from its rows, one after the other.
    ///
    /// # Errors
    /// If there are not `rows * columns` numbers.
    pub fn dense(rows: usize, columns: usize, data: Vec<f32>) -> Result<Self, LlmError> {
        if data.len() != rows * columns {
            let n = data.len();
            return Err(LlmError::Asked(format!("{n} numbers are no matrix of {rows} × {columns}")));
        }
        Ok(Self { rows, columns, weights: Weights::Dense(Arc::new(data)) })
    }

    /// A matrix from GGML's blocks: Q8_0 and Q4_0 stay as they are, other formats become f32.
    pub(crate) fn of_ggml(tensor: &QTensor) -> Result<Self, LlmError> {
        let (rows, columns) = tensor.shape().dims2()?;
        let format = Format::ALL.into_iter().skip(1).find(|f| f.ggml() == tensor.dtype());
        if let Some(format) = format {
            let blocks = Arc::new(tensor.data()?.into_owned());
            return Ok(Self { rows, columns, weights: Weights::Blocks(format, blocks) });
        }
        let data = tensor.dequantize(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        Self::dense(rows, columns, data)
    }

    /// Number of outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of inputs.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// How its weights are stored.
    pub fn format(&self) -> Format {
        match self.weights {
            Weights::Dense(_) => Format::F32,
            Weights::Blocks(format, _) => format,
        }
    }

    /// Bytes that the weights take.
    pub fn bytes(&self) -> usize {
        match &self.weights {
            Weights::Dense(data) => 4 * data.len(),
            Weights::Blocks(_, blocks) => blocks.len(),
        }
    }

    /// The weights as f32, row after row.
    pub fn to_f32(&self) -> Cow<'_, [f32]> {
        match &self.weights {
            Weights::Dense(data) => Cow::Borrowed(data),
            Weights::Blocks(format, blocks) => Cow::Owned(blocks::expanded(*format, blocks)),
        }
    }

    /// The same weights in a format.
    ///
    /// # Errors
    /// If a row has no whole number of blocks.
    pub fn to_format(&self, format: Format) -> Result<Self, LlmError> {
        if self.format() == format {
            return Ok(self.clone());
        }
        let dense = self.to_f32().into_owned();
        if format == Format::F32 {
            return Self::dense(self.rows, self.columns, dense);
        }
        if !self.columns.is_multiple_of(BLOCK) {
            let columns = self.columns;
            return Err(LlmError::Asked(format!(
                "{format} stores blocks of {BLOCK} weights, and rows of {columns} have no whole number of them"
            )));
        }
        let tensor = Tensor::from_vec(dense, (self.rows, self.columns), &Device::Cpu)?;
        Self::of_ggml(&QTensor::quantize(&tensor, format.ggml())?)
    }

    /// Adds the weights as they are stored to a hash.
    pub(crate) fn hash_into(&self, hash: &mut impl sha2::Digest) {
        match &self.weights {
            Weights::Dense(data) => {
                // Some at a time: bytes of all of them would be a copy of the model.
                for some in data.chunks(1 << 14) {
                    hash.update(some.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>());
                }
            }
            Weights::Blocks(_, blocks) => hash.update(&blocks[..]),
        }
    }

    /// As GGML stores it.
    pub(crate) fn to_ggml(&self) -> Result<QTensor, LlmError> {
        let shape = (self.rows, self.columns);
        match &self.weights {
            Weights::Dense(data) => ggml_f32(data, &[self.rows, self.columns]),
            Weights::Blocks(format, blocks) => {
                let storage = QStorage::from_data(Cow::Borrowed(blocks), &Device::Cpu, format.ggml())?;
                Ok(QTensor::new(storage, shape)?)
            }
        }
    }

    /// Some of the rows, in the order given; whatever the format, each keeps its weights to the bit.
    pub fn rows_of(&self, rows: &[usize]) -> Self {
        fn picked<T: Copy>(all: &[T], stride: usize, rows: &[usize]) -> Arc<Vec<T>> {
            Arc::new(rows.iter().flat_map(|r| all[r * stride..][..stride].iter().copied()).collect())
        }
        let weights = match &self.weights {
            Weights::Dense(data) => Weights::Dense(picked(data, self.columns, rows)),
            Weights::Blocks(format, blocks) => {
                Weights::Blocks(*format, picked(blocks, blocks.len() / self.rows, rows))
            }
        };
        Self { rows: rows.len(), columns: self.columns, weights }
    }

    /// Some of the columns of f32 weights, in the order given, then zeros up to `columns`. Quantised weights are expanded.
    ///
    /// # Errors
    /// None where the columns are there.
    pub fn columns_of(&self, kept: &[usize], columns: usize) -> Result<Self, LlmError> {
        let data = self.to_f32();
        let mut cut = vec![0.0; self.rows * columns];
        for r in 0..self.rows {
            for (to, &from) in kept.iter().enumerate() {
                cut[r * columns + to] = data[r * self.columns + from];
            }
        }
        Self::dense(self.rows, columns, cut)
    }

    /// The same with rows of zeros below, `rows` in all.
    ///
    /// # Errors
    /// If candle cannot expand or make its blocks.
    pub fn padded_below(&self, rows: usize) -> Result<Self, LlmError> {
        if rows == self.rows {
            return Ok(self.clone());
        }
        let mut data = self.to_f32().into_owned();
        data.resize(rows * self.columns, 0.0);
        // A block of zeros is exact in each format, and the others are again what they were.
        Self::dense(rows, self.columns, data)?.to_format(self.format())
    }

    /// The mean of each `group` heads of `size` rows that follow one another, as f32.
    ///
    /// # Errors
    /// If the rows are no whole number of groups.
    pub fn merged(&self, group: usize, size: usize) -> Result<Self, LlmError> {
        let (data, head) = (self.to_f32(), size * self.columns);
        let mut means = Vec::with_capacity(data.len() / group.max(1));
        for heads in data.chunks_exact(group * head) {
            means.extend(
                (0..head).map(|i| heads.chunks_exact(head).map(|h| h[i]).sum::<f32>() / group as f32),
            );
        }
        Self::dense(self.rows / group, self.columns, means)
    }

    /// One row as f32, written into `out`.
    pub(crate) fn copy_row(&self, row: usize, out: &mut [f32]) {
        match &self.weights {
            Weights::Dense(data) => out.copy_from_slice(&data[row * self.columns..][..self.columns]),
            Weights::Blocks(..) => out.copy_from_slice(&self.rows_of(&[row]).to_f32()),
        }
    }

    /// The product with vectors (one after the other in `x`, `columns` numbers each): `rows` numbers for each.
    pub fn product(&self, x: &[f32]) -> Vec<f32> {
        let vectors = x.len() / self.columns;
        match &self.weights {
            Weights::Dense(data) if vectors == 1 => vectorised!({
                let rows = data.chunks_exact(self.columns);
                rows.map(|row| dot(row, x)).collect()
            }),
            Weights::Blocks(format, blocks) if vectors < FEW => {
                let each = x.chunks_exact(self.columns);
                each.flat_map(|x| blocks::product(*format, blocks, x)).collect()
            }
            _ => {
                let mut out = vec![0.0; vectors * self.rows];
                let data = self.to_f32();
                let weights = product::Matrix::new(&data, self.columns, self.columns).transposed();
                let x = product::Matrix::new(x, self.columns, self.columns);
                product::add_product(&mut out, self.rows, x, weights, product::Then::Keep);
                out
            }
        }
    }
}

/// f32 numbers as a GGML tensor.
pub(crate) fn ggml_f32(data: &[f32], shape: &[usize]) -> Result<QTensor, LlmError> {
    let tensor = Tensor::from_slice(data, shape, &Device::Cpu)?;
    Ok(QTensor::quantize(&tensor, GgmlDType::F32)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(rows: usize, columns: usize) -> Matrix {
        let data = (0..rows * columns).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
        Matrix::dense(rows, columns, data).unwrap()
    }

    #[test]
    fn products_agree_between_one_vector_and_many_and_between_formats() {
        let m = numbered(24, 64);
        let x: Vec<f32> = (0..64 * 9).map(|i| ((i * 29 % 83) as f32 - 41.0) / 41.0).collect();
        let many = m.product(&x);
        for (formatted, tolerance) in [(Format::F32, 1e-5), (Format::Q8_0, 0.12), (Format::Q4_0, 1.5)] {
            let m = m.to_format(formatted).unwrap();
            for (x, expected) in x.chunks(64).zip(many.chunks(24)) {
                for (a, b) in m.product(x).iter().zip(expected) {
                    assert!((a - b).abs() < tolerance, "{formatted}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn a_product_with_blocks_is_that_with_what_they_expand_to() {
        let x: Vec<f32> = (0..64).map(|i| ((i * 29 % 83) as f32 - 41.0) / 41.0).collect();
        for format in [Format::Q8_0, Format::Q4_0] {
            let m = numbered(24, 64).to_format(format).unwrap();
            // By candle's own reading of the blocks.
            let expanded = m.to_ggml().unwrap().dequantize(&Device::Cpu).unwrap();
            let expanded: Vec<f32> = expanded.flatten_all().unwrap().to_vec1().unwrap();
            assert_eq!(*m.to_f32(), expanded, "{format}");
            let dense = Matrix::dense(24, 64, expanded).unwrap();
            for (a, b) in m.product(&x).iter().zip(dense.product(&x)) {
                assert!((a - b).abs() < 1e-4, "{format}: {a} {b}");
            }
        }
    }

    #[test]
    fn quantised_rows_are_picked_to_the_bit_and_padding_changes_nothing() {
        for format in Format::ALL {
            let m = numbered(6, 64).to_format(format).unwrap();
            let all = m.to_f32().into_owned();
            let picked = m.rows_of(&[5, 0]);
            assert_eq!(*picked.to_f32(), [&all[5 * 64..], &all[..64]].concat());
            assert_eq!(picked.format(), format);
            let padded = m.padded_below(8).unwrap();
            assert_eq!(*padded.to_f32(), [&all[..], &[0.0; 128]].concat());
        }
        assert!(numbered(2, 40).to_format(Format::Q8_0).is_err(), "40 is no multiple of 32");
        assert!(Matrix::dense(2, 3, vec![0.0; 5]).is_err());
    }
}
