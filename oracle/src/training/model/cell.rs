//! Networks of NAS-Bench-201 cells (arXiv 2001.00326, section 2.1): a stem, stages of equal cells with a residual block
//! that halves height and width between them, and a classifier over the mean of all pixels.

use std::sync::Arc;

use candle_core::{Result, Tensor, Var};
use rand::Rng;

use super::{
    Model, Pass, Scale, Shape,
    layers::{ConvNorm, Linear, Parameters},
};
use crate::training::ops::{self, Before, Moments, Window};

/// From and to node of each decision.
const EDGES: [(usize, usize); 6] = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)];

/// A network of one cell, repeated.
pub struct CellNetwork {
    parameters: Vec<(String, Var)>,
    stem: ConvNorm,
    stages: Vec<Stage>,
    classifier: Linear,
    multiply_adds: u64,
}

struct Stage {
    reduction: Option<Reduction>,
    cells: Vec<Cell>,
}

/// The residual block between stages.
struct Reduction {
    first: ConvNorm,
    second: ConvNorm,
    shortcut: ConvNorm,
}

struct Cell {
    edges: Vec<Edge>,
    window: Arc<Window>,
}

/// What an edge does to the node that it starts from.
enum Edge {
    Nothing,
    Skip,
    Convolution(ConvNorm),
    Pool,
}

impl CellNetwork {
    /// The network of an active cell.
    pub fn new(choices: &[u8], shape: Shape, scale: Scale, rng: &mut impl Rng) -> Result<Self> {
        let mut parameters = Parameters::new(rng);
        let (mut size, mut width) = (shape.size, scale.width);
        let stem = ConvNorm::new(
            &mut parameters,
            "stem",
            [shape.channels, width],
            Window::new(size, 3, 1),
            Before::Nothing,
        )?;
        let mut multiply_adds = stem.multiply_adds();
        let mut stages = Vec::with_capacity(scale.stages);
        for stage in 0..scale.stages {
            let name = format!("stage{stage}");
            let mut reduction = None;
            if stage > 0 {
                let halved = Reduction::new(&mut parameters, &format!("{name}.reduction"), width, size)?;
                multiply_adds += halved.multiply_adds();
                size = halved.first.target();
                width *= 2;
                reduction = Some(halved);
            }
            let mut cells = Vec::with_capacity(scale.cells);
            for cell in 0..scale.cells {
                let cell = Cell::new(&mut parameters, &format!("{name}.cell{cell}"), choices, width, size)?;
                multiply_adds += cell.multiply_adds();
                cells.push(cell);
            }
            stages.push(Stage { reduction, cells });
        }
        let classifier = Linear::new(&mut parameters, "classifier", width, shape.classes)?;
        multiply_adds += classifier.multiply_adds();
        Ok(Self { parameters: parameters.named, stem, stages, classifier, multiply_adds })
    }
}

impl Model for CellNetwork {
    fn pass(&mut self, images: &Tensor, how: &mut dyn Pass) -> Result<Tensor> {
        let mut images = how.convolution(&mut self.stem, images)?;
        for stage in &mut self.stages {
            if let Some(reduction) = &mut stage.reduction {
                let halved = reduction.pass(&images, how)?;
                images = how.waist(halved)?;
            }
            for cell in &mut stage.cells {
                let result = cell.pass(&images, how)?;
                images = how.waist(result)?;
            }
        }
        let images = how.relu(&images)?;
        let images = how.average(&images)?;
        how.linear(&self.classifier, &images)
    }

    fn parameters(&self) -> &[(String, Var)] {
        &self.parameters
    }

    fn running(&mut self) -> Vec<&mut Moments> {
        let mut all = vec![self.stem.running()];
        for stage in &mut self.stages {
            if let Some(reduction) = &mut stage.reduction {
                let layers = [&mut reduction.first, &mut reduction.second, &mut reduction.shortcut];
                all.extend(layers.map(ConvNorm::running));
            }
            for edge in stage.cells.iter_mut().flat_map(|cell| &mut cell.edges) {
                if let Edge::Convolution(layer) = edge {
                    all.push(layer.running());
                }
            }
        }
        all
    }

