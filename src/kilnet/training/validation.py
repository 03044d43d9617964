"""What a record says of the validation images."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kilnet.config import Select


def validation_numbers(logits: Tensor, labels: Tensor, num_classes: int, select: Select) -> dict[str, Any]:
    """Return loss and accuracy by the names that `EpochRecord` and `EarlyRecord` have for them.

    Args:
        logits: float32 (num_images, num_classes), on any device.
        labels: int64 (num_images,), on the same.
        num_classes: some may have no image.
        select: what epochs are chosen by; macro recall is counted only where it is that.
    """
    right = logits.argmax(1) == labels
    num_correct = int(right.sum())
    numbers = {
        # In double precision, so that the sum does not depend on how it is split.
        "validation_loss": float(F.cross_entropy(logits.cpu().double(), labels.cpu())),
        "validation_accuracy": num_correct / len(labels),
        "num_validation_correct": num_correct,
        "num_validation": len(labels),
    }
    if select == "macro-recall":
        hits, images_of = (
            torch.bincount(chosen, minlength=num_classes).cpu().double() for chosen in (labels[right], labels)
        )
        numbers["validation_macro_recall"] = float((hits / images_of).nan_to_num().mean())
    return numbers
