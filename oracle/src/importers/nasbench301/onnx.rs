//! As much of the ONNX format (github onnx/onnx, `onnx.proto`) as it takes to read the weights of a published network and to be sure that
//! nothing else is computed with them.

use prost::Message;
use std::collections::HashMap;

#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    nodes: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    initializers: Vec<TensorProto>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, repeated, tag = "1")]
    inputs: Vec<String>,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(message, optional, tag = "5")]
    tensor: Option<TensorProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(float, repeated, tag = "4")]
    float_data: Vec<f32>,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

/// ONNX's number of the type f32.
const FLOAT: i32 = 1;

impl TensorProto {
    fn floats(&self) -> Vec<f32> {
        match self.float_data.is_empty() {
            true => {
                self.raw_data.chunks_exact(4).map(|v| f32::from_le_bytes([v[0], v[1], v[2], v[3]])).collect()
            }
            false => self.float_data.clone(),
        }
    }
}

/// A tensor of f32 and its shape.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// What a file has.
#[derive(Debug)]
pub(super) struct Network {
    tensors: HashMap<String, Tensor>,
    /// Operations with the names of the tensors of weights that they take, in order, runs of constants and look-ups left out.
    pub steps: Vec<String>,
    /// The numbers among its constants, in order.
    pub constants: Vec<f32>,
}

impl Network {
    /// Reads a file.
    ///
    /// # Errors
    /// Says what is not as it should be.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let model = Model::decode(bytes).map_err(|e| format!("it is no ONNX file, or was cut short: {e}"))?;
        let graph = model.graph.ok_or("it is no ONNX file: it has no graph")?;
        let mut tensors = HashMap::new();
        for tensor in graph.initializers.iter().filter(|tensor| tensor.data_type == FLOAT) {
            let shape: Vec<usize> = tensor.dims.iter().map(|&n| n.max(0) as usize).collect();
            let values = tensor.floats();
            if Some(values.len()) != shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)) {
                return Err(format!(
                    "its tensor `{}` has {} numbers, which do not make {shape:?}",
                    tensor.name,
                    values.len()
                ));
            }
            tensors.insert(tensor.name.clone(), Tensor { shape, values });
        }
        let (mut steps, mut constants) = (Vec::new(), Vec::new());
        for node in &graph.nodes {
            match node.op_type.as_str() {
                "Constant" => {
                    let values = node.attributes.iter().filter_map(|attribute| attribute.tensor.as_ref());
                    constants.extend(values.filter(|t| t.data_type == FLOAT).flat_map(TensorProto::floats));
                }
                // Shapes, and types that are what they were.
                "Cast" | "Shape" | "Unsqueeze" | "ConstantOfShape" => {}
                op => {
                    let weights = node.inputs.iter().filter(|name| tensors.contains_key(*name));
                    let weights: Vec<&str> = weights.map(String::as_str).collect();
                    steps.push(if weights.is_empty() {
                        op.into()
                    } else {
                        format!("{op} {}", weights.join(" "))
                    });
                }
            }
        }
        Ok(Self { tensors, steps, constants })
    }

    /// A tensor of this shape.
    ///
    /// # Errors
    /// Says that it is not there, or is of another shape.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<&Tensor, String> {
        match self.tensors.get(name) {
            Some(tensor) if tensor.shape == shape => Ok(tensor),
            Some(tensor) => {
                Err(format!("its tensor `{name}` has shape {:?} instead of {shape:?}", tensor.shape))
            }
            None => Err(format!("it has no tensor `{name}`: it is another network")),
        }
    }

    /// A matrix of so many rows.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    pub fn matrix(&self, name: &str, rows: usize) -> Result<&Tensor, String> {
        let columns = self.tensors.get(name).and_then(|tensor| tensor.shape.get(1)).copied().unwrap_or(0);
        self.tensor(name, &[rows, columns])
    }
}

/// The bytes of a file, for tests.
#[cfg(test)]
pub(super) fn written(tensors: &[(&str, Tensor)], nodes: &[(&str, &[&str])], constants: &[f32]) -> Vec<u8> {
    let proto = |name: &str, tensor: &Tensor| TensorProto {
        dims: tensor.shape.iter().map(|&n| n as i64).collect(),
        data_type: FLOAT,
        float_data: Vec::new(),
        name: name.into(),
        raw_data: tensor.values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    };
    let constant = |value: &f32| Node {
        op_type: "Constant".into(),
        attributes: vec![Attribute {
            tensor: Some(proto("", &Tensor { shape: vec![], values: vec![*value] })),
        }],
        ..Node::default()
    };
    let node = |(op, inputs): &(&str, &[&str])| Node {
        op_type: (*op).into(),
        inputs: inputs.iter().map(|name| (*name).into()).collect(),
        ..Node::default()
    };
    let graph = Graph {
        nodes: constants.iter().map(constant).chain(nodes.iter().map(node)).collect(),
        initializers: tensors.iter().map(|(name, tensor)| proto(name, tensor)).collect(),
    };
    Model { graph: Some(graph) }.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_constants_and_what_is_done_with_them_are_read() {
        let w = Tensor { shape: vec![2, 3], values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] };
        let bytes = written(
            &[("w", w.clone())],
            &[("Gemm", &["x", "w"]), ("Cast", &["y"]), ("Selu", &["y"])],
            &[0.5],
        );
        let network = Network::read(&bytes).unwrap();
        assert_eq!(
            (network.steps, network.constants),
            (vec!["Gemm w".to_string(), "Selu".into()], vec![0.5])
        );
        let network = Network::read(&bytes).unwrap();
        assert_eq!(network.tensor("w", &[2, 3]), Ok(&w));
        assert!(network.tensor("w", &[3, 2]).unwrap_err().contains("[2, 3] instead of [3, 2]"));
        assert!(network.tensor("v", &[1]).unwrap_err().contains("no tensor `v`"));
        assert!(Network::read(&bytes[..bytes.len() - 3]).unwrap_err().contains("no ONNX file"));
        assert!(Network::read(b"").unwrap_err().contains("no graph"));
        let wrong = written(&[("w", Tensor { shape: vec![7], values: vec![1.0] })], &[], &[]);
        assert!(Network::read(&wrong).unwrap_err().contains("do not make [7]"));
    }
}
