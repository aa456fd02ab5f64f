//! GGML's blocks of 32 weights: a scale in half precision, then 32 whole numbers (Q8_0), or 16 bytes with two of 4 bits each,
//! the first sixteen in the low halves, all raised by 8 (Q4_0). A weight is scale · number.

use crate::matrix::{BLOCK, Format};
use half::f16;
use srnas_network::{ops::simd::dot, vectorised};

/// Bytes of a block.
fn size(format: Format) -> usize {
    match format {
        Format::F32 => 4 * BLOCK,
        Format::Q8_0 => 2 + BLOCK,
        Format::Q4_0 => 2 + BLOCK / 2,
    }
}

/// The scale of a block, and its numbers.
#[inline(always)]
fn numbers(format: Format, block: &[u8]) -> (f32, [f32; BLOCK]) {
    let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
    let mut numbers = [0.0; BLOCK];
    if format == Format::Q8_0 {
        numbers.iter_mut().zip(&block[2..]).for_each(|(n, b)| *n = f32::from(*b as i8));
    } else {
        let (low, high) = numbers.split_at_mut(BLOCK / 2);
        for ((low, high), byte) in low.iter_mut().zip(high).zip(&block[2..]) {
            *low = f32::from((byte & 15) as i8 - 8);
            *high = f32::from((byte >> 4) as i8 - 8);
        }
    }
    (scale, numbers)
}

/// The weights of quantised blocks.
pub fn expanded(format: Format, blocks: &[u8]) -> Vec<f32> {
    let size = size(format);
    let mut weights = vec![0.0; blocks.len() / size * BLOCK];
    vectorised!(for (block, weights) in blocks.chunks_exact(size).zip(weights.chunks_exact_mut(BLOCK)) {
        let (scale, numbers) = numbers(format, block);
        weights.iter_mut().zip(numbers).for_each(|(w, n)| *w = scale * n);
    });
    weights
}

/// The product of rows of quantised blocks with a vector.
pub fn product(format: Format, blocks: &[u8], x: &[f32]) -> Vec<f32> {
    let size = size(format);
    let row = x.len() / BLOCK * size;
    vectorised!({
        let of = |row: &[u8]| {
            let blocks = row.chunks_exact(size).zip(x.chunks_exact(BLOCK));
            let each = blocks.map(|(block, x)| {
                let (scale, numbers) = numbers(format, block);
                scale * dot(&numbers, x)
            });
            each.sum::<f32>()
        };
        blocks.chunks_exact(row).map(of).collect()
    })
}
