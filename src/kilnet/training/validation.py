"""What a network's validation gives: its loss and how many images it gets right."""

from torch import Tensor, nn
from torch.nn import functional as F

from kilnet.data.preprocess import Preprocessing
from kilnet.hardware import Settings
from kilnet.inference import forward


def loss_and_correct(
    model: nn.Module, images: Tensor, labels: Tensor, preprocessing: Preprocessing, settings: Settings
) -> tuple[float, int]:
    """Return the mean cross-entropy in nats and the number of images classified correctly.

    Args:
        model: network on the settings' device; its training mode is restored afterwards.
        images: uint8 (num_images, channels, height, width).
        labels: int64 (num_images,), on the settings' device.
        preprocessing: as in training.
        settings: device, precision and layout.
    """
    logits = forward.logits(model, images, preprocessing, settings)
    num_correct = int((logits.argmax(1) == labels).sum())
    # In double precision, so that the sum does not depend on how it is split.
    return float(F.cross_entropy(logits.cpu().double(), labels.cpu())), num_correct