    fn multiply_adds(&self) -> u64 {
        self.multiply_adds
    }
}

impl Reduction {
    fn new<R: Rng>(
        parameters: &mut Parameters<R>,
        name: &str,
        width: usize,
        size: [usize; 2],
    ) -> Result<Self> {
        let first = Window::new(size, 3, 2);
        let half = first.target;
        let channels = [width, 2 * width];
        Ok(Self {
            first: ConvNorm::new(parameters, &format!("{name}.first"), channels, first, Before::Relu)?,
            second: ConvNorm::new(
                parameters,
                &format!("{name}.second"),
                [2 * width; 2],
                Window::new(half, 3, 1),
                Before::Relu,
            )?,
            shortcut: ConvNorm::new(
                parameters,
                &format!("{name}.shortcut"),
                channels,
                Window::new(size, 1, 2),
                Before::Nothing,
            )?,
        })
    }

    fn pass(&mut self, images: &Tensor, how: &mut dyn Pass) -> Result<Tensor> {
        let inner = how.convolution(&mut self.first, images)?;
        let inner = how.convolution(&mut self.second, &inner)?;
        ops::sum(&inner, &how.shortcut(&mut self.shortcut, images)?)
    }

    fn multiply_adds(&self) -> u64 {
        self.first.multiply_adds() + self.second.multiply_adds() + self.shortcut.multiply_adds()
    }
}

impl Cell {
    fn new<R: Rng>(
        parameters: &mut Parameters<R>,
        name: &str,
        choices: &[u8],
        width: usize,
        size: [usize; 2],
    ) -> Result<Self> {
        let windows = [Window::new(size, 1, 1), Window::new(size, 3, 1)];
        let mut edges = Vec::with_capacity(EDGES.len());
        for (&(from, to), &choice) in EDGES.iter().zip(choices) {
            let mut convolution = |window: &Arc<Window>| {
                let name = format!("{name}.{from}>{to}");
                ConvNorm::new(parameters, &name, [width; 2], window.clone(), Before::Relu)
                    .map(Edge::Convolution)
            };
            edges.push(match choice {
                0 => Edge::Nothing,
                1 => Edge::Skip,
                2 => convolution(&windows[0])?,
                3 => convolution(&windows[1])?,
                4 => Edge::Pool,
                other => candle_core::bail!("a cell has no operation {other}"),
            });
        }
        let [_, window] = windows;
        Ok(Self { edges, window })
    }

    fn pass(&mut self, images: &Tensor, how: &mut dyn Pass) -> Result<Tensor> {
        // A node that nothing leads to is absent, and so is whatever comes from it.
        let mut nodes: [Option<Tensor>; 4] = [Some(images.clone()), None, None, None];
        for (&(from, to), edge) in EDGES.iter().zip(&mut self.edges) {
            let Some(source) = nodes[from].clone() else { continue };
            let carried = match edge {
                Edge::Nothing => continue,
                Edge::Skip => source,
                Edge::Pool => ops::average_pool(&source, &self.window)?,
                Edge::Convolution(convolution) => how.convolution(convolution, &source)?,
            };
            nodes[to] = Some(match nodes[to].take() {
                Some(before) => ops::sum(&before, &carried)?,
                None => carried,
            });
        }
        let [.., output] = nodes;
        match output {
            Some(output) => Ok(output),
            None => images.zeros_like(),
        }
    }

    fn multiply_adds(&self) -> u64 {
        let convolution = |edge: &Edge| match edge {
            Edge::Convolution(convolution) => convolution.multiply_adds(),
            _ => 0,
        };
        self.edges.iter().map(convolution).sum()
    }
}
