//! Convolution, direct: no patches are copied, the kernel runs over the batch.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use pulp::{Arch, Simd, WithSimd};
use srnas_network::ops::{
    simd::{LANES, total},
    tensor, values, with_values,
};
use std::sync::Arc;

use super::BLOCK;

/// Output channels computed together: each pixel loaded serves as many multiply-adds.
const TOGETHER: usize = 4;

/// Which source pixel each target pixel sees through which tap of the kernel; zeros outside of the image are no taps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Height and width of the source.
    pub source: [usize; 2],
    /// Height and width of the result.
    pub target: [usize; 2],
    /// Side of the kernel, odd.
    pub kernel: usize,
    /// By target pixel: (source pixel, tap).
    forward: Vec<Vec<(usize, usize)>>,
    /// By source pixel: (target pixel, tap).
    backward: Vec<Vec<(usize, usize)>>,
    /// By tap: (target pixel, source pixel).
    pairs: Vec<Vec<(usize, usize)>>,
}

impl Window {
    /// A kernel of odd side over an image, padded so that with stride 1 the size stays.
    pub fn new([height, width]: [usize; 2], kernel: usize, stride: usize) -> Arc<Self> {
        assert!(kernel % 2 == 1 && stride > 0, "an odd kernel and a stride");
        let target = [height.div_ceil(stride), width.div_ceil(stride)];
        let mut window = Self {
            source: [height, width],
            target,
            kernel,
            forward: vec![Vec::new(); target[0] * target[1]],
            backward: vec![Vec::new(); height * width],
            pairs: vec![Vec::new(); kernel * kernel],
        };
        let at = |target: usize, tap: usize, size: usize| {
            (target * stride + tap).checked_sub(kernel / 2).filter(|&at| at < size)
        };
        for (tap, pairs) in window.pairs.iter_mut().enumerate() {
            for to in 0..target[0] * target[1] {
                let row = at(to / target[1], tap / kernel, height);
                let column = at(to % target[1], tap % kernel, width);
                if let (Some(row), Some(column)) = (row, column) {
                    let from = row * width + column;
                    pairs.push((to, from));
                    window.forward[to].push((from, tap));
                    window.backward[from].push((to, tap));
                }
            }
        }
        Arc::new(window)
    }

    /// Multiply-adds of one channel pair on one image, zeros outside of it not counted.
    pub fn taps(&self) -> usize {
        self.pairs.iter().map(Vec::len).sum()
    }

    /// By target pixel: (source pixel, tap).
    pub(super) fn seen(&self) -> &[Vec<(usize, usize)>] {
        &self.forward
    }
}

/// images [I, H, W, N] convolved with weight [O, I, k, k] → [O, H', W', N], N a multiple of [`BLOCK`]. No bias.
pub fn convolution(images: &Tensor, weight: &Tensor, window: &Arc<Window>) -> Result<Tensor> {
    images.apply_op2(weight, Convolution(window.clone()))
}

/// Sizes of a convolution whose arguments fit together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub inputs: usize,
    pub outputs: usize,
    pub batch: usize,
}

impl Sizes {
    /// Checks images [I, H, W, N] and weight [O, I, k, k] against the window.
    pub fn check(images: &Shape, weight: &Shape, window: &Window) -> Result<Self> {
        let (inputs, height, width, batch) = images.dims4()?;
        let (outputs, weight_inputs, rows, columns) = weight.dims4()?;
        if [height, width] != window.source
            || weight_inputs != inputs
            || [rows, columns] != [window.kernel; 2]
            || batch == 0
            || batch % BLOCK != 0
        {
            bail!(
                "convolution: images {images:?}, weight {weight:?}, a {} kernel over {:?}, batches of {BLOCK}",
                window.kernel,
                window.source
            );
        }
        Ok(Self { inputs, outputs, batch })
    }

