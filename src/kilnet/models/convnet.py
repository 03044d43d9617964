"""The tutorial's networks: ConfigNet, and ConvNet, which is ConfigNet with its default sizes."""

from torch import Tensor, nn
from torch.nn import functional as F

from kilnet.errors import ModelError
from kilnet.models.layers import Dropout


class ConfigNet(nn.Module):
    """Four unpadded convolutions, then two linear layers; ReLU after each layer but the last.

    conv c1 · conv c1 · dropout d1 · conv c2 · conv c2 with stride 2 · dropout 0.5 · flatten · batch norm · linear l1 ·
    linear num_classes. The ReLU that follows the batch norm is the tutorial's too.

    Of an even number of rows or columns (with filters of 3x3) the stride passes over the last, so that nothing of it
    reaches the logits. It is cut off in front of the first convolution instead of being carried to the last.

    Args:
        c1: channels of the first pair of convolutions.
        c2: channels of the second pair.
        l1: width of the hidden linear layer.
        d1: dropout probability after the first pair.
        kernel_size: side of all filters in pixels.
        image_shape: (channels, height, width) of the images.
        num_classes: number of logits.

    Raises:
        ModelError: an option is out of range, or the images are too small for four convolutions.
    """

    def __init__(
        self,
        c1: int = 48,
        c2: int = 96,
        l1: int = 256,
        d1: float = 0.1,
        kernel_size: int = 3,
        *,
        image_shape: tuple[int, int, int] = (3, 32, 32),
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        for name, value in {"c1": c1, "c2": c2, "l1": l1, "kernel_size": kernel_size}.items():
            if value < 1:
                raise ModelError(f"model.{name} = {value}: must be at least 1")
        if not 0 <= d1 < 1:
            raise ModelError(f"model.d1 = {d1}: must be at least 0 and below 1")
        channels, *sides = image_shape
        reduced = [side - 3 * (kernel_size - 1) for side in sides]  # what the last convolution sees
        if min(reduced) < kernel_size:
            smallest = 4 * kernel_size - 3
            raise ModelError(
                f"{type(self).__name__} with kernel_size {kernel_size} needs images of at least "
                f"{smallest}x{smallest} pixels, these are {sides[1]}x{sides[0]}; "
                f"use `data.image_size={smallest}` or more, a smaller model.kernel_size, or `model='ResNet'`"
            )
        height, width = ((side - kernel_size) // 2 + 1 for side in reduced)
        self._seen = [side - (left - kernel_size) % 2 for side, left in zip(sides, reduced, strict=True)]
        self.conv1 = nn.Conv2d(channels, c1, kernel_size)
        self.conv2 = nn.Conv2d(c1, c1, kernel_size)
        self.dropout1 = Dropout(d1)
        self.conv3 = nn.Conv2d(c1, c2, kernel_size)
        self.conv4 = nn.Conv2d(c2, c2, kernel_size, stride=2)
        self.dropout2 = Dropout(0.5)
        self.batch_norm = nn.BatchNorm1d(c2 * height * width)
        self.fc1 = nn.Linear(c2 * height * width, l1)
        self.fc2 = nn.Linear(l1, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images, float (num_images, channels, height, width), to logits (num_images, num_classes)."""
        height, width = self._seen
        x = F.relu(self.conv1(images[:, :, :height, :width]), inplace=True)
        x = self.dropout1(F.relu(self.conv2(x), inplace=True))
        x = F.relu(self.conv3(x), inplace=True)
        x = self.dropout2(F.relu(self.conv4(x), inplace=True))
        x = F.relu(self.batch_norm(x.flatten(1)), inplace=True)
        x = F.relu(self.fc1(x), inplace=True)
        return self.fc2(x)  # type: ignore[no-any-return]


class ConvNet(ConfigNet):
    """The tutorial's base network: ConfigNet with 48, 48, 96 and 96 channels, 256 hidden units and dropout 0.1."""

    def __init__(self, *, image_shape: tuple[int, int, int] = (3, 32, 32), num_classes: int = 10) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
