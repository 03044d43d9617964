"""ONNX files: quantised ones, and what is refused."""

import numpy as np
import pytest

from kilnet.errors import InputError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnx_file = pytest.importorskip("kilnet.exporting.onnx_file")

RANDOM = np.random.default_rng(0)


def test_int8_computes_with_integers(exports):
    exact, small = (onnx.load(exports[name].path) for name in ("onnx", "int8"))
    assert not any(node.op_type == "QuantizeLinear" for node in exact.graph.node)
    weights = [
        t for t in small.graph.initializer if t.data_type == onnx.TensorProto.INT8 and len(t.dims) >= 2
    ]
    assert [len(t.dims) for t in weights] == [4] * 4  # the convolutions; linear layers stay as they are


def test_onnx_that_points_at_other_files_is_refused_wherever_the_tensor_hides(exports, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.bin").write_bytes(bytes(1 << 20))

    def point_away(tensor):
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="secret.bin")

    def in_initialiser(model):
        point_away(next(t for t in model.graph.initializer if t.HasField("raw_data")))

    def in_attribute(model):
        tensor = onnx.TensorProto(dims=[4], data_type=onnx.TensorProto.FLOAT, name="t")
        point_away(tensor)
        model.graph.node.append(onnx.helper.make_node("Constant", [], ["t"], value=tensor))

    def in_subgraph(model):
        tensor = onnx.TensorProto(dims=[4], data_type=onnx.TensorProto.FLOAT, name="t")
        point_away(tensor)
        inner = onnx.helper.make_graph([], "inner", [], [], [tensor])
        model.graph.node.append(onnx.helper.make_node("If", ["c"], [], then_branch=inner, else_branch=inner))

    def only_listed(model):
        next(iter(model.graph.initializer)).external_data.add(key="location", value="/etc/passwd")

    for change in (in_initialiser, in_attribute, in_subgraph, only_listed):
        model = onnx.load(exports["onnx"].path)
        change(model)
        with pytest.raises(InputError, match=r"evil.onnx: its weights are in other files"):
            onnx_file.OnnxFile(model.SerializeToString(), "evil.onnx")


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"x" * 1000, None])
def test_what_is_no_exported_classifier_is_refused(content, exports):
    if content is None:
        value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value]
        )
        graph.output[0].name = "y"
        opset = [onnx.helper.make_opsetid("", 20)]
        content = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()
    with pytest.raises(InputError, match=r"^file.onnx: "):
        onnx_file.OnnxFile(content, "file.onnx")


def test_bytes_of_another_format_are_not_read_in_place_of_what_was_checked(exports):
    """ "ORTM" at the fifth byte makes ONNX Runtime look for its own format; here it lies in a field nobody knows."""
    content = exports["onnx"].path.read_bytes()
    images = RANDOM.integers(0, 256, (3, 3, 24, 24), np.uint8)
    expected, read = (
        onnx_file.OnnxFile(start + content, "x").answers(images)[0] for start in (b"", b"\x7a\x06..ORTM")
    )
    np.testing.assert_array_equal(read, expected)
