//! Pools token vectors on the GPU that made them, so that one vector a text comes back instead of one a token.
//!
//! Token vectors are a hundred times the size of what is wanted of them: their way to the host, their widening and their
//! sums took longer than the model. A second, small graph takes them where they lie: sums by weights, a product of
//! matrices. It is built here, for any model, and never touches the model's own graph.

use ort::editor::{Graph, Model, Node, ONNX_DOMAIN, Opset};
use ort::memory::MemoryInfo;
use ort::operator::Attribute;
use ort::session::builder::SessionBuilder;
use ort::session::{IoBinding, Session};
use ort::value::{DynValue, Outlet, Shape, SymbolicDimensions, Tensor, TensorElementType, ValueType};

use super::Tokens;
use crate::embed::pooling::Pooling;

const TOKENS: &str = "tokens";
const WEIGHTS: &str = "weights";
const SUMS: &str = "sums";
/// Known to every ONNX Runtime that is accepted.
const OPSET: u32 = 17;

/// Weighted sums over the token vectors of each text.
#[derive(Debug)]
pub(super) struct Pooler {
    session: Session,
    memory: MemoryInfo<'static>,
    pooling: Pooling,
}

impl Pooler {
    /// For token vectors of this kind that lie in this memory.
    pub(super) fn new(
        builder: &SessionBuilder,
        memory: MemoryInfo<'static>,
        element: TensorElementType,
        pooling: Pooling,
    ) -> ort::Result<Self> {
        let outlet = |name, ty, rank| {
            let shape = Shape::new(vec![-1; rank]);
            Outlet::new(
                name,
                ValueType::Tensor { ty, shape, dimension_symbols: SymbolicDimensions::empty(rank) },
            )
        };
        let single = TensorElementType::Float32;
        let mut graph = Graph::new()?;
        graph.set_inputs([outlet(TOKENS, element, 3), outlet(WEIGHTS, single, 3)])?;
        graph.set_outputs([outlet(SUMS, single, 2)])?;
        // Half precision is for products; sums of many numbers want more.
        let to_single = Attribute::new("to", 1_i64)?;
        graph.add_node(Node::new("Cast", ONNX_DOMAIN, "widen", [TOKENS], ["wide"], [to_single])?)?;
        graph.add_node(Node::new("MatMul", ONNX_DOMAIN, "sum", [WEIGHTS, "wide"], ["rows"], [])?)?;
        graph.add_node(Node::new("Flatten", ONNX_DOMAIN, "flatten", ["rows"], [SUMS], [])?)?;
        let mut model = Model::new([Opset::new(ONNX_DOMAIN, OPSET)?])?;
        model.set_graph(graph)?;
        Ok(Self { session: model.into_session(builder)?, memory, pooling })
    }

    /// Has the model leave its token vectors where they are made.
    pub(super) fn keep(&self, output: &str, binding: &mut IoBinding) -> ort::Result<()> {
        binding.bind_output_to_device(output, &self.memory)
    }

    /// Sums of rows × dimensions, of no particular length: the mean's divisor does not outlive unit length.
    pub(super) fn sums(
        &mut self,
        tokens: &DynValue,
        texts: &[&Tokens],
        width: usize,
    ) -> ort::Result<DynValue> {
        let shape = [texts.len(), 1, width];
        let pooling = self.pooling;
        let weights: Vec<f32> = texts.iter().flat_map(|text| weights(pooling, text.len(), width)).collect();
        let weights = Tensor::from_array((shape, weights))?;
        let mut outputs = self.session.run(ort::inputs! { TOKENS => tokens, WEIGHTS => weights })?;
        outputs.remove(SUMS).ok_or_else(|| ort::Error::new("no sums"))
    }
}

/// What each token of a text of `len` tokens counts.
fn weights(pooling: Pooling, len: usize, width: usize) -> impl Iterator<Item = f32> {
    let counted = match pooling {
        Pooling::Auto | Pooling::Mean => 0..len,
        Pooling::Cls => 0..len.min(1),
        Pooling::Last => len.saturating_sub(1)..len,
    };
    (0..width).map(move |at| if counted.contains(&at) { 1.0 } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ort::memory::{AllocationDevice, AllocatorType, MemoryType};

    use super::super::library::environment;
    use super::*;
    use crate::embed::pooling::{pool, unit};

    #[test]
    fn its_sums_are_those_of_the_host() {
        let library =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-parts/onnxruntime/libonnxruntime.so");
        assert!(library.exists(), "{} is missing: run tests/run first", library.display());
        let environment = environment(Some(&library)).expect("it loads");
        let builder = Session::builder(&environment).expect("a session can be built");
        let (width, dimensions) = (5, 4);
        let texts: [Tokens; 3] = [vec![1; 2], vec![1; 5], vec![1; 1]];
        let singles: Vec<f32> =
            (0..texts.len() * width * dimensions).map(|at| ((at * 37 % 17) as f32 - 8.0) / 4.0).collect();
        let halves: Vec<half::f16> = singles.iter().map(|value| half::f16::from_f32(*value)).collect();
        let shape = [texts.len(), width, dimensions];
        let single = Tensor::from_array((shape, singles.clone())).expect("a tensor").into_dyn();
        let half = Tensor::from_array((shape, halves)).expect("a tensor").into_dyn();
        for pooling in [Pooling::Mean, Pooling::Cls, Pooling::Last] {
            for (element, tokens) in
                [(TensorElementType::Float32, &single), (TensorElementType::Float16, &half)]
            {
                let memory =
                    MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default);
                let pooler = Pooler::new(&builder, memory.expect("the host has memory"), element, pooling);
                let texts: Vec<&Tokens> = texts.iter().collect();
                let sums = pooler.expect("it loads").sums(tokens, &texts, width).expect("it runs");
                let (shape, sums) = sums.try_extract_tensor::<f32>().expect("single precision");
                assert_eq!(**shape, [3, 4]);
                let rows = singles.chunks_exact(width * dimensions).zip(sums.chunks_exact(dimensions));
                for ((own, sums), text) in rows.zip(texts) {
                    let expected = pool(&own[..text.len() * dimensions], dimensions, pooling);
                    let (expected, got) = (expected.expect("finite"), unit(sums).expect("finite"));
                    let close = expected.iter().zip(got.iter()).all(|(a, b)| (a - b).abs() < 1e-6);
                    assert!(close, "{pooling:?} {element:?}: {got:?} is not {expected:?}");
                }
            }
        }
    }
}
