"""Files of tensors: what safetensors reads, and what a flipped bit does."""

import random
from contextlib import suppress

import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open

from kilnet.data.tensor_files import read_head, sealed_tensors, unsealed_tensors
from kilnet.storage import write_bytes

TENSORS = {
    "b": ("F32", np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)),
    "a": ("I64", np.array(7)),
    "flags": ("BOOL", np.array([True, False, True])),
    "none": ("U8", np.empty((0, 5), np.uint8)),
}
DESCRIPTION = {"classes": ["cat", "ü", "\udcff"], "loss": 0.1 + 0.2, "nested": {"z": None, "a": float("inf")}}


def content_of(tensors=TENSORS, description=DESCRIPTION):
    return b"".join(sealed_tensors(tensors, description))


def test_safetensors_reads_what_is_written(tmp_path):
    path = tmp_path / "x.safetensors"
    write_bytes(path, sealed_tensors(TENSORS, DESCRIPTION))
    assert path.read_bytes() == content_of()
    read = safetensors.numpy.load(content_of())
    assert read.keys() == TENSORS.keys()
    for name, (_, array) in TENSORS.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)
    with safe_open(path, "np") as file:
        assert list(file.metadata()) == ["kilnet"]
    assert unsealed_tensors(content_of()) == unsealed_tensors(read_head(path)) == DESCRIPTION
    assert list(unsealed_tensors(content_of())) == sorted(DESCRIPTION)


def test_each_flipped_bit_is_found_and_a_file_that_was_cut():
    content, chance = content_of(), random.Random(0)
    for _ in range(500):
        place, bit = chance.randrange(len(content)), chance.randrange(8)
        changed = bytearray(content)
        changed[place] ^= 1 << bit
        description = None
        with suppress(Exception):  # whichever: `kilnet.storage.reading` turns all into one line
            description = unsealed_tensors(bytes(changed))
        if description is None:
            continue
        # Only the name of the checksum itself: then the file looks like one of an earlier version.
        assert {key: description.get(key) for key in DESCRIPTION} == DESCRIPTION
        assert safetensors.numpy.load(bytes(changed))["b"].tobytes() == TENSORS["b"][1].tobytes()
    for length in (0, 4, 100, len(content) - 1):
        with pytest.raises(ValueError, match=r"cut short|checksum|JSON|Expecting"):
            unsealed_tensors(content[:length])


def test_a_file_of_an_earlier_version_has_no_checksum_and_is_read():
    content = safetensors.numpy.save({"w": np.ones(3, np.float32)}, {"kilnet": '{"epoch": 3}'})
    assert unsealed_tensors(content) == {"epoch": 3}
