"""Tensors with a description, as one safetensors file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save

from kilnet.storage import write_bytes


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], description: dict[str, Any]) -> None:
    """Write tensors and a JSON-able description as one safetensors file; the same content gives the same bytes.

    Raises:
        StorageError: the file cannot be written; an older one is untouched.
    """
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    # One entry: safetensors does not promise an order of several.
    write_bytes(path, save(whole, {"kilnet": json.dumps(description, sort_keys=True)}))


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], Any]:
    """Read what `write_tensors` wrote; nothing in the file is executed.

    Raises:
        SafetensorError, OSError, KeyError, ValueError: the file is missing, damaged, or not Kilnet's; the caller
            knows what to tell the user.
    """
    with safe_open(path, framework="pt") as file:
        description = json.loads((file.metadata() or {})["kilnet"])
        return {name: file.get_tensor(name) for name in file.keys()}, description  # noqa: SIM118 not a dictionary
