"""A run as one file that is used without Kilnet; it is kept only if it answers as Kilnet does."""

import io
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from kilnet import hardware
from kilnet.data.dataset import ImageDataset, Split
from kilnet.errors import ConfigError, ProofError, StorageError
from kilnet.exporting.deployed import Deployed, describe, sha256
from kilnet.exporting.verification import Proof, Tolerance, prove
from kilnet.inference.classifier import Classifier
from kilnet.seeding import generator
from kilnet.storage import write_bytes, write_json

_EXACT = Tolerance(agreement=0.999, difference=1e-3, accuracy_lost=0.001)
TOLERANCES = {
    "onnx": _EXACT,
    "torch": _EXACT,
    # Where the network wavers between two classes, rounding decides, and no one is worse off: accuracy is what counts.
    "int8": Tolerance(agreement=0.95, difference=1.0, accuracy_lost=0.005),
}
FORMATS = tuple(TOLERANCES)
MAX_PROOF_IMAGES = 5000
NUM_RANGE_IMAGES = 512  # training images on which int8 measures its ranges


@dataclass(frozen=True)
class Export:
    """An exported file that was proved.

    Attributes:
        path: the file; `proof_path` and README.md lie beside it.
        format: "onnx", "torch" or "int8".
        num_bytes, sha256: of the file.
        runtime: what ran it: package and version, and on which machine.
        images: what it was proved on, in words.
        proof: what came of it.
    """

    path: Path
    format: str
    num_bytes: int
    sha256: str
    runtime: str
    images: str
    proof: Proof

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        ratios = {"agreement": self.proof.agreement, "accuracy_lost": self.proof.accuracy_lost}
        return {**asdict(self), "path": str(self.path), "proof": {**asdict(self.proof), **ratios}}


class _Exported(Protocol):
    def probabilities(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]: ...


def file_name(export_format: str) -> str:
    """Return what an exported file is called unless the user says otherwise.

    Raises:
        ConfigError: there is no such format.
    """
    if export_format not in FORMATS:
        raise ConfigError(f"--format {export_format}: there are {', '.join(FORMATS)}")
    return "model.pt2" if export_format == "torch" else "model.onnx"


def proof_path(path: Path) -> Path:
    """Return where the proof of an exported file lies."""
    return path.with_name(f"{path.stem}.proof.json")


def export(
    predictor: Classifier, dataset: ImageDataset, pictures: Path | None, export_format: str, path: Path
) -> Export:
    """Write a network as one file, after its bytes have answered as Kilnet does on the validation images.

    Args:
        dataset: what the network was trained on; its test images are not read.
        pictures: the folder that the names of the images are relative to, or None where they come from no files;
            then they are encoded as PNG, so that the proof begins with file bytes all the same.
        export_format: one of `FORMATS`.
        path: where to; what lies there is replaced.

    Raises:
        ProofError: the file breaches its `TOLERANCES`; nothing is written.
        ModelError: the network cannot be exported.
        MissingPackageError: the packages of the extra `export` are not there.
        StorageError: a file cannot be written.
    """
    content, exported, runtime = _make(predictor, dataset, export_format)
    sample = _sample(dataset.validation)
    come_from = "files" if pictures else "images, encoded as PNG"
    proof = prove(
        exported.probabilities, predictor, readers(sample, pictures), sample.labels, TOLERANCES[export_format]
    )
    breach = proof.breach()
    if breach:
        raise ProofError(f"{path}: not exported: {breach} ({proof.num_images:,} validation images)")
    made = Export(
        path,
        export_format,
        len(content),
        sha256(content),
        runtime,
        f"{proof.num_images:,} validation {come_from}",
        proof,
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from None
    # The proof first: a file without one would be taken for somebody else's if the process died in between.
    write_json(proof_path(path), {**made.to_dict(), "path": path.name})
    write_bytes(path, content)
    return made


def readers(split: Split, pictures: Path | None) -> list[Callable[[], bytes]]:
    """Return, for each image, what reads the bytes of its file."""
    if pictures is not None:
        return [(pictures / name).read_bytes for name in split.names]
    return [partial(_png, image) for image in split.images]


def _make(predictor: Classifier, dataset: ImageDataset, export_format: str) -> tuple[bytes, _Exported, str]:
    network, notes = Deployed(predictor), describe(predictor)
    machine = hardware.machine()
    if export_format == "torch":
        from kilnet.exporting.torch_file import TorchFile, write_torch

        content = write_torch(network, predictor.image_shape, notes)
        return content, TorchFile(content), f"torch {version('torch')} on {machine}"
    from kilnet.exporting.onnx_file import OnnxFile, quantise, write_onnx  # the extra `export`

    content = write_onnx(network, predictor.image_shape, notes)
    if export_format == "int8":
        images = dataset.train.images
        chosen = generator(0, "quantisation").permutation(len(images))[:NUM_RANGE_IMAGES]
        content = quantise(content, images[chosen], notes)
    return content, OnnxFile(content, "the export"), f"onnxruntime {version('onnxruntime')} on {machine}"


def _sample(split: Split) -> Split:
    if len(split) <= MAX_PROOF_IMAGES:
        return split
    return split.take(generator(0, "proof").permutation(len(split))[:MAX_PROOF_IMAGES])


def _png(image: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    pixels = image.transpose(1, 2, 0)
    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0]).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
