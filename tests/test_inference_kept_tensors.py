"""Tensors of every type come back from a file as they were, with their description."""

import pytest
import torch

from kilnet.errors import RunFolderError
from kilnet.inference.kept_tensors import read_description, read_tensors, write_tensors

TYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int16, torch.uint8, torch.bool,
    torch.complex64, torch.float8_e4m3fn,
]  # fmt: skip


@pytest.mark.parametrize("dtype", TYPES)
def test_tensors_and_their_description_come_back(tmp_path, dtype):
    path = tmp_path / "kept.safetensors"
    tensors = {"matrix": torch.arange(6).view(2, 3).t().to(dtype), "number": torch.tensor(1).to(dtype)}
    write_tensors(path, tensors, {"epoch": 3})
    found, description = read_tensors(path)
    assert description == read_description(path, "") == {"epoch": 3}
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == dtype
        assert torch.equal(found[name].to(torch.complex128), tensor.to(torch.complex128))
    again = tmp_path / "again.safetensors"
    write_tensors(again, found, description)
    assert again.read_bytes() == path.read_bytes()


def test_a_damaged_file_is_named_with_what_to_do(tmp_path):
    path = tmp_path / "kept.safetensors"
    write_tensors(path, {"a": torch.ones(9)}, {})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunFolderError, match="do this") as caught:
        read_tensors(path, "do this")
    assert str(caught.value).startswith(f"{path}: ")
