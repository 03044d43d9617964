"""EfficientNet-Lite: a network for photographs, of which weights trained on ImageNet can be had."""

import math
from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F

from kilnet.errors import ModelError
from kilnet.models.layers import Dropout, PaddedConv

_STAGES = (  # blocks, side of the filters, stride of the first block, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _HEAD = 32, 1280  # channels, the same for every size
_SCALES = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2))  # of widths and depths, by size


class EfficientNetLite(nn.Module):
    """EfficientNet without squeeze-and-excitation and with ReLU6, so that it runs fast everywhere.

    A 3x3 convolution with stride 2, seven stages of inverted bottlenecks (1x1 convolution that widens, one filter for
    each channel, 1x1 convolution that narrows, and a shortcut where the shape stays), a 1x1 convolution to 1,280
    channels, global average pooling, dropout, one linear layer.

    The design is that of Tan and Le (2019, arXiv 1905.11946, table 1) in the form that Liu published in 2020 as
    EfficientNet-Lite. Its stochastic depth is left out, which only training from random weights uses. Grey images are
    seen as three equal channels.

    Args:
        size: 0, 1 or 2: 4.7, 5.4 or 6.1 million weights with 1,000 classes, meant for images of 224, 240 or 260 pixels.
        weights: what a training begins with: "imagenet", "random", or a file of weights, read by
            `kilnet.models.pretrained`; the network is built with random ones.
        dropout: probability in front of the linear layer; the published networks had 0.2, the largest of these 0.3.
        image_shape: (channels, height, width) of the images, each side at least 32.
        num_classes: number of logits.

    Raises:
        ModelError: an option is out of range, or the images are too small.
    """

    def __init__(
        self,
        size: int = 0,
        weights: str = "imagenet",  # noqa: ARG002 read by `kilnet.models.pretrained`
        dropout: float = 0.2,
        *,
        image_shape: tuple[int, int, int] = (3, 224, 224),
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        if not 0 <= size < len(_SCALES):
            raise ModelError(f"model.size = {size}: must be 0, 1 or 2")
        if not 0 <= dropout < 1:
            raise ModelError(f"model.dropout = {dropout}: must be at least 0 and below 1")
        if min(image_shape[1:]) < 32:
            raise ModelError(
                f"{type(self).__name__} needs images of at least 32x32 pixels; set `data.image_size`"
            )
        width, depth = _SCALES[size]
        self.stem = _conv(3, _STEM, 3, stride=2)
        blocks, channels = [], _STEM
        for stage, (repeats, kernel_size, stride, expansion, out_channels) in enumerate(_STAGES):
            is_outer = stage in (0, len(_STAGES) - 1)  # these keep their depth
            for block in range(repeats if is_outer else math.ceil(depth * repeats)):
                wide = _rounded(width * out_channels)
                blocks.append(_Block(channels, wide, kernel_size, 1 if block else stride, expansion))
                channels = wide
        self.blocks = nn.Sequential(*blocks)
        self.head = _conv(channels, _HEAD, 1)
        self.dropout = Dropout(dropout)
        self.fc = nn.Linear(_HEAD, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def features(self, images: Tensor) -> Tensor:
        """Map normalised images, float (num_images, channels, height, width), to (num_images, 1280)."""
        x = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
        return self.head(self.blocks(self.stem(x))).mean((2, 3))  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images, float (num_images, channels, height, width), to logits (num_images, num_classes)."""
        return self.fc(self.dropout(self.features(images)))  # type: ignore[no-any-return]


class _Block(nn.Module):
    """An inverted bottleneck."""

    def __init__(
        self, channels: int, out_channels: int, kernel_size: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        inner = channels * expansion
        self.expand = _conv(channels, inner, 1) if expansion > 1 else nn.Identity()
        self.depthwise = _conv(inner, inner, kernel_size, stride, groups=inner)
        self.project = _conv(inner, out_channels, 1, is_linear=True)
        self.has_shortcut = stride == 1 and channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return y + x if self.has_shortcut else y  # type: ignore[no-any-return]


class _ConvNorm(nn.Sequential):
    """A convolution, batch norm and perhaps an activation.

    Where batch norm keeps its statistics while the rest learns, its factor goes into the filters, which have far fewer
    values than the images: the same function and the same gradients in less time (docs/experiments.md, 2026-11-27,
    "Tuning a pretrained network").
    """

    conv: nn.Conv2d
    norm: nn.BatchNorm2d

    def forward(self, x: Tensor) -> Tensor:
        """Map (num_images, channels, height, width) to what the layers make of it."""
        conv, norm = self.conv, self.norm
        if not self.training or norm.training or norm.running_mean is None or norm.running_var is None:
            return super().forward(x)  # type: ignore[no-any-return, no-untyped-call]
        factor = norm.weight * (norm.running_var + norm.eps).rsqrt()
        filters, shift = conv.weight * factor.view(-1, 1, 1, 1), norm.bias - norm.running_mean * factor
        x = conv.padded(x) if isinstance(conv, PaddedConv) else x
        x = conv._conv_forward(x, filters, shift)
        # Not in place, for which autograd would keep a copy.
        return F.relu6(x) if hasattr(self, "act") else x


def _conv(
    channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    groups: int = 1,
    is_linear: bool = False,
) -> "_ConvNorm":
    """Return a convolution with batch norm and, unless it is linear, ReLU6."""
    kind, padding = (PaddedConv, 0) if stride > 1 else (nn.Conv2d, kernel_size // 2)
    conv = kind(channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False)
    # The published networks were trained with these: eps 0.001, and averages that keep 0.99 of what they were.
    norm = nn.BatchNorm2d(out_channels, eps=1e-3, momentum=0.01)
    layers = {"conv": conv, "norm": norm} | ({} if is_linear else {"act": nn.ReLU6(inplace=True)})
    return _ConvNorm(OrderedDict(layers))


def _rounded(channels: float) -> int:
    """Return the multiple of 8 that is nearest, but not less than nine tenths, as the published networks have it."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest
