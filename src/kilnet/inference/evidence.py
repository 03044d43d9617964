"""Logits with what unknown pictures give away beside them: how much reaches the last layer."""

from typing import cast

import torch
from torch import Tensor, nn

from kilnet.inference.forward import copy_sharing_weights


def with_strength(model: nn.Module, examples: Tensor) -> nn.Module:
    """Return a network that gives one number more after the logits: the strength of what its last layer gets.

    That is the mean absolute value of the features, which pictures of none of the classes have less of (Park et al.,
    2023, "Understanding the Feature Norm for Out-of-Distribution Detection"). It comes through the same pass as the
    logits, so all that is done with these, on threads or in an exported file, works with it too. What a network does
    with its logits behind the last layer, such as FastNet's factor, it does with this number.

    Args:
        model: in evaluation mode; it is not changed, and its weights are shared.
        examples: normalised images, float32 (num_images, channels, height, width), on the network's device.

    Returns:
        A network that maps images to (num_images, num_classes + 1); the last column is 0 where the network does not
        end in a linear layer, or does something with its logits that the further number changes.
    """
    own = copy_sharing_weights(model)
    linear = [name for name, layer in own.named_modules() if isinstance(layer, nn.Linear)]
    if linear:
        own.set_submodule(linear[-1], _LinearWithStrength(cast("nn.Linear", own.get_submodule(linear[-1]))))
        try:
            with torch.inference_mode():
                expected, found = model(examples), own(examples)
        except Exception:  # a network of the user's own may do anything with its logits
            return _WithoutStrength(model)
        if len(found.shape) == 2 and torch.equal(found[:, :-1], expected):
            return own
    return _WithoutStrength(model)


class _LinearWithStrength(nn.Module):
    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, features: Tensor) -> Tensor:
        strength = features.float().abs().mean(1, keepdim=True)
        return torch.cat([self.linear(features), strength], 1)


class _WithoutStrength(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits = self.model(images)
        return torch.cat([logits, torch.zeros_like(logits[:, :1])], 1)
