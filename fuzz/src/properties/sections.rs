//! Inputs of several parts, and safetensors files made of them: a fuzzer that changes a byte of a header would else have to
//! change its length too.

use serde_json::{Map, Value, json};

/// Between the parts of an input.
const BETWEEN: &[u8] = b"\n---\n";

/// The parts of an input; none where there are fewer. The last one may be any bytes.
pub fn sections<const N: usize>(bytes: &[u8]) -> Option<[&[u8]; N]> {
    let mut parts = [bytes; N];
    for i in 0..N - 1 {
        let at = parts[i].windows(BETWEEN.len()).position(|window| window == BETWEEN)?;
        (parts[i + 1], parts[i]) = (&parts[i][at + BETWEEN.len()..], &parts[i][..at]);
    }
    Some(parts)
}

/// A safetensors file of three parts: the text of its metadata entry `key`, its tensors as `{"name": ["F32", [2, 3]]}`, and
/// their bytes, of which it takes as many as the tensors need. An input of other parts is a file already.
pub fn safetensors(input: &[u8], key: &str) -> Vec<u8> {
    assembled(input, key).unwrap_or_else(|| input.to_vec())
}

fn assembled(input: &[u8], key: &str) -> Option<Vec<u8>> {
    let [description, tensors, data] = sections(input)?;
    let tensors: Map<String, Value> = serde_json::from_slice(tensors).ok()?;
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({ key: String::from_utf8_lossy(description) }));
    let mut end = 0usize;
    for (name, tensor) in tensors {
        let (dtype, shape) = (tensor.get(0)?.as_str()?, tensor.get(1)?.as_array()?);
        let width = match dtype {
            "U8" | "BOOL" => 1,
            "U16" | "F16" | "BF16" => 2,
            "U32" | "F32" => 4,
            _ => 8,
        };
        let size = shape.iter().try_fold(width, |size: usize, n| size.checked_mul(n.as_u64()? as usize))?;
        let offsets = [end, end.checked_add(size)?];
        header.insert(name, json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets }));
        end = offsets[1];
    }
    let header = Value::Object(header).to_string();
    let mut data = data.to_vec();
    if end <= 1 << 20 {
        data.resize(end, 0);
    }
    Some([&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat())
}
