"""FastNet: the network that reaches a good accuracy in the least time."""

from collections.abc import Sequence

from torch import Tensor, fx, nn
from torch.nn import functional as F

from kilnet.errors import ModelError
from kilnet.models.layers import Whitening

_SMALLEST_SIDE = 8


class FastNet(nn.Module):
    """A whitening layer, then groups of two 3x3 convolutions that pool first, global max pooling, one linear layer.

    whitening · GELU · [convolution · max pool 2 · batch norm · GELU · convolution · batch norm · GELU] for each width ·
    global max pool · linear without bias · scale.

    The design is that of Keller Jordan's airbench94 (2024, arXiv 2404.00498, section 3): filters begin as the identity
    on the channels that there are (Dirac), batch norm learns a bias and no scale, and logits are scaled down so that
    the linear layer may learn fast. It takes images of any size from 8x8 on, also of several in one training: where a
    side is down to one pixel, pooling leaves it alone.

    Args:
        widths: channels of each group.
        kernel_size: side of the whitening patches in pixels.
        output_scale: factor on the logits.
        bias_until: part of the training, 0 to 1, in which the whitening's biases learn. Nothing else before the first
            group does, so that from then on no gradient needs to reach it; the default is that of airbench94_muon.
        image_shape: (channels, height, width) of the images.
        num_classes: number of logits.

    Raises:
        ModelError: an option is out of range, or the images are too small.
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 256, 256),
        kernel_size: int = 2,
        output_scale: float = 1 / 9,
        bias_until: float = 3 / 8,
        *,
        image_shape: tuple[int, int, int] = (3, 32, 32),
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        if not widths or min(widths) < 1:
            raise ModelError(f"model.widths = {list(widths)}: must be at least one width, each at least 1")
        if not 1 <= kernel_size <= 3:
            raise ModelError(f"model.kernel_size = {kernel_size}: must be 1, 2 or 3")
        if output_scale <= 0:
            raise ModelError(f"model.output_scale = {output_scale}: must be above 0")
        if not 0 <= bias_until <= 1:
            raise ModelError(f"model.bias_until = {bias_until}: must be from 0 to 1")
        channels, height, width = image_shape
        if min(height, width) < _SMALLEST_SIDE:
            raise ModelError(
                f"FastNet needs images of at least {_SMALLEST_SIDE}x{_SMALLEST_SIDE} pixels, these are "
                f"{width}x{height}; use `data.image_size={_SMALLEST_SIDE}` or more"
            )
        self.whitening = Whitening(channels, kernel_size)
        inputs = [self.whitening.out_channels, *widths]
        self.groups = nn.Sequential(*map(_Group, inputs, widths))
        self.head = nn.Linear(widths[-1], num_classes, bias=False)
        self.output_scale = output_scale
        self.bias_until = bias_until

    def prepare(self, images: Tensor) -> None:
        """Fit the whitening to training images; see `kilnet.models.prepare`."""
        self.whitening.fit(images)

    def advance(self, done: float) -> None:
        """Freeze the whitening's biases when their time is over; see `kilnet.models.advance`."""
        self.whitening.bias.requires_grad_(done < self.bias_until)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images, float (num_images, channels, height, width), to logits (num_images, num_classes)."""
        x = self.groups(F.gelu(self.whitening(images)))
        return self.head(_largest(x)) * self.output_scale  # type: ignore[no-any-return]


class _Group(nn.Module):
    """Two convolutions; pooling comes before the first batch norm, so that the most work is at half the side."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = _begun_as_identity(_BeforePooling(in_channels, out_channels, 3, bias=False))
        self.norm1 = _norm(out_channels)
        self.conv2 = _begun_as_identity(nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False))
        self.norm2 = _norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        x = F.gelu(self.norm1(_pooled(x)))
        return F.gelu(self.norm2(self.conv2(x)))


@fx.wrap
def _pooled(x: Tensor) -> Tensor:
    return F.max_pool2d(x, [min(2, side) for side in x.shape[2:]])


@fx.wrap
def _largest(x: Tensor) -> Tensor:
    # The same to the bit as `F.adaptive_max_pool2d`, which torch 2.11 cannot export and a GPU is slow at.
    return F.max_pool2d(x, x.shape[2:]).flatten(1)


class _BeforePooling(nn.Conv2d):
    """A convolution with a border of zeros that leaves out the last of an odd number of rows or columns.

    Pooling by 2 would drop it: of 15x15 outputs it keeps 14x14, of 7x7 36 in place of 49.

    Attributes:
        convolve: `F.conv2d`, or what `kilnet.models.weight_gradient` sets in its place.
    """

    convolve = staticmethod(F.conv2d)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 the name that torch has
        top_left, (bottom, right) = 1, (int(side % 2 == 0 or side == 1) for side in input.shape[2:])
        framed = F.pad(input, [top_left, right, top_left, bottom])
        return self.convolve(framed, self.weight)


def _begun_as_identity(convolution: nn.Conv2d) -> nn.Conv2d:
    nn.init.dirac_(convolution.weight.data[: convolution.in_channels])  # the further filters stay random
    return convolution


def _norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    norm.weight.requires_grad_(False)
    return norm
