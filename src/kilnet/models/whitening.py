"""A first layer that is computed from the images instead of learned."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_CHUNK_IMAGES = 64  # whose patches are in memory at once
# Least variance of a direction, so that noise is not blown up to the size of everything else; for images of unit
# variance. The value is that of Keller Jordan's airbench (2024, arXiv 2404.00498).
_LEAST_VARIANCE = 5e-4


class Whitening(nn.Conv2d):
    """A convolution onto the principal directions of image patches, each scaled to unit variance, and their negatives.

    Its filters are frozen and its bias learns. Until `fit` has seen images the filters are random.

    Neighbouring pixels are nearly equal, so that the first layer of a network learns slowly; filters that take the
    correlation away from the start save it that (Page, 2019, "How to Train Your ResNet"; with the negatives: Jordan,
    2024, arXiv 2404.00498, section 3.2).

    Args:
        channels: of the images.
        kernel_size: side of a patch in pixels.
    """

    bias: nn.Parameter

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__(channels, 2 * channels * kernel_size**2, kernel_size)
        self.weight.requires_grad_(False)

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Compute the filters.

        Args:
            images: float32 (num_images, channels, height, width), normalised as in training.
        """
        size = self.weight[0].numel()
        moments, num_patches = torch.zeros(size, size, dtype=torch.float64), 0
        for chunk in torch.split(images, _CHUNK_IMAGES):
            patches = F.unfold(chunk, self.kernel_size).transpose(0, 1).flatten(1).double().cpu()
            moments += patches @ patches.T
            num_patches += patches.shape[1]
        variances, directions = torch.linalg.eigh(moments / num_patches)
        filters = (directions / (variances + _LEAST_VARIANCE).sqrt()).T.flip(0)  # the largest variance first
        self.weight.copy_(torch.cat([filters, -filters]).view_as(self.weight))
