"""The loss of a training, rare classes in it and a teacher's part, and which images an epoch has."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from kilnet.config import TrainingConfig
from kilnet.data.dataset import ImageDataset
from kilnet.metrics.class_counts import LARGEST_BALANCED, Counts, image_weights, imbalance, log_shares


class TrainingLoss:
    """Cross-entropy, with what `training.balance` asks for.

    Args:
        config: `balance`, `label_smoothing`, `teacher_weight` and `temperature` are used.
        num_images: int64 (num_classes,), training images of each class; None is the same as equally many of each.
        device: where logits are.
    """

    def __init__(self, config: TrainingConfig, num_images: Counts | None = None, device: str = "cpu") -> None:
        self._smoothing = config.label_smoothing
        self._teacher_weight, self._temperature = config.teacher_weight, config.temperature
        self._weights: Tensor | None = None
        self._shift: Tensor | None = None
        if num_images is not None and config.balance == "weights":
            self._weights = torch.from_numpy(image_weights(num_images)).float().to(device)
        if num_images is not None and config.balance == "logits":
            self._shift = torch.from_numpy(log_shares(num_images)).float().to(device)

    def __call__(self, logits: Tensor, labels: Tensor, counts: Tensor | None = None) -> Tensor:
        """Return the mean loss, ().

        With "logits" the network has to win by as much as the classes' shares differ: Menon et al. 2021, "Long-tail
        learning via logit adjustment", equation 10 with tau = 1. Its own logits are those of equally common classes.

        Args:
            logits: float32 (num_images, num_classes).
            labels: int64 (num_images,); or float32 (num_images, num_classes), the share of each class in a mixed image;
                or twice as wide, with a teacher's answers behind (`_taught`).
            counts: (num_images,), how much each image counts, 1 on average; None, all the same.
        """
        shifted = logits if self._shift is None else logits + self._shift
        if self._weights is None and counts is None and labels.dim() == 1:
            return F.cross_entropy(shifted, labels, label_smoothing=self._smoothing)
        shares = labels if labels.dim() == 1 else labels[:, : logits.shape[1]]
        losses = F.cross_entropy(shifted, shares, label_smoothing=self._smoothing, reduction="none")
        if self._weights is not None:
            losses = losses * (self._weights[labels] if labels.dim() == 1 else shares @ self._weights)
        if labels.dim() == 2 and labels.shape[1] > logits.shape[1]:
            losses = self._taught(losses, logits, labels[:, logits.shape[1] :])
        return (losses if counts is None else losses * counts).mean()

    def _taught(self, losses: Tensor, logits: Tensor, answers: Tensor) -> Tensor:
        """Return the losses with a teacher's part: Hinton et al. (2015, arXiv 1503.02531), section 2.

        Args:
            losses: of each image by its label, (num_images,).
            logits: of the student.
            answers: of the teacher, softened probabilities, (num_images, num_classes).
        """
        own = F.log_softmax(logits / self._temperature, 1)
        distances = F.kl_div(own, answers, reduction="none").sum(1) * self._temperature**2
        return torch.lerp(losses, distances, self._teacher_weight)


def balanced_order(labels: npt.NDArray[np.int64], stream: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return the images of an epoch in which all classes are equally common, in random order.

    An image of a class is not drawn again before all others of it have been drawn as often.

    Args:
        labels: (num_images,).
        stream: random numbers of the epoch.

    Returns:
        int64 (num_images,), indices; the sizes of two classes differ by one at most.
    """
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    least, rest = divmod(len(labels), len(members))
    one_more = set(stream.permutation(len(members))[:rest].tolist())
    drawn = []
    for number, own in enumerate(members):
        wanted = least + (number in one_more)
        rounds = [stream.permutation(own) for _ in range(-(-wanted // len(own)))]
        drawn.append(np.concatenate([*rounds, own[:0]])[:wanted])
    return stream.permutation(np.concatenate(drawn))


def advice(dataset: ImageDataset, config: TrainingConfig) -> str | None:
    """Return one line where the commonest class has too many times the images of the rarest, and nothing is done."""
    num_images = np.bincount(dataset.train.labels, minlength=len(dataset.classes))
    if config.balance != "none" or imbalance(num_images) <= LARGEST_BALANCED:
        return None
    there = np.where(num_images > 0, num_images, num_images.max())
    rarest, commonest = int(there.argmin()), int(num_images.argmax())
    return (
        f"classes are of unequal size: {dataset.classes[commonest]} has {num_images[commonest]:,} images to train on, "
        f"{dataset.classes[rarest]} {num_images[rarest]:,}; accuracy hides the rare ones, and "
        "`optimise='macro-recall'` counts all classes alike"
    )
