"""An exported file held against Kilnet: the same picture files through both."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kilnet.data.fit import to_input
from kilnet.exporting.deployed import on_cpu
from kilnet.inference.classifier import Classifier

_BATCH_SIZE = 256


@dataclass(frozen=True)
class Tolerance:
    """How far an exported file may be from Kilnet.

    Attributes:
        agreement: at least this fraction of the images gets the same class.
        difference: no probability differs by more.
        accuracy_lost: at most this fraction of the images may be lost, or one image where that is more.
    """

    agreement: float
    difference: float
    accuracy_lost: float


@dataclass(frozen=True)
class Proof:
    """What came of it.

    Attributes:
        num_images: real images, from file bytes on.
        num_agreeing: of them, how many get the same class from both.
        largest_difference: between two probabilities of one class of one image.
        num_correct_kilnet, num_correct_export: how many are right.
        tolerance: what was allowed.
    """

    num_images: int
    num_agreeing: int
    largest_difference: float
    num_correct_kilnet: int
    num_correct_export: int
    tolerance: Tolerance

    @property
    def agreement(self) -> float:
        """Fraction of the images that get the same class from both."""
        return self.num_agreeing / self.num_images

    @property
    def accuracy_lost(self) -> float:
        """Accuracy of Kilnet minus that of the exported file."""
        return (self.num_correct_kilnet - self.num_correct_export) / self.num_images

    def breach(self) -> str | None:
        """Return the first tolerance that is not kept, in words, or None."""
        allowed = self.tolerance
        if not self.agreement >= allowed.agreement:
            return f"only {self.agreement:.2%} of the images get the same class, {allowed.agreement:.2%} are asked for"
        if not self.largest_difference <= allowed.difference:  # NaN is a breach too
            return f"probabilities differ by up to {self.largest_difference:.2g}, allowed are {allowed.difference:g}"
        if self.num_correct_kilnet - self.num_correct_export > max(
            1, allowed.accuracy_lost * self.num_images
        ):
            return f"{self.accuracy_lost:.2%} of accuracy are lost, allowed are {allowed.accuracy_lost:.2%}"
        return None


def prove(
    exported: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]],
    predictor: Classifier,
    files: Sequence[Callable[[], bytes]],
    labels: npt.NDArray[np.int64],
    tolerance: Tolerance,
) -> Proof:
    """Run picture files through an exported file and through Kilnet in fp32, and compare.

    Args:
        exported: uint8 images of the predictor's `image_shape` -> probabilities.
        files: what reads the bytes of each picture file; at least one.
        labels: int64 (num_files,), the classes they are of.
    """
    reference = on_cpu(predictor)
    num_agreeing = num_correct_kilnet = num_correct_export = 0
    largest = 0.0
    for start in range(0, len(files), _BATCH_SIZE):
        part = slice(start, start + _BATCH_SIZE)
        images = np.stack([to_input(read(), predictor.image_shape) for read in files[part]])
        theirs, ours = exported(images), reference.probabilities(images)
        predicted = ours.argmax(1)
        num_agreeing += int((theirs.argmax(1) == predicted).sum())
        num_correct_kilnet += int((predicted == labels[part]).sum())
        num_correct_export += int((theirs.argmax(1) == labels[part]).sum())
        largest = float(np.maximum(largest, np.abs(theirs - ours).max()))  # keeps NaN, unlike max()
    return Proof(len(files), num_agreeing, largest, num_correct_kilnet, num_correct_export, tolerance)
