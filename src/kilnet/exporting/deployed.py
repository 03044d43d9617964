"""The network as it is exported, with preprocessing before it; its `torch.export` program as a file."""

import copy
import io
import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from kilnet.config import Fit
from kilnet.errors import ModelError
from kilnet.hardware import Settings, images_at_once
from kilnet.inference import views
from kilnet.inference.classifier import Classifier
from kilnet.inference.evidence import with_strength
from kilnet.inference.unknown import KnownPictures

_FITTING: dict[Fit, str] = {
    "pad": "the longer side scaled to image_size by Pillow's bicubic filter, lengths rounded, at least 1; centred on "
    "black (odd remainders: less above and left)",
    "crop": "the largest square in its middle (half pixels count half) scaled to image_size by Pillow's bicubic filter",
    "stretch": "both sides scaled to image_size by Pillow's bicubic filter",
}
_NOTES = "kilnet.json"
Answers = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
_BATCH_SIZE = 64


def resize_rule(fitting: Fit) -> str:
    """Return what must be done to a picture before the file sees it, in words; `kilnet.data` does it in code."""
    return f"upright by EXIF; transparency on white; 8-bit RGB or grey; {_FITTING[fitting]}"


class Deployed(nn.Module):
    """Maps stored pixels to calibrated probabilities, and to how little each image is like any class.

    Where a run looks at further views only if it is unsure, an exported file always computes them all: it has no
    branches.

    Args:
        classifier: the network; a copy of it runs on the CPU in fp32.
    """

    scale: Tensor
    shift: Tensor
    usual: Tensor
    spread: Tensor

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.model = with_strength(on_cpu(classifier).model, torch.zeros(2, *classifier.image_shape))
        parts = classifier.preprocessing
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (parts.mean, parts.std))
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", -mean / std)
        self.views = classifier.views
        self.scaling = classifier.scale
        num_classes = len(classifier.classes)
        known = classifier.known or KnownPictures((0.0,) * num_classes, (1.0,) * num_classes, 0.0, 0.0, 0.0)
        self.register_buffer("usual", torch.tensor(known.usual))
        self.register_buffer("spread", torch.tensor(known.spread))
        self.strength, self.weight = known.strength, known.weight
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map uint8 (num_images, channels, height, width) to probabilities and strangeness.

        Returns:
            float32 (num_images, num_classes), and float32 (num_images,): see `KnownPictures.strangeness`; where the run
            keeps nothing for that, entropy.
        """
        normalised = images.float() * self.scale + self.shift
        if views.has_more(self.views):
            logits, evidence = self._views(normalised)
        else:
            evidence = self.model(normalised)
            logits = evidence[:, :-1]
        return torch.softmax(self._scaled(logits), 1), self._strangeness(evidence)

    def _views(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and evidence of normalised images, as `Classifier.judged` does."""
        seen = self.model(torch.cat([images, views.further(images, self.views)]))
        seen = seen.view(-1, images.shape[0], seen.shape[1])
        first, every = seen[0, :, :-1], seen[:, :, :-1]
        unsure = views.is_unsure(first, self.views)[:, None]
        logits = torch.where(unsure, views.mean(every, self.views), first)
        return logits, views.mean(seen[:2] if self.views.mirror else seen, views.steady(self.views))

    def _scaled(self, logits: Tensor) -> Tensor:
        """Do in torch what `LogitScale` does."""
        if self.scaling.power != 1:
            centred = logits - logits.mean(1, keepdim=True)
            logits = centred.sign() * centred.abs().pow(self.scaling.power)
        return logits / self.scaling.temperature

    def _strangeness(self, evidence: Tensor) -> Tensor:
        """Do in torch what `KnownPictures.strangeness` does."""
        logs = torch.log_softmax(evidence[:, :-1], 1)
        given = logs.argmax(1)
        unclear = -(logs.exp() * logs).sum(1)
        own = (unclear - self.usual[given]) / self.spread[given]
        return own + self.weight * (self.strength - evidence[:, -1])


def on_cpu(classifier: Classifier) -> Classifier:
    """Return a copy that computes as exported files do, in fp32 on the CPU."""
    settings = Settings("cpu", "fp32", "contiguous", torch.get_num_threads())
    model = settings.place(copy.deepcopy(classifier.model)).eval()
    return replace(classifier, model=model, settings=settings)


def describe(classifier: Classifier) -> dict[str, str]:
    """Return what a user of the file must know, as its metadata."""
    channels, height, width = classifier.image_shape
    threshold = None if classifier.calibration is None else classifier.calibration.threshold
    return {
        "classes": json.dumps(classifier.classes),
        "channels": str(channels),
        "image_height": str(height),
        "image_width": str(width),
        "resize": resize_rule(classifier.preprocessing.fitting),
        "temperature": repr(classifier.scale.temperature),
        "power": repr(classifier.scale.power),
        "unsure_below": json.dumps(threshold),
        "unknown_above": json.dumps(classifier.unknown_above),
        "made_by": f"kilnet {version('kilnet')}",
    }


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

    def answers(self, images: npt.NDArray[np.uint8]) -> Answers:
        """Return probabilities and strangeness, as `Deployed` does, for uint8 (num_images, channels, height, width)."""
        parts = torch.split(torch.from_numpy(images), images_at_once(_BATCH_SIZE, *images.shape[2:]))
        with torch.inference_mode():
            probabilities, strangeness = zip(*(self._network(part) for part in parts), strict=True)
        return torch.cat(probabilities).numpy(), torch.cat(strangeness).numpy()


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
