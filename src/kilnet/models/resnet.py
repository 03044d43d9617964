"""The residual network for small images, as the reference that everybody knows."""

from torch import Tensor, nn
from torch.nn import functional as F

from kilnet.errors import ModelError


class ResNet(nn.Module):
    """The CIFAR-10 ResNet of He et al., 2015, section 4.2, with 1x1 convolutions where a shortcut changes its shape.

    Three stages of (depth - 2) / 6 blocks at full, half and quarter resolution, then global average pooling.

    Args:
        depth: number of weighted layers on the main path: 8, 14, 20, 26, 32, ...
        width: channels of the first stage; the next ones have two and four times as many.
        image_shape: (channels, height, width) of the images.
        num_classes: number of logits.

    Raises:
        ModelError: depth is not 6 n + 2 with n at least 1, or width is below 1.
    """

    def __init__(
        self,
        depth: int = 20,
        width: int = 16,
        *,
        image_shape: tuple[int, int, int] = (3, 32, 32),
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ModelError(f"model.depth = {depth}: must be 6 n + 2: 8, 14, 20, 26, 32, ...")
        if width < 1:
            raise ModelError(f"model.width = {width}: must be at least 1")
        num_blocks = (depth - 2) // 6
        self.conv = nn.Conv2d(image_shape[0], width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        blocks: list[nn.Module] = []
        for stage in range(3):
            for block in range(num_blocks):
                stride = 2 if stage and not block else 1
                blocks.append(_Block(width << max(stage - (not block), 0), width << stage, stride))
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(width << 2, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # He et al., "Delving Deep into Rectifiers", 2015
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images, float (num_images, channels, height, width), to logits (num_images, num_classes)."""
        x = F.relu(self.norm(self.conv(images)), inplace=True)
        return self.fc(self.blocks(x).mean((2, 3)))  # type: ignore[no-any-return]


class _Block(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x), inplace=True)
