"""`torch.export` programs: networks that torch runs without Kilnet's code."""

import io
import json
import warnings
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from kilnet.errors import ModelError
from kilnet.exporting.deployed import Deployed

_NOTES = "kilnet.json"
_BATCH_SIZE = 64


class TorchFile:
    """A classifier in a `.pt2` file, run by torch on the CPU.

    torch unpickles parts of such a file, so reading one can run code: give this only files that were made here.
    `OnnxFile` is safe for files that others made.

    Args:
        content: bytes of a file that `write_torch` made.
    """

    def __init__(self, content: bytes) -> None:
        extra = {_NOTES: ""}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._network = torch.export.load(io.BytesIO(content), extra_files=extra).module()
        self.notes: dict[str, str] = json.loads(extra[_NOTES])

    def probabilities(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return float32 (num_images, num_classes) for uint8 (num_images, channels, height, width)."""
        parts = torch.split(torch.from_numpy(images), _BATCH_SIZE)
        with torch.inference_mode():
            return torch.cat([self._network(part) for part in parts]).numpy()


def write_torch(network: Deployed, image_shape: tuple[int, int, int], notes: Mapping[str, str]) -> bytes:
    """Return a `torch.export` program as a file, with a batch of any size and the notes inside.

    Raises:
        ModelError: the network does something that cannot be traced.
    """
    example = torch.zeros(2, *image_shape, dtype=torch.uint8)
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dynamic = ({0: torch.export.Dim("num_images")},)
            program = torch.export.export(network, (example,), dynamic_shapes=dynamic)
            for node in program.graph.nodes:  # it names paths on this machine
                node.meta.pop("stack_trace", None)
            torch.export.save(program, buffer, extra_files={_NOTES: json.dumps(notes)})
    except Exception as error:  # a user's own network may do anything
        raise ModelError(f"the network cannot be exported: {str(error).splitlines()[0]}") from None
    return buffer.getvalue()
