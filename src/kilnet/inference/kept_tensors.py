"""Tensors with a description, in files that execute nothing when they are read: weights, the state of a training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from safetensors.torch import load

from kilnet.data.tensor_files import read_head, sealed_tensors, unsealed_tensors
from kilnet.storage import read_bytes, reading, write_bytes

ADVICE = "train again into another folder; its config.toml says how"
_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.complex64: "C64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], description: dict[str, Any]) -> None:
    """Write tensors and a JSON-able description as one safetensors file; the same content gives the same bytes.

    Raises:
        StorageError: the file cannot be written; an older one is untouched.
    """
    write_bytes(
        path, sealed_tensors({name: _stored(tensor) for name, tensor in tensors.items()}, description)
    )


def _stored(tensor: torch.Tensor) -> tuple[str, npt.NDArray[Any]]:
    """Return safetensors' name of a tensor's type, and its memory as numpy sees it."""
    own = tensor.detach().cpu().contiguous()
    known = own.dtype in (torch.bool, torch.uint8) or own.dtype.is_complex or own.dtype.itemsize > 2
    as_numpy = own if known else own.view(torch.int16 if own.dtype.itemsize == 2 else torch.uint8)
    return _DTYPES[own.dtype], as_numpy.numpy()


def read_tensors(path: Path, advice: str = ADVICE) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote; nothing in the file is executed.

    Args:
        path: of the file.
        advice: what can be done if it is damaged.

    Raises:
        FileNotFoundError: it is not there.
        RunFolderError: it is damaged, or not Kilnet's.
    """
    with reading(path, advice):
        content = read_bytes(path)
        description = unsealed_tensors(content)
        return load(content), description


def read_description(path: Path, advice: str) -> dict[str, Any]:
    """Read the description alone; see `read_tensors`."""
    with reading(path, advice):
        return unsealed_tensors(read_head(path))
