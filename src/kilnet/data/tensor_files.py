"""Files of tensors: safetensors with a description and checksums, written without copies."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kilnet.storage import CHECKSUM, MAX_JSON_BYTES, Part, checksum, open_file, verify

_BLANK = "0" * 8


def sealed_tensors(tensors: Mapping[str, tuple[str, Any]], description: Mapping[str, Any]) -> list[Part]:
    """Return a safetensors file in parts, with two checksums in its description: of the head, and of the rest.

    The tensors are not copied, unlike by safetensors, so that writing costs no more with checksums than without.

    Args:
        tensors: safetensors' name of the type, and a contiguous numpy array, by name.
        description: JSON-able; the same content gives the same bytes.
    """
    table, parts, end, rest = {}, [], 0, 0
    for name in sorted(
        tensors, key=lambda name: (-tensors[name][1].itemsize, name)
    ):  # so that all are aligned
        dtype, array = tensors[name]
        part = array.reshape(-1).view("u1").data
        table[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": (end, end + part.nbytes)}
        end, rest = end + part.nbytes, zlib.crc32(part, rest)
        parts.append(part)
    ordered = json.loads(json.dumps(description, sort_keys=True))
    text = json.dumps({CHECKSUM: f"{_BLANK} {rest:08x}", **ordered})
    head = json.dumps({"__metadata__": {"kilnet": text}, **table}).encode()
    head += b" " * (-len(head) % 8)
    head = len(head).to_bytes(8, "little") + head
    return [head.replace(_BLANK.encode(), checksum(head).encode(), 1), *parts]


def unsealed_tensors(file: Part) -> dict[str, Any]:
    """Return the description in a safetensors file, or in its head alone, whose checksums are verified.

    Raises:
        KeyError, ValueError: it is damaged, or not Kilnet's.
    """
    head = bytes(file[: _head_size(file)])
    description = json.loads(json.loads(head[8:])["__metadata__"]["kilnet"])
    if not isinstance(description, dict):
        raise ValueError("its description is not a JSON object")
    if (sums := description.pop(CHECKSUM, None)) is not None:
        of_head, _, of_rest = str(sums).partition(" ")
        verify(of_head, head.replace(f"{sums}".encode(), f"{_BLANK} {of_rest}".encode(), 1))
        if len(file) > len(head):
            verify(of_rest, memoryview(file)[len(head) :])
    return description


def read_head(path: Path) -> bytes:
    """Return the head of a safetensors file, without its tensors; see `read_bytes`."""
    with open_file(path) as file:
        start = file.read(8)
        return start + file.read(min(int.from_bytes(start, "little"), MAX_JSON_BYTES))


def mapped_tensor(path: Path, name: str) -> npt.NDArray[np.uint8]:
    """Return a tensor of bytes in a safetensors file, mapped; what is written into it does not reach the file."""
    head = read_head(path)
    entry = json.loads(head[8:])[name]
    start = len(head) + entry["data_offsets"][0]
    return np.memmap(path, np.uint8, "c", start, tuple(entry["shape"]))


def _head_size(content: Part) -> int:
    size = 8 + int.from_bytes(content[:8], "little")
    if size > len(content):
        raise ValueError(f"{len(content):,} bytes, cut short")
    return size
