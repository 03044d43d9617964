"""ONNX files: written from a network, quantised, and read safely even if a stranger made them."""

import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from kilnet.errors import InputError, MissingPackageError, ModelError
from kilnet.exporting.deployed import Answers, Deployed
from kilnet.hardware import images_at_once

try:
    import onnx
    import onnxruntime
    from google.protobuf.message import DecodeError, Message
except ImportError as error:
    raise MissingPackageError(f"{error.name} is not installed; run: pip install 'kilnet[export]'") from None

INPUT, OUTPUTS = "images", ["probabilities", "strangeness"]
_BATCH_SIZE = 64


class OnnxFile:
    """A classifier in an ONNX file, run by ONNX Runtime on the CPU.

    Args:
        content: bytes of the file. Nothing in it is executed. A file that points at other files is refused, because its
            author would choose what is read.
        where: its name in messages.
        threads: number of CPU threads; 0 means all cores.

    Attributes:
        notes: its metadata: classes, image size, how to scale, temperature.

    Raises:
        InputError: it is not an ONNX file, is not self-contained, or cannot be run.
    """

    def __init__(self, content: bytes, where: str, threads: int = 0) -> None:
        try:
            model = onnx.ModelProto.FromString(content)
        except DecodeError:
            raise InputError(f"{where}: not an ONNX file") from None
        tensors = [part for part in _messages(model) if isinstance(part, onnx.TensorProto)]
        elsewhere = onnx.TensorProto.EXTERNAL
        if any(tensor.external_data or tensor.data_location == elsewhere for tensor in tensors):
            raise InputError(f"{where}: its weights are in other files; only self-contained files are read")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # Otherwise ONNX Runtime also looks for its own format, and could read bytes that were not checked.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has its own exceptions, without a common base
            raise InputError(f"{where}: ONNX Runtime cannot run it: {str(error).splitlines()[0]}") from None
        if [node.name for node in self._session.get_inputs()] != [INPUT]:
            raise InputError(f"{where}: Kilnet did not export this classifier: its input is not {INPUT!r}")
        if [node.name for node in self._session.get_outputs()] != OUTPUTS:
            raise InputError(f"{where}: its outputs are not {' and '.join(OUTPUTS)}; export the run again")
        self.notes: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def answers(self, images: npt.NDArray[np.uint8]) -> Answers:
        """Return probabilities and strangeness, as `Deployed` does, for uint8 (num_images, channels, height, width)."""
        parts = np.array_split(
            images, max(1, -(-len(images) // images_at_once(_BATCH_SIZE, *images.shape[2:])))
        )
        found = [self._session.run(OUTPUTS, {INPUT: part}) for part in parts]
        probabilities, strangeness = map(np.concatenate, zip(*found, strict=True))
        return probabilities, strangeness


def write_onnx(network: Deployed, image_shape: tuple[int, int, int], notes: Mapping[str, str]) -> bytes:
    """Return a self-contained ONNX file with a batch of any size, made through `torch.export`.

    Raises:
        ModelError: the network does something that ONNX has no operator for, or accepts batches of one size only.
    """
    example = torch.zeros(2, *image_shape, dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision is missing
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                input_names=[INPUT],
                output_names=OUTPUTS,
                dynamic_shapes=({0: torch.export.Dim("num_images")},),
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # a user's own network may do anything
        raise ModelError(f"the network cannot be exported to ONNX: {str(error).splitlines()[0]}") from None
    model = program.model_proto  # type: ignore[union-attr]
    if not model.graph.input[0].type.tensor_type.shape.dim[0].dim_param:
        raise ModelError("the network cannot be exported to ONNX: it accepts batches of one size only")
    return _finished(model, notes)


def quantise(content: bytes, images: npt.NDArray[np.uint8], notes: Mapping[str, str]) -> bytes:
    """Return an ONNX file whose convolutions compute with 8-bit integers.

    Static quantisation: activations have the ranges that they reach on `images`, weights have one scale per channel.
    Weights take 7 bits, because processors without VNNI add pairs of 8-bit products in 16 bits, which would overflow.
    Linear layers stay in floating point: they are little of the work, and after ConfigNet's batch norm the range of
    their inputs is so wide that every seventh answer changed (docs/experiments.md, 2026-11-23).

    Args:
        content: bytes of a file that `write_onnx` made.
        images: uint8 (num_images, channels, height, width), from the training split.
    """
    from onnxruntime.quantization import QuantType, quantize_static
    from onnxruntime.quantization.calibrate import CalibrationDataReader
    from onnxruntime.quantization.shape_inference import quant_pre_process

    together = images_at_once(_BATCH_SIZE, *images.shape[2:])
    batches = ({INPUT: batch} for batch in np.array_split(images, max(1, len(images) // together)))

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            return next(batches, None)

    with tempfile.TemporaryDirectory() as folder:
        exported, prepared, quantised = (Path(folder) / f"{step}.onnx" for step in (1, 2, 3))
        exported.write_bytes(content)
        quant_pre_process(exported, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            quantised,
            Reader(),
            op_types_to_quantize=["Conv", "Relu", "Add", "MaxPool"],
            nodes_to_exclude=_normalisation(onnx.load(prepared)),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return _finished(onnx.load(quantised), notes)


def _finished(model: onnx.ModelProto, notes: Mapping[str, str]) -> bytes:
    """Add the notes, and remove the paths of the code that each operator came from."""
    for part in _messages(model):
        if not isinstance(part, onnx.ModelProto) and "metadata_props" in part.DESCRIPTOR.fields_by_name:
            part.ClearField("metadata_props")
        if "doc_string" in part.DESCRIPTOR.fields_by_name:
            part.ClearField("doc_string")
    model.ClearField("metadata_props")
    for key, value in notes.items():
        model.metadata_props.add(key=key, value=value)
    return bytes(model.SerializeToString(deterministic=True))


def _normalisation(model: onnx.ModelProto) -> list[str]:
    """Return the names of the operators between the input and the first layer with weights."""
    names, reached = [], {INPUT}
    for node in model.graph.node:
        if reached & set(node.input) and node.op_type in ("Cast", "Mul", "Add"):
            names.append(node.name)
            reached |= set(node.output)
    return names


def _messages(message: Message) -> Iterator[Message]:
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for part in [value] if isinstance(value, Message) else value:
                yield from _messages(part)