    /// The convolution.
    pub fn forward(self, images: &[f32], weight: &[f32], window: &Window) -> Vec<f32> {
        let Self { inputs, outputs, batch } = self;
        let taps = window.pairs.len();
        let packed = pack(outputs, inputs, taps, |o, i, tap| weight[(o * inputs + i) * taps + tap]);
        gather(images, inputs, outputs, batch, &packed, &window.forward)
    }

    /// The gradient of the images.
    pub fn of_images(self, gradient: &[f32], weight: &[f32], window: &Window) -> Vec<f32> {
        let Self { inputs, outputs, batch } = self;
        let taps = window.pairs.len();
        let packed = pack(inputs, outputs, taps, |i, o, tap| weight[(o * inputs + i) * taps + tap]);
        gather(gradient, outputs, inputs, batch, &packed, &window.backward)
    }

    /// The gradient of the weight.
    pub fn of_weight(self, gradient: &[f32], images: &[f32], window: &Window) -> Vec<f32> {
        let Self { inputs, outputs, batch } = self;
        let mut result = vec![0.0; outputs * inputs * window.pairs.len()];
        let pairs = &window.pairs[..];
        Arch::new().dispatch(Correlate {
            gradient,
            images,
            outputs,
            inputs,
            batch,
            pairs,
            result: &mut result,
        });
        result
    }
}

struct Convolution(Arc<Window>);

impl CustomOp2 for Convolution {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn cpu_fwd(
        &self,
        images: &CpuStorage,
        images_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let window = &*self.0;
        let sizes = Sizes::check(images_layout.shape(), weight_layout.shape(), window)?;
        let result = sizes.forward(values(images, images_layout)?, values(weight, weight_layout)?, window);
        let [height, width] = window.target;
        Ok((CpuStorage::F32(result), (sizes.outputs, height, width, sizes.batch).into()))
    }

    fn bwd(
        &self,
        images: &Tensor,
        weight: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let window = &*self.0;
        let sizes = Sizes::check(images.shape(), weight.shape(), window)?;
        let (of_images, of_weight) = with_values(gradient, |gradient| {
            let of_images = with_values(weight, |weight| {
                images.track_op().then(|| sizes.of_images(gradient, weight, window))
            })?;
            let of_weight = with_values(images, |images| {
                weight.track_op().then(|| sizes.of_weight(gradient, images, window))
            })?;
            Ok::<_, candle_core::Error>((of_images, of_weight))
        })??;
        let of_images = of_images.map(|values| tensor(values, images.shape())).transpose()?;
        let of_weight = of_weight.map(|values| tensor(values, weight.shape())).transpose()?;
        Ok((of_images, of_weight))
    }
}

/// Weights in the order in which [`Gather`] reads them: [outputs / 4, inputs, taps, 4], filled up with zeros.
fn pack(
    outputs: usize,
    inputs: usize,
    taps: usize,
    weight: impl Fn(usize, usize, usize) -> f32,
) -> Vec<[f32; TOGETHER]> {
    let mut packed = Vec::with_capacity(outputs.div_ceil(TOGETHER) * inputs * taps);
    for first in (0..outputs).step_by(TOGETHER) {
        for input in 0..inputs {
            for tap in 0..taps {
                packed.push(std::array::from_fn(|o| match first + o < outputs {
                    true => weight(first + o, input, tap),
                    false => 0.0,
                }));
            }
        }
    }
    packed
}

/// Sums what each target pixel sees: source [inputs, pixels, batch] → [outputs, `seen`, batch].
fn gather(
    source: &[f32],
    inputs: usize,
    outputs: usize,
    batch: usize,
    packed: &[[f32; TOGETHER]],
    seen: &[Vec<(usize, usize)>],
) -> Vec<f32> {
    let mut result = vec![0.0; outputs * seen.len() * batch];
    let taps = packed.len() / (outputs.div_ceil(TOGETHER) * inputs);
    Arch::new().dispatch(Gather { source, inputs, outputs, batch, packed, taps, seen, result: &mut result });
    result
}

