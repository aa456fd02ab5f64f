//! Batch normalisation, its ReLU and the convolution behind it in one operation: what blocks with pre-activation are made of.
//!
//! Apart they give the same bits, and candle clears and adds a gradient between them.

use super::{
    After, Moments, Window,
    batch_norm::{Kept, pass},
    conv_norm::checked_affine,
    convolution::Sizes,
};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use srnas_network::ops::{tensor, values, with_values};
use std::sync::{Arc, Mutex};

/// Normalises each channel of images [I, H, W, N] by its own moments, applies gain and shift, the rows of `affine` [2, I], and the ReLU if there
/// is one, and convolves with weight [O, I, k, k] → [O, H', W', N]. Also returns the moments, for the running averages.
pub fn norm_conv(
    images: &Tensor,
    affine: &Tensor,
    weight: &Tensor,
    window: &Arc<Window>,
    after: After,
) -> Result<(Tensor, Moments)> {
    let kept = Arc::new(Mutex::new((Kept::default(), Vec::new())));
    let result =
        images.apply_op3(affine, weight, NormConv { window: window.clone(), after, kept: kept.clone() })?;
    let moments = kept.lock().expect("nobody panics with it").0.moments.clone();
    Ok((result, moments))
}

/// Like [`norm_conv`], by moments that are given. Affine and weight get no gradient.
pub fn norm_conv_fixed(
    images: &Tensor,
    affine: &Tensor,
    weight: &Tensor,
    window: &Arc<Window>,
    after: After,
    moments: &Moments,
) -> Result<Tensor> {
    let kept = Arc::default();
    images.apply_op3(
        affine,
        weight,
        NormConvFixed { window: window.clone(), after, moments: moments.clone(), kept },
    )
}

struct NormConv {
    window: Arc<Window>,
    after: After,
    /// What the normalisation keeps, and what the convolution sees.
    kept: Arc<Mutex<(Kept, Vec<f32>)>>,
}

struct NormConvFixed {
    window: Arc<Window>,
    after: After,
    moments: Moments,
    /// What the convolution sees.
    kept: Arc<Mutex<Vec<f32>>>,
}

/// The shape of the result of a convolution.
fn shape(sizes: Sizes, window: &Window) -> Shape {
    let [height, width] = window.target;
    (sizes.outputs, height, width, sizes.batch).into()
}

impl CustomOp3 for NormConv {
    fn name(&self) -> &'static str {
        "norm-conv"
    }

    fn cpu_fwd(
        &self,
        images: &CpuStorage,
        images_layout: &Layout,
        affine: &CpuStorage,
        affine_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let sizes = Sizes::check(images_layout.shape(), weight_layout.shape(), &self.window)?;
        let affine = checked_affine(affine, affine_layout, sizes.inputs)?;
        let (kept, active) = Kept::of(values(images, images_layout)?, affine, self.after);
        let result = sizes.forward(&active, values(weight, weight_layout)?, &self.window);
        *self.kept.lock().expect("nobody panics with it") = (kept, active);
        Ok((CpuStorage::F32(result), shape(sizes, &self.window)))
    }

    fn bwd(
        &self,
        images: &Tensor,
        affine: &Tensor,
        weight: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let sizes = Sizes::check(images.shape(), weight.shape(), &self.window)?;
        let (kept, active) = &*self.kept.lock().expect("nobody panics with it");
        let (of_weight, mut inner) = with_values(gradient, |gradient| {
            let of_weight = weight.track_op().then(|| sizes.of_weight(gradient, active, &self.window));
            let inner = with_values(weight, |weight| sizes.of_images(gradient, weight, &self.window))?;
            Ok::<_, candle_core::Error>((of_weight, inner))
        })??;
        pass(&mut inner, active, self.after);
        let of_affine = with_values(affine, |affine| kept.back(&mut inner, affine))?;
        let of_weight = of_weight.map(|values| tensor(values, weight.shape())).transpose()?;
        Ok((Some(tensor(inner, images.shape())?), Some(tensor(of_affine, affine.shape())?), of_weight))
    }
}

impl CustomOp3 for NormConvFixed {
    fn name(&self) -> &'static str {
        "norm-conv-fixed"
    }

    fn cpu_fwd(
        &self,
        images: &CpuStorage,
        images_layout: &Layout,
        affine: &CpuStorage,
        affine_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let sizes = Sizes::check(images_layout.shape(), weight_layout.shape(), &self.window)?;
        let affine = checked_affine(affine, affine_layout, sizes.inputs)?;
        let active = self.moments.applied(values(images, images_layout)?, affine, self.after);
        let result = sizes.forward(&active, values(weight, weight_layout)?, &self.window);
        *self.kept.lock().expect("nobody panics with it") = active;
        Ok((CpuStorage::F32(result), shape(sizes, &self.window)))
    }

    fn bwd(
        &self,
        images: &Tensor,
        affine: &Tensor,
        weight: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let sizes = Sizes::check(images.shape(), weight.shape(), &self.window)?;
        let mut inner = with_values(gradient, |gradient| {
            with_values(weight, |weight| sizes.of_images(gradient, weight, &self.window))
        })??;
        pass(&mut inner, &self.kept.lock().expect("nobody panics with it"), self.after);
        with_values(affine, |affine| self.moments.back(&mut inner, affine))?;
        Ok((Some(tensor(inner, images.shape())?), None, None))
    }
}
