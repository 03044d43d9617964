"""An exported file compared with Kilnet: both classify the same picture files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kilnet.data.decode import to_input
from kilnet.exporting.deployed import Answers, on_cpu
from kilnet.inference.classifier import Classifier
from kilnet.metrics.logits import softmax

_BATCH_SIZE = 256
# Standard deviations of strangeness that rounding may move an image. The limit is a validation image's own value, and
# where many look alike to a network they all lie there: on either side of it, they are as strange as each other.
_ROUNDING = 0.01


@dataclass(frozen=True)
class Tolerance:
    """How far the answers of an exported file may be from those of Kilnet.

    Attributes:
        agreement: at least this fraction of the images must get the same class, and as many must be unknown to both or
            to neither.
        difference: no probability may differ by more.
        accuracy_lost: accuracy may fall by at most this fraction of the images, or by one image where that is more.
    """

    agreement: float
    difference: float
    accuracy_lost: float


@dataclass(frozen=True)
class Verification:
    """What the comparison found.

    Attributes:
        num_images: how many validation images were compared, each read from the bytes of a file.
        num_agreeing: how many of them get the same class from both.
        largest_difference: the largest difference between the two probabilities of a class.
        num_correct_kilnet, num_correct_export: how many images each gets right.
        num_agreeing_unknown: how many are unknown to both or to neither, or as strange to both but for rounding; None
            where the run keeps no limit.
        tolerance: what was allowed.
    """

    num_images: int
    num_agreeing: int
    largest_difference: float
    num_correct_kilnet: int
    num_correct_export: int
    num_agreeing_unknown: int | None
    tolerance: Tolerance

    @property
    def agreement(self) -> float:
        """Fraction of the images that get the same class from both."""
        return self.num_agreeing / self.num_images

    @property
    def agreement_unknown(self) -> float | None:
        """Fraction of the images that are unknown to both or to neither; None where the run keeps no limit."""
        return None if self.num_agreeing_unknown is None else self.num_agreeing_unknown / self.num_images

    @property
    def accuracy_lost(self) -> float:
        """Accuracy of Kilnet minus that of the exported file."""
        return (self.num_correct_kilnet - self.num_correct_export) / self.num_images

    def breach(self) -> str | None:
        """Return in words the first tolerance that is exceeded, or None."""
        allowed = self.tolerance
        if not self.agreement >= allowed.agreement:
            return f"only {self.agreement:.2%} of the images get the same class, at least {allowed.agreement:.2%} must"
        if not self.largest_difference <= allowed.difference:  # NaN is a breach too
            return f"a probability differs by {self.largest_difference:.2g}, at most {allowed.difference:g} is allowed"
        num_lost = self.num_correct_kilnet - self.num_correct_export
        if num_lost > max(1, allowed.accuracy_lost * self.num_images):
            most = f"at most {allowed.accuracy_lost:.2%} is allowed"
            return f"accuracy falls by {self.accuracy_lost:.2%}, {most}"
        if self.num_agreeing_unknown is not None:
            num_differing = self.num_images - self.num_agreeing_unknown
            if num_differing > max(1, (1 - allowed.agreement) * self.num_images):
                most = f"at most {1 - allowed.agreement:.2%} is allowed"
                return f"{num_differing / self.num_images:.2%} of the images are unknown to one alone, {most}"
        return None


def verify(
    exported: Callable[[npt.NDArray[np.uint8]], Answers],
    classifier: Classifier,
    files: Sequence[Callable[[], bytes]],
    labels: npt.NDArray[np.int64],
    tolerance: Tolerance,
) -> Verification:
    """Classify picture files with an exported file and with Kilnet in fp32, and compare the answers.

    Args:
        exported: maps uint8 images of the classifier's `image_shape` to probabilities and strangeness.
        files: functions that return the bytes of each picture file; at least one.
        labels: int64 (num_files,), their classes.
        tolerance: how far the answers may be apart.
    """
    reference, fitting = on_cpu(classifier), classifier.preprocessing.fitting
    known = classifier.known
    num_agreeing = num_correct_kilnet = num_correct_export = num_agreeing_unknown = 0
    largest = 0.0
    for start in range(0, len(files), _BATCH_SIZE):
        part = slice(start, start + _BATCH_SIZE)
        images = np.stack([to_input(read(), classifier.image_shape, fitting=fitting) for read in files[part]])
        logits, evidence = reference.judged(images)
        (theirs, strange), ours = exported(images), softmax(reference.scale(logits))
        if known is not None:
            own = known.strangeness(evidence)
            agree = ((strange > known.limit) == (own > known.limit)) | (np.abs(strange - own) <= _ROUNDING)
            num_agreeing_unknown += int(agree.sum())
        predicted = ours.argmax(1)
        num_agreeing += int((theirs.argmax(1) == predicted).sum())
        num_correct_kilnet += int((predicted == labels[part]).sum())
        num_correct_export += int((theirs.argmax(1) == labels[part]).sum())
        largest = float(np.maximum(largest, np.abs(theirs - ours).max()))  # keeps NaN, unlike max()
    return Verification(
        num_images=len(files),
        num_agreeing=num_agreeing,
        largest_difference=largest,
        num_correct_kilnet=num_correct_kilnet,
        num_correct_export=num_correct_export,
        num_agreeing_unknown=None if known is None else num_agreeing_unknown,
        tolerance=tolerance,
    )
