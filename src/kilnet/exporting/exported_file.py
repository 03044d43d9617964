"""A run as one file that works without Kilnet; it is kept only if it answers as Kilnet does."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from kilnet import hardware
from kilnet.data.dataset import ImageDataset, Split
from kilnet.errors import ConfigError, DataError, VerificationError
from kilnet.exporting.deployed import Answers, Deployed, TorchFile, describe, write_torch
from kilnet.exporting.verification import Tolerance, Verification, verify
from kilnet.inference.classifier import Classifier
from kilnet.seeding import generator
from kilnet.storage import make_folder, read_bytes, reading, write_bytes, write_json

_EXACT = Tolerance(agreement=0.999, difference=1e-3, accuracy_lost=0.001)
TOLERANCES = {
    "onnx": _EXACT,
    "torch": _EXACT,
    # Rounding decides between two classes that are almost equally probable, so accuracy is what counts here.
    "int8": Tolerance(agreement=0.95, difference=1.0, accuracy_lost=0.005),
}
FORMATS = tuple(TOLERANCES)
MAX_VERIFICATION_IMAGES = 5000
NUM_RANGE_IMAGES = 512  # training images from which int8 takes its ranges
_PROOF = "proof"  # kept in file names and JSON for those who read them, and in draws for the same images


@dataclass(frozen=True)
class Export:
    """An exported file that was verified.

    Attributes:
        path: the file; `verification_path` and `card_path` are beside it.
        format: "onnx", "torch" or "int8".
        num_bytes, sha256: of the file.
        runtime: what ran it: package, version and machine.
        images: which images it was verified on, in words.
        verification: what the comparison with Kilnet found.
    """

    path: Path
    format: str
    num_bytes: int
    sha256: str
    runtime: str
    images: str
    verification: Verification

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        content, found = asdict(self), self.verification
        ratios = {"agreement": found.agreement, "accuracy_lost": found.accuracy_lost}
        verification = {**content.pop("verification"), **ratios}
        return {**content, "path": str(self.path), _PROOF: verification}


_Exported = Callable[[npt.NDArray[np.uint8]], Answers]


def file_name(export_format: str) -> str:
    """Return what an exported file is called unless the user says otherwise.

    Raises:
        ConfigError: there is no such format.
    """
    if export_format not in FORMATS:
        raise ConfigError(f"`format={export_format!r}`: there are {', '.join(FORMATS)}")
    return "model.pt2" if export_format == "torch" else "model.onnx"


def card_path(path: Path) -> Path:
    """Return where the model card of an exported file lies."""
    return path.with_name("README.md")


def verification_path(path: Path) -> Path:
    """Return where the numbers of an exported file's verification lie."""
    return path.with_name(f"{path.stem}.{_PROOF}.json")


def export(
    classifier: Classifier, dataset: ImageDataset, pictures: Path | None, export_format: str, path: Path
) -> Export:
    """Write a network as one file, once its bytes have answered as Kilnet does on the validation images.

    Args:
        classifier: the network.
        dataset: what the network was trained on; its test images are not read.
        pictures: the folder that the names of the images are relative to, or None where they come from no files;
            then they are encoded as PNG, so that both still begin with the bytes of a file.
        export_format: one of `FORMATS`.
        path: where the file goes; an older one is replaced.

    Raises:
        VerificationError: the file exceeds its `TOLERANCES`; nothing is written.
        ModelError: the network cannot be exported.
        MissingPackageError: the packages of the extra `export` are not there.
        StorageError: a file cannot be written.
    """
    content, answers, runtime = _make(classifier, dataset, export_format)
    sample = dataset.validation
    if len(sample) > MAX_VERIFICATION_IMAGES:
        sample = sample.take(generator(0, _PROOF).permutation(len(sample))[:MAX_VERIFICATION_IMAGES])
    come_from = "files" if pictures else "images, encoded as PNG"
    files = readers(sample, pictures)
    verification = verify(answers, classifier, files, sample.labels, TOLERANCES[export_format])
    if breach := verification.breach():
        raise VerificationError(f"{path}: not exported: {breach} ({len(sample):,} validation images)")
    made = Export(
        path=path,
        format=export_format,
        num_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        runtime=runtime,
        images=f"{verification.num_images:,} validation {come_from}",
        verification=verification,
    )
    make_folder(path.parent, parents=True)
    # The verification first: without it the file would look like somebody else's if the process died in between.
    write_json(verification_path(path), {**made.to_dict(), "path": path.name})
    write_bytes(path, content)
    return made


def readers(split: Split, pictures: Path | None) -> list[Callable[[], bytes]]:
    """Return a function for each image that reads the bytes of its file."""
    if pictures is not None:
        return [partial(_read, pictures / name) for name in split.names]
    return [partial(_png, image) for image in split.images]


def _read(path: Path) -> bytes:
    try:
        with reading(path, "export again", "cannot be read", DataError):
            return read_bytes(path)
    except FileNotFoundError:
        raise DataError(f"{path}: it has gone since the data was loaded") from None


def _make(classifier: Classifier, dataset: ImageDataset, export_format: str) -> tuple[bytes, _Exported, str]:
    network, notes = Deployed(classifier), describe(classifier)
    machine = hardware.machine()
    if export_format == "torch":
        content = write_torch(network, classifier.image_shape, notes)
        return content, TorchFile(content).answers, f"torch {version('torch')} on {machine}"
    from kilnet.exporting.onnx_file import OnnxFile, quantise, write_onnx  # the extra `export`

    content = write_onnx(network, classifier.image_shape, notes)
    if export_format == "int8":
        images = dataset.train.images
        chosen = generator(0, "quantisation").permutation(len(images))[:NUM_RANGE_IMAGES]
        content = quantise(content, images[chosen], notes)
    runtime = f"onnxruntime {version('onnxruntime')} on {machine}"
    return content, OnnxFile(content, "the export").answers, runtime


def _png(image: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    pixels = image.transpose(1, 2, 0)
    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0]).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
