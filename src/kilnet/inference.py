"""A network's logits for images in memory."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from kilnet.data.preprocess import Preprocessing
from kilnet.hardware import Settings

# Large enough to keep two cores or a GPU busy, small enough for the activations of a wide network on large images.
_BATCH_SIZE = 256


def logits(model: nn.Module, pixels: Tensor, preprocessing: Preprocessing, settings: Settings) -> Tensor:
    """Run a network in evaluation mode.

    Args:
        model: network on the settings' device; its training mode is restored afterwards.
        pixels: uint8 (num_images, channels, height, width), anywhere.
        preprocessing: as in training.
        settings: device, precision and layout.

    Returns:
        float32 (num_images, num_classes) on the settings' device.
    """
    was_training = model.training
    model.eval()
    try:
        return torch.cat(list(_batches(model, pixels, preprocessing, settings)))
    finally:
        model.train(was_training)


@torch.inference_mode()
def _batches(
    model: nn.Module, pixels: Tensor, preprocessing: Preprocessing, settings: Settings
) -> Iterator[Tensor]:
    for batch in pixels.split(_BATCH_SIZE):
        images = preprocessing(batch.to(settings.device)).contiguous(memory_format=settings.memory_format)
        with settings.autocast():
            yield model(images).float()
