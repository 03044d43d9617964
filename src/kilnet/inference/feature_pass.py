"""What a network sees in images before its last layer, computed as quickly as a CPU can."""

import time
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kilnet.data.preprocess import Preprocessing
from kilnet.hardware import Settings, single_threads
from kilnet.inference.forward import copy_sharing_weights
from kilnet.models.layers import PaddedConv
from kilnet.models.pretrained import Featured

VERSION = 1
"""Raise it when the same network gives other features, so that those in the cache are computed again."""

_PART_SIZE = 8  # of a thread that works alone: its activations stay near, and a clock is read often enough
_BATCH_SIZE = 64  # of a GPU
_NUM_COMPARED = 2
# Of the features' length. Two ways of rounding to bf16 are up to a tenth apart for one image, fp32 hardly at all.
_LARGEST_DIFFERENCE = {"fp32": 1e-3, "bf16": 0.25}
_ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
}


class FeaturePass:
    """Computes features of images, the same for any number of threads.

    On a CPU, threads have images of their own, as in `shared_logits`, and batch norm and the ReLU behind it become
    part of the convolution before them, which saves half of the time (docs/experiments.md, 2026-11-27, "Joined layers
    for features"). Where that gives other features than the layers by themselves, or fails, they stay apart.

    Args:
        model: with a method `features`, on the settings' device; left in evaluation mode.
        preprocessing, settings: of the run. All threads are used.
        examples: uint8 (num_images, channels, height, width), a few of the images.

    Attributes:
        num_together: images that are computed at once; other numbers may change the last bits.
    """

    def __init__(
        self, model: nn.Module, preprocessing: Preprocessing, settings: Settings, examples: Tensor
    ) -> None:
        self._preprocessing = preprocessing
        self._settings = settings
        self._num_threads = settings.with_all_threads().threads if settings.device == "cpu" else 1
        self._part_size = _PART_SIZE if settings.device == "cpu" else _BATCH_SIZE
        self.num_together = self._num_threads * self._part_size
        self._model = model.eval()
        if settings.device == "cpu":
            with single_threads(1) as pool:
                self._model = pool.submit(self._joined, examples[:_NUM_COMPARED]).result()
        self._unused: SimpleQueue[nn.Module] = SimpleQueue()  # a network for each thread
        for _ in range(self._num_threads):
            self._unused.put(copy_sharing_weights(self._model))

    def __call__(self, pixels: Tensor) -> Iterator[npt.NDArray[np.float16]]:
        """Yield features, (num_images, num_features), `num_together` after another.

        Half precision halves what is kept, and loses less than layers in bf16 already have.

        Args:
            pixels: uint8 (num_images, channels, height, width), anywhere.
        """
        if self._num_threads == 1:
            yield from map(self._part, torch.split(pixels, self._part_size))
            return
        for together in torch.split(pixels, self.num_together):
            with single_threads(self._num_threads) as pool:
                yield np.concatenate(list(pool.map(self._part, torch.split(together, self._part_size))))

    def _part(self, pixels: Tensor) -> npt.NDArray[np.float16]:
        model = self._unused.get()
        try:
            return self._features(model, pixels).half().cpu().numpy()
        finally:
            self._unused.put(model)

    def _features(self, model: nn.Module, pixels: Tensor) -> Tensor:
        images = self._settings.place_images(self._preprocessing(pixels.to(self._settings.device)))
        with torch.inference_mode(), self._settings.autocast():
            return cast("Featured", model).features(images)

    def _joined(self, examples: Tensor) -> nn.Module:
        """Return the network with its layers joined, or as it is."""
        network = copy_sharing_weights(self._model)
        dtype = torch.bfloat16 if self._settings.precision == "bf16" else torch.float32
        try:
            if not _join(network, dtype, self._settings.memory_format):
                return self._model
            expected = self._features(self._model, examples).float()
            difference = (self._features(network, examples).float() - expected).norm()
        except Exception:  # torch's internal functions may change, and lack kernels for some machines
            return self._model
        most = _LARGEST_DIFFERENCE[self._settings.precision] * expected.norm()
        return network if difference <= most else self._model


def feature_seconds(
    model: nn.Module, preprocessing: Preprocessing, settings: Settings, pixels: Tensor
) -> float:
    """Return how long an image takes in a `FeaturePass`, measured on these."""
    features = FeaturePass(model, preprocessing, settings, pixels)
    many = pixels[torch.arange(features.num_together) % len(pixels)]
    list(features(many))  # warm-up
    start = time.perf_counter()
    list(features(many))
    return (time.perf_counter() - start) / len(many)


def _join(network: nn.Module, dtype: torch.dtype, memory_format: torch.memory_format) -> bool:
    """Join convolutions in `nn.Sequential` with what follows them; return whether there was one."""
    is_changed = False
    for row in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for index in range(len(row) - 1):
            conv, norm = row[index], row[index + 1]
            if not isinstance(conv, nn.Conv2d) or type(conv) not in (nn.Conv2d, PaddedConv):
                continue  # what a subclass does is its own
            if type(norm) is not nn.BatchNorm2d or not norm.track_running_stats:
                continue
            if conv.padding_mode != "zeros":
                continue
            behind = type(row[index + 2]) if index + 2 < len(row) else None
            activation = _ACTIVATIONS.get(behind) if behind else None
            row[index] = _JoinedConv(conv, norm, activation or ("none", []), dtype, memory_format)
            for joined in range(index + 1, index + 3 if activation else index + 2):
                row[joined] = nn.Identity()
            is_changed = True
    return is_changed


class _JoinedConv(nn.Module):
    """A convolution with the batch norm and the activation behind it, in one pass over the memory.

    The function is the one that torch's own compiler calls for such layers; it stands in no document.
    """

    def __init__(
        self,
        conv: nn.Conv2d,
        norm: nn.BatchNorm2d,
        activation: tuple[str, list[float]],
        dtype: torch.dtype,
        memory_format: torch.memory_format,
    ) -> None:
        super().__init__()
        self.conv = fuse_conv_bn_eval(conv, norm)
        self.conv = self.conv.to(dtype).to(memory_format=memory_format)  # type: ignore[call-overload]
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Map (num_images, channels, height, width) as the layers do one after another."""
        conv: Any = self.conv
        x = x.to(conv.weight.dtype)
        x = conv.padded(x) if isinstance(conv, PaddedConv) else x
        name, numbers = self.activation
        shape = conv.padding, conv.stride, conv.dilation, conv.groups
        pointwise = torch.ops.mkldnn._convolution_pointwise
        return pointwise(x, conv.weight, conv.bias, *shape, name, numbers, "")  # type: ignore[no-any-return]
