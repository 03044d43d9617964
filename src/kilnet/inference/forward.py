"""A network run on images in memory."""

import copy
import threading
from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kilnet.data.preprocess import Preprocessing
from kilnet.hardware import Settings, images_at_once, single_threads

# Large enough to keep two cores or a GPU busy; see `images_at_once` for large images.
_BATCH_SIZE = 256
# Of a thread that works alone: enough for linear layers, whose weights are read again for each part.
_PART_SIZE = 128
_LEAST_FOR_STATISTICS = 32  # images that differ from each other, by which batch norm is measured
_PARTS_WORTH_FUSING = 8  # rewriting a network takes as long as 20 to 60 images


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
        return torch.cat(list(_outputs(model, pixels, preprocessing, settings, 1)))
    finally:
        model.train(was_training)


def shared_logits(
    model: nn.Module, pixels: Tensor, preprocessing: Preprocessing, settings: Settings
) -> Tensor:
    """Run a network as `logits` does, on a CPU by threads that have images of their own.

    Threads that share each layer wait for each other at its end, for long where other programs run too
    (docs/experiments.md, 2026-11-23); these wait once. Parts are cut the same for any number of threads, so that
    the number changes no answer. Of many images in fp32 they run what `fused` returns. Arguments and result are those
    of `logits`; there are as many threads as `torch.get_num_threads` says.
    """
    num_parts = max(1, -(-len(pixels) // images_at_once(_PART_SIZE, *pixels.shape[2:])))
    if num_parts > 2:
        num_parts += -num_parts % 4  # or a thread would have nothing to do at the end
    parts = pixels.tensor_split(num_parts)
    if num_parts >= _PARTS_WORTH_FUSING and settings.device == "cpu" and settings.precision == "fp32":
        images = settings.place_images(preprocessing(parts[0][:2]))
        model = fused(model, images)
    num_threads = min(torch.get_num_threads(), num_parts)
    if settings.device != "cpu" or num_threads == 1:
        return torch.cat([logits(model, part, preprocessing, settings) for part in parts])
    own = threading.local()

    def run(part: Tensor) -> Tensor:
        if not hasattr(own, "model"):
            own.model = copy_sharing_weights(model)
        return logits(own.model, part, preprocessing, settings)

    with single_threads(num_threads) as pool:
        return torch.cat(list(pool.map(run, parts)))


def copy_sharing_weights(model: nn.Module) -> nn.Module:
    """Return a network of the same weights for a thread of its own: what a layer notes in itself is not shared."""
    return copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})


def fused(model: nn.Module, images: Tensor) -> nn.Module:
    """Return a network with batch norm inside the convolutions before it, for use in fp32 on a CPU.

    A ResNet then takes 3 to 15% less time (docs/experiments.md, 2026-11-26, "Joined layers measured again").

    Args:
        model: network on the CPU, float32; it is not changed.
        images: a few, float32 (num_images, channels, height, width), normalised.

    Returns:
        A network in evaluation mode that gives the same answers up to rounding; `model` itself where its code cannot
        be followed, or where there is nothing to gain.
    """
    if not any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules()):
        return model
    own = copy_sharing_weights(model).eval()
    try:
        result = fx.symbolic_trace(own)
        if not _fold_batch_norm(result):
            return model
        with torch.inference_mode():
            expected, answers = own(images), result(images)
    except Exception:  # a network of the user's own may do anything while it is followed
        return model
    largest_error = 1e-4 * float(expected.abs().max())
    return result if torch.allclose(answers, expected, rtol=0, atol=largest_error) else model


def _fold_batch_norm(network: fx.GraphModule) -> bool:
    """Make each batch norm part of the convolution before it, where nothing else reads what that one writes.

    Returns:
        Whether there was one.
    """
    num_nodes = len(network.graph.nodes)
    layers, calls = dict(network.named_modules()), Counter(node.target for node in network.graph.nodes)
    for node in list(network.graph.nodes):
        before = node.args[0] if node.args else None
        if not (isinstance(before, fx.Node) and before.op == node.op == "call_module"):
            continue
        conv, norm = layers[str(before.target)], layers[str(node.target)]
        if type(conv) is not nn.Conv2d or type(norm) is not nn.BatchNorm2d or not norm.track_running_stats:
            continue
        if len(before.users) == calls[before.target] == 1:
            network.set_submodule(str(before.target), fuse_conv_bn_eval(conv, norm))
            node.replace_all_uses_with(before)
            network.graph.erase_node(node)
    network.recompile()
    return len(network.graph.nodes) < num_nodes


def measure_batch_norm(
    model: nn.Module, pixels: Tensor, preprocessing: Preprocessing, settings: Settings
) -> None:
    """Replace the running averages of all batch norm layers by the statistics of these images, dropout off.

    The running averages of training are those of augmented images with dropout on. Behind dropout with p = 0.5, as in
    ConfigNet, the variance they hold is up to twice what the layer meets in use (Li et al., 2018, "Understanding the
    Disharmony between Dropout and Batch Normalization by Variance Shift"); measuring again corrects that (Wu and
    Johnson, 2021, "Rethinking 'Batch' in BatchNorm", section 3). Training itself never reads these numbers.

    Args:
        model: network on the settings' device; its training mode is restored afterwards.
        pixels: uint8 (num_images, channels, height, width), at least two images.
        preprocessing: as in training.
        settings: device, precision and layout.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        return
    was_training, momenta = model.training, [norm.momentum for norm in norms]
    model.eval()
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # averages all batches alike
            norm.train()
        for _ in _outputs(model, pixels, preprocessing, settings, _LEAST_FOR_STATISTICS):
            pass
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(was_training)


def freeze_batch_norm(model: nn.Module) -> None:
    """Let batch norm of a network in training use, and keep, the statistics that it has."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


@torch.inference_mode()
def _outputs(
    model: nn.Module, pixels: Tensor, preprocessing: Preprocessing, settings: Settings, least: int
) -> Iterator[Tensor]:
    height, width = pixels.shape[2:]
    most = images_at_once(_BATCH_SIZE, height, width, least)
    # Parts of almost equal size: a single image would leave batch norm without a variance.
    for batch in pixels.tensor_split(max(1, -(-len(pixels) // most))):
        images = settings.place_images(preprocessing(batch.to(settings.device)))
        with settings.autocast():
            yield model(images).float()