struct Gather<'a> {
    source: &'a [f32],
    inputs: usize,
    outputs: usize,
    batch: usize,
    packed: &'a [[f32; TOGETHER]],
    taps: usize,
    seen: &'a [Vec<(usize, usize)>],
    result: &'a mut [f32],
}

impl WithSimd for Gather<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        // Sums in flight must cover the latency of a multiply-add and fit in the registers.
        if S::REGISTER_COUNT >= 32 { self.run::<S, 4>(simd) } else { self.run::<S, 2>(simd) }
    }
}

impl Gather<'_> {
    #[inline(always)]
    fn run<S: Simd, const VECTORS: usize>(&mut self, simd: S) {
        let step = VECTORS * S::F32_LANES;
        assert!(self.batch.is_multiple_of(step), "batches of {BLOCK}");
        let plane = self.source.len() / self.inputs;
        let pixels = self.seen.len();
        let per_group = self.inputs * self.taps;
        for from in (0..self.batch).step_by(step) {
            for (group, packed) in self.packed.chunks_exact(per_group).enumerate() {
                let first = group * TOGETHER;
                for (pixel, seen) in self.seen.iter().enumerate() {
                    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; TOGETHER];
                    for (source, packed) in
                        self.source.chunks_exact(plane).zip(packed.chunks_exact(self.taps))
                    {
                        for &(at, tap) in seen {
                            let source = &source[at * self.batch + from..][..step];
                            let source = S::as_simd_f32s(source).0.as_chunks::<VECTORS>().0[0];
                            let weights = packed[tap];
                            for (sums, weight) in sums.iter_mut().zip(weights) {
                                let weight = simd.splat_f32s(weight);
                                for (sum, source) in sums.iter_mut().zip(source) {
                                    *sum = simd.mul_add_f32s(weight, source, *sum);
                                }
                            }
                        }
                    }
                    for (output, sums) in (first..self.outputs).zip(sums) {
                        let result =
                            &mut self.result[(output * pixels + pixel) * self.batch + from..][..step];
                        S::as_mut_simd_f32s(result).0.copy_from_slice(&sums);
                    }
                }
            }
        }
    }
}

/// The gradient of the weights: gradient [outputs, targets, batch] against images [inputs, sources, batch], summed
/// over pixels and images → [outputs, inputs, taps].
struct Correlate<'a> {
    gradient: &'a [f32],
    images: &'a [f32],
    outputs: usize,
    inputs: usize,
    batch: usize,
    /// By tap: (target, source).
    pairs: &'a [Vec<(usize, usize)>],
    result: &'a mut [f32],
}

impl WithSimd for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        // Sixteen lanes on every processor, so that every processor adds in the same order.
        match S::F32_LANES {
            16 => self.run::<S, 1, 4, 4>(simd),
            8 => self.run::<S, 2, 2, 2>(simd),
            4 => self.run::<S, 4, 1, 2>(simd),
            _ => self.run::<S, 16, 1, 1>(simd),
        }
    }
}

