//! The operations that convolutional networks are made of, each with its own backward pass.
//!
//! Images lie with their *batch innermost*: a tensor is [channels, height, width, images]. A vector register then
//! holds the same pixel of many images, so that no operation has an edge case for the image border or for few
//! channels, and whatever is per channel runs over contiguous memory. Sums over images are kept in 16 lanes with fused
//! multiply-adds whatever the processor, so a training gives the same bits everywhere.

mod batch_norm;
mod conv_norm;
mod convolution;
mod cross_entropy;
mod elementwise;
mod norm_conv;
mod normalise;
mod pool;

pub use batch_norm::{After, batch_norm, batch_norm_fixed};
pub use conv_norm::{Before, Moments, Watch, conv_norm, conv_norm_fixed, standardise};
pub use convolution::{Window, convolution};
pub use cross_entropy::{cross_entropy, divergence, log_probabilities, log_softmax};
pub use elementwise::{relu, sum};
pub use norm_conv::{norm_conv, norm_conv_fixed};
pub use normalise::normalise;
pub use pool::{average_pool, global_average};

/// Images in a batch come in multiples of this: what the widest loops take at once.
pub const BLOCK: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Result, Tensor, Var};
    use rand::{Rng, SeedableRng, rngs::StdRng};
    use srnas_network::ops::tensor;
    use std::sync::{Arc, Mutex};

    /// A variable with entries in −1..1, the same for the same seed.
    fn variable(seed: u64, shape: &[usize]) -> Result<Var> {
        let mut rng = StdRng::seed_from_u64(seed);
        let values = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
        Var::from_tensor(&tensor(values, shape)?)
    }

    /// Asserts that outputs, and gradients of a random projection of them, agree.
    fn same(own: &Tensor, composed: &Tensor, variables: &[&Var]) -> Result<()> {
        let difference = |a: &Tensor, b: &Tensor| (a - b)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>();
        assert_eq!(own.dims(), composed.dims());
        assert!(difference(own, composed)? < 1e-4, "outputs differ");
        let direction = variable(99, own.dims())?.as_detached_tensor();
        let own = (own * &direction)?.sum_all()?.backward()?;
        let composed = (composed * &direction)?.sum_all()?.backward()?;
        for (index, variable) in variables.iter().enumerate() {
            let (own, composed) = (own.get(variable).unwrap(), composed.get(variable).unwrap());
            let scale = composed.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
            assert!(scale > 0.0, "gradient {index} is zero");
            let difference = difference(own, composed)? / scale.max(1.0);
            assert!(difference < 1e-4, "gradient {index} differs by {difference}");
        }
        Ok(())
    }

    /// [C, H, W, N] as candle's [N, C, H, W].
    fn batch_first(images: &Tensor) -> Tensor {
        images.permute((3, 0, 1, 2)).unwrap().contiguous().unwrap()
    }

    fn batch_last(images: &Tensor) -> Tensor {
        images.permute((1, 2, 3, 0)).unwrap().contiguous().unwrap()
    }

    fn composed_convolution(images: &Tensor, weight: &Tensor, window: &Window, stride: usize) -> Tensor {
        let result = batch_first(images).conv2d(weight, window.kernel / 2, stride, 1, 1).unwrap();
        batch_last(&result)
    }

    #[test]
    fn convolutions_are_candles() {
        // Channels that fill no register, one channel, odd sizes, both kernels and strides.
        for (inputs, outputs, size, kernel, stride) in
            [(1, 4, [5, 4], 3, 1), (3, 10, [4, 4], 3, 2), (5, 6, [3, 5], 1, 1), (8, 7, [5, 5], 1, 2)]
        {
            let images = variable(1, &[inputs, size[0], size[1], 2 * BLOCK]).unwrap();
            let weight = variable(2, &[outputs, inputs, kernel, kernel]).unwrap();
            let window = Window::new(size, kernel, stride);
            let own = convolution(&images, &weight, &window).unwrap();
            let composed = composed_convolution(&images, &weight, &window, stride);
            same(&(own * 0.1).unwrap(), &(composed * 0.1).unwrap(), &[&images, &weight]).unwrap();
        }
    }

    /// Mean and variance over all but the channels, as tensors [C, 1, 1, 1].
    fn moments(images: &Tensor) -> (Tensor, Tensor) {
        let mean = images.mean_keepdim((1, 2, 3)).unwrap();
        let variance = images.broadcast_sub(&mean).unwrap().sqr().unwrap().mean_keepdim((1, 2, 3)).unwrap();
        (mean, variance)
    }

    fn normalised(images: &Tensor, mean: &Tensor, variance: &Tensor, affine: &Tensor) -> Tensor {
        let column = |row: usize| affine.get(row).unwrap().reshape(((), 1, 1, 1)).unwrap();
        let rate = (variance + 1e-5).unwrap().sqrt().unwrap().recip().unwrap();
        let standard = images.broadcast_sub(mean).unwrap().broadcast_mul(&rate).unwrap();
        standard.broadcast_mul(&column(0)).unwrap().broadcast_add(&column(1)).unwrap()
    }

    #[test]
    fn convolution_and_normalisation_together_are_the_two_apart() {
        let window = Window::new([4, 4], 3, 1);
        for before in [Before::Nothing, Before::Relu] {
            let images = variable(3, &[3, 4, 4, BLOCK]).unwrap();
            let weight = variable(4, &[5, 3, 3, 3]).unwrap();
            let affine = variable(5, &[2, 5]).unwrap();
            let (own, found) = conv_norm(&images, &weight, &affine, &window, before, None).unwrap();
            let seen =
                if before == Before::Relu { images.relu().unwrap() } else { images.as_tensor().clone() };
            let inner = composed_convolution(&seen, &weight, &window, 1);
            let (mean, variance) = moments(&inner);
            let composed = normalised(&inner, &mean, &variance, &affine);
            same(&own, &composed, &[&images, &weight, &affine]).unwrap();

            let close = |own: &[f32], tensor: &Tensor| {
                let other: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
                own.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-4)
            };
            assert!(close(&found.mean, &mean) && close(&found.variance, &variance));
            let fixed = conv_norm_fixed(
                &images,
                &weight.as_detached_tensor(),
                &affine.as_detached_tensor(),
                &window,
                before,
                &found,
            );
            let composed =
                normalised(&inner, &mean.detach(), &variance.detach(), &affine.as_detached_tensor());
            let only_images = same(&fixed.unwrap(), &composed, &[&images]);
            only_images.unwrap();
        }
    }

    #[test]
    fn normalisation_before_a_convolution_is_candles() {
        for after in [After::Nothing, After::Relu] {
            let (images, affine) = (variable(3, &[3, 2, 4, BLOCK]).unwrap(), variable(5, &[2, 3]).unwrap());
            let then =
                |composed: Tensor| if after == After::Relu { composed.relu().unwrap() } else { composed };
            let (own, found) = batch_norm(&images, &affine, after).unwrap();
            let (mean, variance) = moments(&images);
            same(&own, &then(normalised(&images, &mean, &variance, &affine)), &[&images, &affine]).unwrap();
            let fixed = affine.as_detached_tensor();
            let own = batch_norm_fixed(&images, &fixed, after, &found).unwrap();
            let composed = normalised(&images, &mean.detach(), &variance.detach(), &fixed);
            same(&own, &then(composed), &[&images]).unwrap();
        }
        let images = variable(3, &[3, 2, 4, BLOCK]).unwrap();
        assert!(batch_norm(&images, &variable(5, &[2, 4]).unwrap(), After::Relu).is_err());
    }

    #[test]
    fn pools_are_means_of_what_is_there() {
        let window = Window::new([3, 4], 3, 1);
        let images = variable(6, &[2, 3, 4, BLOCK]).unwrap();
        // The sum of the window over the number of its pixels that are inside.
        let ones = Tensor::ones((1, 1, 3, 3), candle_core::DType::F32, images.device()).unwrap();
        let sums = |of: &Tensor| {
            let (n, c, h, w) = of.dims4().unwrap();
            of.reshape((n * c, 1, h, w))
                .unwrap()
                .conv2d(&ones, 1, 1, 1, 1)
                .unwrap()
                .reshape((n, c, h, w))
                .unwrap()
        };
        let first = batch_first(&images);
        let composed = (sums(&first) / sums(&first.ones_like().unwrap())).unwrap();
        same(&average_pool(&images, &window).unwrap(), &batch_last(&composed), &[&images]).unwrap();
        let mean = images.mean_keepdim((1, 2)).unwrap();
        same(&global_average(&images).unwrap(), &mean, &[&images]).unwrap();
    }

    #[test]
    fn small_operations_are_candles() {
        let (left, right) =
            (variable(7, &[2, 2, 2, BLOCK]).unwrap(), variable(8, &[2, 2, 2, BLOCK]).unwrap());
        same(&relu(&left).unwrap(), &left.relu().unwrap(), &[&left]).unwrap();
        let composed = (left.as_tensor() + right.as_tensor()).unwrap();
        same(&sum(&left, &right).unwrap(), &composed, &[&left, &right]).unwrap();
        let moments = Moments { mean: vec![0.3, -0.2], variance: vec![0.5, 2.0] };
        let affine = Tensor::new(&[[1f32, 1.0], [0.0, 0.0]], left.device()).unwrap();
        let column =
            |values: &[f32]| Tensor::new(values, left.device()).unwrap().reshape((2, 1, 1, 1)).unwrap();
        let composed = normalised(&left, &column(&moments.mean), &column(&moments.variance), &affine);
        same(&standardise(&left, &moments).unwrap(), &composed, &[&left]).unwrap();
    }

    #[test]
    fn a_normalisation_and_its_convolution_in_one_give_the_bits_that_they_give_apart() {
        for (after, stride) in [(After::Relu, 1), (After::Relu, 2), (After::Nothing, 1)] {
            let window = Window::new([5, 4], 3, stride);
            let images = variable(3, &[3, 5, 4, BLOCK]).unwrap();
            let (affine, weight) = (variable(4, &[2, 3]).unwrap(), variable(5, &[6, 3, 3, 3]).unwrap());
            let variables = [&images, &affine, &weight];
            let bits = |result: &Tensor, of: &[&Var]| {
                let direction = variable(99, result.dims()).unwrap().as_detached_tensor();
                let gradients = (result * &direction).unwrap().sum_all().unwrap().backward().unwrap();
                let all = of.iter().map(|variable| gradients.get(variable).unwrap());
                let all = all.chain([result]).map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap());
                all.collect::<Vec<_>>()
            };
            let (one, moments) = norm_conv(&images, &affine, &weight, &window, after).unwrap();
            let (active, apart) = batch_norm(&images, &affine, after).unwrap();
            assert_eq!(moments, apart);
            let two = convolution(&active, &weight, &window).unwrap();
            let found = bits(&one, &variables);
            assert!(found.iter().all(|values| values.iter().any(|v| v.abs() > 0.1)), "all but nothing");
            assert!(found == bits(&two, &variables), "{after:?} {stride}");
            let (affine, weight) = (affine.as_detached_tensor(), weight.as_detached_tensor());
            let one = norm_conv_fixed(&images, &affine, &weight, &window, after, &moments).unwrap();
            let active = batch_norm_fixed(&images, &affine, after, &moments).unwrap();
            let two = convolution(&active, &weight, &window).unwrap();
            assert!(bits(&one, &[&images]) == bits(&two, &[&images]), "fixed, {after:?} {stride}");
        }
    }

    #[test]
    fn normalisation_alone_is_by_the_moments() {
        let images = variable(6, &[3, 2, 4, BLOCK]).unwrap();
        let (mean, variance) = moments(&images);
        let affine = Tensor::new(&[[1f32; 3], [0.0; 3]], images.device()).unwrap();
        same(&normalise(&images).unwrap(), &normalised(&images, &mean, &variance, &affine), &[&images])
            .unwrap();
    }

    #[test]
    fn a_watch_hears_what_a_convolution_gave_and_its_gradient() {
        let window = Window::new([4, 4], 3, 1);
        let (images, weight) = (variable(3, &[3, 4, 4, BLOCK]).unwrap(), variable(4, &[5, 3, 3, 3]).unwrap());
        let affine = variable(5, &[2, 5]).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let to = heard.clone();
        let watch: Watch =
            Arc::new(move |given, gradient| to.lock().unwrap().push((given.to_vec(), gradient.to_vec())));
        let (own, _) = conv_norm(&images, &weight, &affine, &window, Before::Relu, Some(watch)).unwrap();
        let direction = variable(99, own.dims()).unwrap().as_detached_tensor();
        (own * &direction).unwrap().sum_all().unwrap().backward().unwrap();

        let inner = composed_convolution(&images.relu().unwrap(), &weight, &window, 1);
        let inner = Var::from_tensor(&inner).unwrap();
        let (mean, variance) = moments(&inner);
        let composed = normalised(&inner, &mean, &variance, &affine);
        let gradients = (composed * &direction).unwrap().sum_all().unwrap().backward().unwrap();
        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), 1);
        for (heard, composed) in
            [(&heard[0].0, inner.as_tensor()), (&heard[0].1, gradients.get(&inner).unwrap())]
        {
            let other: Vec<f32> = composed.flatten_all().unwrap().to_vec1().unwrap();
            assert!(heard.len() == other.len() && heard.iter().any(|v| v.abs() > 0.01));
            assert!(heard.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-4));
        }
    }

    /// Logits with room for more images than there are labels.
    fn logits(seed: u64) -> Var {
        variable(seed, &[4, 1, 1, BLOCK]).unwrap()
    }

    fn log_softmax(logits: &Tensor) -> Tensor {
        let logits = logits.reshape((4, BLOCK)).unwrap();
        let log = logits.exp().unwrap().sum_keepdim(0).unwrap().log().unwrap();
        logits.broadcast_sub(&log).unwrap()
    }

    #[test]
    fn losses_are_what_they_are_called() {
        let left = logits(9);
        let labels: Arc<[u8]> = (0..50).map(|n| (n % 4) as u8).collect::<Vec<_>>().into();
        let own = cross_entropy(&left, &labels).unwrap();
        let chosen: Vec<f32> = (0..4 * BLOCK)
            .map(|i| if i % BLOCK < 50 && (i % BLOCK) % 4 == i / BLOCK { -1.0 / 50.0 } else { 0.0 })
            .collect();
        let chosen = Tensor::from_vec(chosen, (4, BLOCK), left.device()).unwrap();
        let composed = (log_softmax(&left) * chosen).unwrap().sum_all().unwrap();
        let unit = |loss: &Tensor| loss.reshape(1).unwrap();
        same(&unit(&own), &unit(&composed), &[&left]).unwrap();
        let log = log_probabilities(&left).unwrap();
        let other: Vec<f32> = log_softmax(&left).flatten_all().unwrap().to_vec1().unwrap();
        assert!(log.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-5));

        let right = logits(10);
        let (p, q) = (log_softmax(&left), log_softmax(&right));
        let composed =
            ((p.exp().unwrap() * (p - q).unwrap()).unwrap().sum_all().unwrap() / BLOCK as f64).unwrap();
        same(&unit(&divergence(&left, &right).unwrap()), &unit(&composed), &[&left, &right]).unwrap();
        assert!(divergence(&left, &left).unwrap().to_scalar::<f32>().unwrap().abs() < 1e-6);
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let window = Window::new([4, 4], 3, 1);
        let weight = variable(1, &[2, 3, 3, 3]).unwrap();
        for shape in [[3, 4, 4, BLOCK - 1], [2, 4, 4, BLOCK], [3, 4, 5, BLOCK]] {
            let images = variable(1, &shape).unwrap();
            assert!(convolution(&images, &weight, &window).is_err(), "{shape:?}");
        }
        let labels: Arc<[u8]> = vec![4u8].into();
        assert!(cross_entropy(&logits(1), &labels).is_err(), "a label beyond the classes");
    }
}
