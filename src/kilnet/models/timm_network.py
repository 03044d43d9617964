"""Networks of the library timm, with its weights or random ones."""

import difflib
import importlib
import re
from functools import partial
from typing import Any

from torch import Tensor, nn

from kilnet.config import TIMM
from kilnet.errors import MissingPackageError, ModelError
from kilnet.models.layers import Dropout


def find(name: str) -> tuple[str, "partial[TimmNetwork]"]:
    """Return the whole name of a network, which says which of timm's weights are meant, and what builds it.

    Args:
        name: with the prefix, and with or without the name of its weights.

    Raises:
        MissingPackageError, ModelError: as of `weights_of`.
    """
    described = weights_of(name)
    whole = f"{described.architecture}.{described.tag}" if described and described.tag else _known(name)
    return f"{TIMM}{whole}", partial(TimmNetwork, whole)


def timm() -> Any:
    """Import the library.

    Raises:
        MissingPackageError: it is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        reason = "" if error.name == "timm" else f" ({error})"
        raise MissingPackageError(
            f"networks of timm need that package{reason}: pip install 'kilnet[timm]'"
        ) from None
    except Exception as error:  # a torchvision that was built for another torch raises what it likes
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MissingPackageError(f"timm is installed, but cannot be imported: {reason}") from None


def weights_of(name: str) -> Any:
    """Return what timm says about its weights of a network: mean, std, input_size, licence, source; None without any.

    Raises:
        MissingPackageError: as of `timm`.
        ModelError: timm has no such network, or no weights of this name for it.
    """
    try:
        described = timm().get_pretrained_cfg(_known(name))
    except RuntimeError as error:  # no weights of this name
        raise ModelError(f"{name}: {error}") from None
    return described if described is not None and described.has_weights else None


def pretrained_tensors(name: str) -> dict[str, Tensor]:
    """Return timm's weights of a network by their names in `TimmNetwork`; timm fetches them, and keeps them.

    Raises:
        MissingPackageError, ModelError: as of `weights_of`; or there are none, or they cannot be fetched.
    """
    described = weights_of(name)
    if described is None:
        raise ModelError(f"{name}: timm has no weights for it; `model.weights='random'`, or give a file")
    try:
        network = timm().create_model(_known(name), pretrained=True, num_classes=0)
    except Exception as error:  # the network, a proxy, the hub and a full disk all have errors of their own
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"{name}: its weights cannot be fetched from {source_of(described)}: {lines[0]}; "
            "try again, give a file (`model.weights=FILE`), or begin from random ones (`model.weights='random'`)"
        ) from None
    return {f"backbone.{key}": tensor for key, tensor in network.state_dict().items()}


def source_of(described: Any) -> str:
    """Return where weights come from, for a person; for `described` see `weights_of`."""
    return f"{described.hf_hub_id} on the Hugging Face Hub" if described.hf_hub_id else str(described.url)


def _known(name: str) -> str:
    bare = name.removeprefix(TIMM)
    # A plain name: timm would also take addresses, from which it loads code's settings.
    if re.fullmatch(r"[\w.-]+", bare) and timm().is_model(bare.partition(".")[0]):
        return bare
    near = difflib.get_close_matches(bare, timm().list_models(), n=1, cutoff=0.5)
    advice = f"; did you mean {TIMM}{near[0]}?" if near else "; `timm.list_models()` names all"
    raise ModelError(f"timm has no network {bare!r}{advice}")


class TimmNetwork(nn.Module):
    """A network of timm up to its pooled features, and a linear layer of ours.

    Grey images are seen as three equal channels.

    Args:
        network: timm's name of it, such as "resnet18", or with the name of its weights, "resnet18.a1_in1k".
        weights: what a training begins with: "imagenet" for timm's, "random", or a file of weights, read by
            `kilnet.models.pretrained`; the network is built with random ones.
        dropout: probability in front of the linear layer.
        image_shape: (channels, height, width) of the images; most networks take any size.
        num_classes: number of logits.

    Raises:
        MissingPackageError: timm is not installed.
        ModelError: timm has no such network, or an option is out of range.
    """

    def __init__(
        self,
        network: str,
        weights: str = "imagenet",  # noqa: ARG002 read by `kilnet.models.pretrained`
        dropout: float = 0.0,
        *,
        image_shape: tuple[int, int, int] = (3, 224, 224),  # noqa: ARG002 any, or timm's network says which
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ModelError(f"model.dropout = {dropout}: must be at least 0 and below 1")
        bare = _known(network)
        try:
            self.backbone = timm().create_model(bare, pretrained=False, num_classes=0)
        except Exception as error:  # timm's networks check their arguments as each likes
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ModelError(f"{TIMM}{bare} cannot be built: {reason}") from None
        self.dropout = Dropout(dropout)
        width = getattr(self.backbone, "head_hidden_size", self.backbone.num_features)  # of what it returns
        self.fc = nn.Linear(width, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Map normalised images, float (num_images, channels, height, width), to (num_images, num_features)."""
        x = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
        return self.backbone(x)  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images, float (num_images, channels, height, width), to logits (num_images, num_classes)."""
        return self.fc(self.dropout(self.features(images)))  # type: ignore[no-any-return]
