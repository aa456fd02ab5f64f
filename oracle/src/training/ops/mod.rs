//! The operations that convolutional networks are made of, each with its own backward pass.
//!
//! Images lie with their *batch innermost*: a tensor is [channels, height, width, images]. A vector register then
//! holds the same pixel of many images, so that no operation has an edge case for the image border or for few
//! channels, and whatever is per channel runs over contiguous memory. Sums over images are kept in 16 lanes with fused
//! multiply-adds whatever the processor, so a training gives the same bits everywhere.

mod conv_norm;
mod convolution;
mod cross_entropy;
mod elementwise;
mod pool;

pub use conv_norm::{Before, Moments, conv_norm, conv_norm_fixed, standardise};
pub use convolution::{Window, convolution};
pub use cross_entropy::{cross_entropy, divergence, log_probabilities};
pub use elementwise::{relu, sum};
pub use pool::{average_pool, global_average};

/// Images in a batch come in multiples of this: what the widest loops take at once.
pub const BLOCK: usize = 64;
