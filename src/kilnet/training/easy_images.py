"""Leaving out the images that a network is sure of already: a step on them costs as much and teaches least."""

import torch

from kilnet.config import TrainingConfig


class EasyImages:
    """Chooses the images of each epoch by the loss that they had when they were last trained on.

    An image that is left out keeps its loss while those of others fall, so that in time its turn comes again. That the
    easiest images can go was shown for long trainings (Jiang et al., 2019, arXiv 1910.00762; Qin et al., 2023, arXiv
    2303.04947); what it gives in short ones is in docs/experiments.md.

    Args:
        num_images: in the training split.
        device: on which their numbers and losses are kept.

    Attributes:
        losses: float32 (num_images,), cross-entropy in nats, labels not smoothed; infinite where there is none yet.
        chosen: int64 (num_chosen,), the numbers of the images of the present epoch, rising.
    """

    def __init__(self, num_images: int, device: torch.device) -> None:
        self.losses = torch.full((num_images,), torch.inf, device=device)
        self.chosen = torch.arange(num_images, device=device)

    def choose(self, num_chosen: int) -> None:
        """Choose the images of the next epoch: those with the highest losses."""
        hardest = self.losses.argsort(descending=True, stable=True)[:num_chosen]
        self.chosen = hardest.sort().values


def num_chosen(config: TrainingConfig, done: float, num_images: int) -> int:
    """Return how many of the training images an epoch has that begins when a part of the run is done, 0 to 1."""
    since, part = config.skip_easiest or (1.0, 0.0)
    return num_images - int(part * num_images) if done >= since else num_images