impl Correlate<'_> {
    #[inline(always)]
    fn run<S: Simd, const VECTORS: usize, const O: usize, const I: usize>(&mut self, simd: S) {
        let mut output = 0;
        while output < self.outputs {
            let mut input = 0;
            let many = self.outputs - output >= O;
            while input < self.inputs {
                match (many, self.inputs - input >= I) {
                    (true, true) => self.block::<S, VECTORS, O, I>(simd, output, input),
                    (true, false) => self.block::<S, VECTORS, O, 1>(simd, output, input),
                    (false, true) => self.block::<S, VECTORS, 1, I>(simd, output, input),
                    (false, false) => self.block::<S, VECTORS, 1, 1>(simd, output, input),
                }
                input += if self.inputs - input >= I { I } else { 1 };
            }
            output += if many { O } else { 1 };
        }
    }

    #[inline(always)]
    fn block<S: Simd, const VECTORS: usize, const O: usize, const I: usize>(
        &mut self,
        simd: S,
        output: usize,
        input: usize,
    ) {
        let (batch, taps) = (self.batch, self.pairs.len());
        let (targets, sources) = (self.gradient.len() / self.outputs, self.images.len() / self.inputs);
        for (tap, pairs) in self.pairs.iter().enumerate() {
            let mut sums = [[[simd.splat_f32s(0.0); VECTORS]; I]; O];
            for &(target, source) in pairs {
                let gradient: [&[S::f32s]; O] = std::array::from_fn(|o| {
                    S::as_simd_f32s(&self.gradient[(output + o) * targets + target * batch..][..batch]).0
                });
                let images: [&[S::f32s]; I] = std::array::from_fn(|i| {
                    S::as_simd_f32s(&self.images[(input + i) * sources + source * batch..][..batch]).0
                });
                for at in (0..batch / S::F32_LANES).step_by(VECTORS) {
                    for v in 0..VECTORS {
                        let images: [S::f32s; I] = std::array::from_fn(|i| images[i][at + v]);
                        for (sums, gradient) in sums.iter_mut().zip(&gradient) {
                            for (sum, image) in sums.iter_mut().zip(images) {
                                sum[v] = simd.mul_add_f32s(gradient[at + v], image, sum[v]);
                            }
                        }
                    }
                }
            }
            for (o, sums) in sums.iter().enumerate() {
                for (i, sum) in sums.iter().enumerate() {
                    let mut lanes = [0.0; LANES];
                    S::as_mut_simd_f32s(&mut lanes).0.copy_from_slice(sum);
                    self.result[((output + o) * self.inputs + input + i) * taps + tap] = total(lanes);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    fn values(seed: u64, length: usize) -> Vec<f32> {
        let mut rng = StdRng::seed_from_u64(seed);
        (0..length).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    /// The convolution and the gradient of its weight with the vector instructions that `run` takes.
    fn both(run: &dyn Fn(Gather, Correlate)) -> (Vec<f32>, Vec<f32>) {
        let window = Window::new([5, 5], 3, 2);
        let (inputs, outputs, batch) = (3, 6, BLOCK);
        let (images, gradient) = (values(1, inputs * 25 * batch), values(2, outputs * 9 * batch));
        let weight = values(3, outputs * inputs * 9);
        let packed = pack(outputs, inputs, 9, |o, i, tap| weight[(o * inputs + i) * 9 + tap]);
        let (mut result, mut of_weight) = (vec![0.0; outputs * 9 * batch], vec![0.0; outputs * inputs * 9]);
        let gather = Gather {
            source: &images,
            inputs,
            outputs,
            batch,
            packed: &packed,
            taps: 9,
            seen: &window.forward,
            result: &mut result,
        };
        let correlate = Correlate {
            gradient: &gradient,
            images: &images,
            outputs,
            inputs,
            batch,
            pairs: &window.pairs,
            result: &mut of_weight,
        };
        run(gather, correlate);
        (result, of_weight)
    }

    #[test]
    fn every_processor_computes_the_same_bits() {
        let here = both(&|gather, correlate| {
            Arch::new().dispatch(gather);
            Arch::new().dispatch(correlate);
        });
        let scalar = both(&|gather, correlate| {
            gather.with_simd(pulp::Scalar);
            correlate.with_simd(pulp::Scalar);
        });
        assert!(here == scalar, "not the bits of a processor without vectors");
        #[cfg(target_arch = "x86_64")]
        if pulp::x86::V3::try_new().is_some() {
            let v3 = both(&|gather, correlate| {
                Simd::vectorize(pulp::x86::V3::try_new().expect("it is there"), gather);
                Simd::vectorize(pulp::x86::V3::try_new().expect("it is there"), correlate);
            });
            assert!(here == v3, "not the bits of a processor without AVX-512");
        }
    }

    #[test]
    fn taps_outside_of_the_image_do_not_count() {
        assert_eq!(Window::new([8, 8], 3, 1).taps(), 22 * 22);
        assert_eq!(Window::new([8, 8], 1, 2).taps(), 16);
        assert_eq!(Window::new([1, 1], 3, 1).taps(), 1);
    }
}
