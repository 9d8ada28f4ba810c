"""Builds the models of the tests as ONNX graphs: all-MiniLM-L6-v2 from its weights, and a small quantised one.

Usage: minilm.py WEIGHTS.safetensors TOKENIZER.json OUT

OUT/minilm is the real model in float 32. OUT/minilm-dynamic-quantised is no language model at all: it only has the
same inputs and output, and a DynamicQuantizeLinear node, for which the daemon has to refuse it.
Both graphs end at `last_hidden_state`: pooling and unit length are the daemon's.
"""

import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LAYERS = 6
HEADS = 12
WIDTH = 384
EPSILON = 1e-12
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
# Finite, so that a text of padding alone gives no NaN; its exponential is exactly zero.
MASKED = -1e9


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The float 32 tensors of a safetensors file by their names."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + size]).items():
        if entry.get("dtype") == "F32":
            start, end = (8 + size + offset for offset in entry["data_offsets"])
            tensors[name] = np.frombuffer(data[start:end], dtype="<f4").reshape(entry["shape"])
    return tensors


class Graph:
    """An ONNX graph in the making: each operation adds a node and returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: np.ndarray) -> str:
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def number(self, value: float) -> str:
        return self.constant(f"number_{value!r}", np.array(value, dtype=np.float32))

    def integers(self, *values: int) -> str:
        return self.constant("integers_" + "_".join(map(str, values)), np.array(values, dtype=np.int64))

    def many(self, operation: str, inputs: tuple[str, ...], outputs: int, **attributes: object) -> list[str]:
        names = [f"{operation}_{len(self.nodes)}_{output}" for output in range(outputs)]
        self.nodes.append(helper.make_node(operation, inputs, names, name=names[0], **attributes))
        return names

    def add(self, operation: str, *inputs: str, **attributes: object) -> str:
        return self.many(operation, inputs, 1, **attributes)[0]

    def save(self, last: str, directory: Path, tokenizer: Path) -> None:
        """Writes the model and its tokenizer into the folder."""
        self.nodes.append(helper.make_node("Identity", [last], ["last_hidden_state"], name="last_hidden_state"))
        sides = ["batch", "sequence"]
        inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, sides) for name in INPUTS]
        output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*sides, WIDTH])
        graph = helper.make_graph(self.nodes, directory.name, inputs, [output], list(self.constants.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
        shutil.copyfile(tokenizer, directory / "tokenizer.json")


class Bert(Graph):
    """The encoder of BERT over given weights."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.weights = weights

    def weight(self, name: str) -> str:
        return self.constant(name, self.weights[name])

    def dense(self, value: str, name: str) -> str:
        matrix = self.constant(f"{name}.weight", self.weights[f"{name}.weight"].T)
        return self.add("Add", self.add("MatMul", value, matrix), self.weight(f"{name}.bias"))

    def normalised(self, value: str, name: str) -> str:
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.add("LayerNormalization", value, scale, bias, axis=-1, epsilon=EPSILON)

    def gelu(self, value: str) -> str:
        error = self.add("Erf", self.add("Mul", value, self.number(1 / math.sqrt(2))))
        half = self.add("Mul", value, self.number(0.5))
        return self.add("Mul", half, self.add("Add", error, self.number(1.0)))

    def embedded(self) -> str:
        length = self.add("Slice", self.add("Shape", "input_ids"), self.integers(1), self.integers(2))
        positions = self.weight("embeddings.position_embeddings.weight")
        position = self.add("Slice", positions, self.integers(0), length, self.integers(0))
        word = self.add("Gather", self.weight("embeddings.word_embeddings.weight"), "input_ids")
        kind = self.add("Gather", self.weight("embeddings.token_type_embeddings.weight"), "token_type_ids")
        total = self.add("Add", self.add("Add", word, kind), position)
        return self.normalised(total, "embeddings.LayerNorm")

    def mask(self) -> str:
        """What is added to the attention's scores: nothing for a token, MASKED for padding."""
        tokens = self.add("Cast", "attention_mask", to=TensorProto.FLOAT)
        padding = self.add("Sub", self.number(1.0), tokens)
        return self.add("Unsqueeze", self.add("Mul", padding, self.number(MASKED)), self.integers(1, 2))

    def attention(self, value: str, mask: str, name: str) -> str:
        def heads(part: str, order: list[int]) -> str:
            split = self.add("Reshape", self.dense(value, f"{name}.self.{part}"), self.integers(0, 0, HEADS, -1))
            return self.add("Transpose", split, perm=order)

        scores = self.add("MatMul", heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1]))
        scaled = self.add("Mul", scores, self.number(1 / math.sqrt(WIDTH / HEADS)))
        shares = self.add("Softmax", self.add("Add", scaled, mask), axis=-1)
        context = self.add("MatMul", shares, heads("value", [0, 2, 1, 3]))
        joined = self.add("Transpose", context, perm=[0, 2, 1, 3])
        flat = self.add("Reshape", joined, self.integers(0, 0, WIDTH))
        return self.dense(flat, f"{name}.output.dense")

    def encoded(self) -> str:
        value, mask = self.embedded(), self.mask()
        for layer in range(LAYERS):
            name = f"encoder.layer.{layer}"
            attended = self.add("Add", self.attention(value, mask, f"{name}.attention"), value)
            value = self.normalised(attended, f"{name}.attention.output.LayerNorm")
            inner = self.gelu(self.dense(value, f"{name}.intermediate.dense"))
            outer = self.add("Add", self.dense(inner, f"{name}.output.dense"), value)
            value = self.normalised(outer, f"{name}.output.LayerNorm")
        return value


def dynamic_quantised(graph: Graph) -> str:
    """Vectors without meaning, through a layer that was quantised dynamically."""
    rows, inner = 97, 16
    table = (np.arange(rows * inner) * 37 % 101 - 50).astype(np.float32) / np.float32(64)
    matrix = (np.arange(inner * WIDTH) * 53 % 255 - 127).astype(np.int8)
    token = graph.add("Mod", graph.add("Add", "input_ids", "token_type_ids"), graph.integers(rows))
    value = graph.add("Gather", graph.constant("table", table.reshape(rows, inner)), token)
    quantised, scale, zero = graph.many("DynamicQuantizeLinear", (value,), 3)
    product = graph.add("MatMulInteger", quantised, graph.constant("matrix", matrix.reshape(inner, WIDTH)), zero)
    scaled = graph.add("Mul", graph.add("Cast", product, to=TensorProto.FLOAT), scale)
    mask = graph.add("Cast", graph.add("Unsqueeze", "attention_mask", graph.integers(-1)), to=TensorProto.FLOAT)
    return graph.add("Mul", scaled, mask)


def main() -> None:
    weights, tokenizer, out = map(Path, sys.argv[1:])
    bert = Bert(read_safetensors(weights))
    bert.save(bert.encoded(), out / "minilm", tokenizer)
    small = Graph()
    small.save(dynamic_quantised(small), out / "minilm-dynamic-quantised", tokenizer)


if __name__ == "__main__":
    main()
