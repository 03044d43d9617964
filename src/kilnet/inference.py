"""A network run on images in memory."""

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
        pixels: uint8 (num_images, channels, height, width), anywhere; at least one image.
        preprocessing: as in training.
        settings: device, precision and layout.

    Returns:
        float32 (num_images, num_classes) on the settings' device.
    """
    was_training = model.training
    model.eval()
    try:
        return torch.cat(list(_outputs(model, pixels, preprocessing, settings)))
    finally:
        model.train(was_training)


def measure_batch_norm(
    model: nn.Module, pixels: Tensor, preprocessing: Preprocessing, settings: Settings
) -> None:
    """Replace the running averages of all batch norm layers by the statistics of these images, dropout off.

    The running averages of training are those of augmented images with dropout on. Behind dropout with p = 0.5, as in
    ConfigNet, the variance they hold is up to twice what the layer meets in use (Li et al., 2018, "Understanding the
    Disharmony between Dropout and Batch Normalization by Variance Shift"); measuring anew mends that (Wu and Johnson,
    2021, "Rethinking 'Batch' in BatchNorm", section 3). Training itself never reads these numbers.

    Args:
        model: network on the settings' device; its training mode is restored afterwards.
        pixels: uint8 (num_images, channels, height, width), at least two images.
        preprocessing: as in training.
        settings: device, precision and layout.
    """
    norms = [
        m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats
    ]
    if not norms:
        return
    was_training, momenta = model.training, [norm.momentum for norm in norms]
    model.eval()
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # averages all batches alike
            norm.train()
        for _ in _outputs(model, pixels, preprocessing, settings):
            pass
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(was_training)


@torch.inference_mode()
def _outputs(
    model: nn.Module, pixels: Tensor, preprocessing: Preprocessing, settings: Settings
) -> Iterator[Tensor]:
    # Parts of almost equal size: a single image would leave batch norm without a variance.
    for batch in pixels.tensor_split(max(1, -(-len(pixels) // _BATCH_SIZE))):
        images = preprocessing(batch.to(settings.device)).contiguous(memory_format=settings.memory_format)
        with settings.autocast():
            yield model(images).float()
