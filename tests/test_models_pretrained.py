"""Weights that others have trained: equal to the reference, and refused where they are not what they claim."""

import io
import os
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from kilnet.config import ModelConfig
from kilnet.errors import MissingPackageError, ModelError
from kilnet.models import build, complete, pretrained

reference = pytest.importorskip("efficientnet_lite_pytorch")


def of_size(size, **options):
    return complete(ModelConfig(name="EfficientNetLite", size=size, **options))


def network(config, num_classes=1000, side=224):
    torch.manual_seed(0)
    return build(config, (3, side, side), num_classes).eval()


@pytest.mark.parametrize(("size", "side"), [(0, 224), (1, 240), (2, 260)])
def test_features_equal_those_of_the_reference(size, side):
    config = of_size(size)
    model = network(config)
    pretrained.load_pretrained(model, config)
    weights = pretrained.published(config)
    assert weights.image_size == side
    from importlib.metadata import distribution

    path = distribution(weights.package).locate_file(weights.file)
    theirs = reference.EfficientNet.from_name(f"efficientnet-lite{size}").eval()
    state = torch.load(path, weights_only=True)
    theirs.load_state_dict(state)
    with torch.no_grad():
        model.fc.weight.copy_(state["_fc.weight"])
        model.fc.bias.copy_(state["_fc.bias"])
        images = torch.rand(2, 3, side, side) * 2 - 1
        torch.testing.assert_close(model(images), theirs(images), rtol=1e-4, atol=1e-4)


def test_the_last_layer_keeps_its_weights_and_its_number_of_classes():
    config = of_size(0)
    model = network(config, num_classes=3)
    before = model.fc.weight.clone()
    pretrained.load_pretrained(model, config)
    assert torch.equal(model.fc.weight, before)
    assert model.fc.out_features == 3


def test_weights_of_a_file_are_loaded(tmp_path):
    source = network(of_size(0, weights="random"), 5, 64)
    save_file(source.state_dict(), tmp_path / "own.safetensors")
    torch.save(source.state_dict(), tmp_path / "own.pth")
    for name in ("own.safetensors", "own.pth"):
        config = of_size(0, weights=str(tmp_path / name))
        model = network(config, 2, 64)
        pretrained.load_pretrained(model, config)
        assert torch.equal(model.stem.conv.weight, source.stem.conv.weight)


class Executes:
    def __reduce__(self):
        return (pathlib_touch, ("executed",))


def pathlib_touch(name):
    raise AssertionError(f"{name}: a file of weights was executed")


def written(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def saved(value):
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("cut.pth", lambda: saved({"stem.conv.weight": torch.ones(2)})[:80], "tensors alone"),
        ("empty.pth", lambda: b"", "tensors alone"),
        ("code.pth", lambda: pickle.dumps(Executes()), "tensors alone"),
        ("list.pth", lambda: saved([1, 2]), "dictionary"),
        ("words.safetensors", lambda: b"not a file of weights", "safetensors"),
        ("other.pth", lambda: saved({"stem.conv.weight": torch.ones(2)}), "of another network"),
    ],
)
def test_a_file_that_is_no_file_of_weights_is_refused_in_one_line(tmp_path, name, content, reason):
    path = written(tmp_path, name, content())
    config = of_size(0, weights=str(path))
    with pytest.raises(ModelError, match=reason) as error:
        pretrained.load_pretrained(network(config, 2, 64), config)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_damaged_and_missing_weights_are_refused(tmp_path):
    state = network(of_size(0, weights="random"), 2, 64).state_dict()
    state["stem.conv.weight"] = torch.full_like(state["stem.conv.weight"], np.nan)
    config = of_size(0, weights=str(written(tmp_path, "nan.pth", saved(state))))
    with pytest.raises(ModelError, match=r"stem\.conv\.weight holds values that are not finite"):
        pretrained.load_pretrained(network(config, 2, 64), config)
    os.mkfifo(tmp_path / "pipe.pth")
    for name, reason in (("pipe.pth", "a pipe or a device"), (".", "a folder")):
        config = of_size(0, weights=str(tmp_path / name))
        with pytest.raises(ModelError, match=f"{reason}, not a file"):
            pretrained.load_pretrained(network(config, 2, 64), config)
    config = of_size(0, weights=str(tmp_path / "absent.pth"))
    with pytest.raises(ModelError, match=r"absent\.pth.*No such file"):
        pretrained.load_pretrained(network(config, 2, 64), config)


def as_installed(folder, weights, content):
    """Lay out a package as pip does, and return the folder that has to be on the path."""
    name = weights.package.replace("-", "_")
    info = folder / f"{name}-9.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {weights.package}\nVersion: 9\n")
    path = folder / weights.file
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    (folder / name / "__init__.py").write_text("raise AssertionError('the package was imported')")
    return folder


def test_a_published_file_that_was_changed_is_refused_and_its_package_is_not_imported(tmp_path, monkeypatch):
    config = of_size(0)
    where = as_installed(tmp_path, pretrained.published(config), saved({}))
    monkeypatch.syspath_prepend(str(where))
    with pytest.raises(ModelError, match="SHA-256"):
        pretrained.load_pretrained(network(config, 2, 64), config)


def test_a_missing_package_is_named_with_what_to_install(monkeypatch):
    config = of_size(0)
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(MissingPackageError, match=r"pip install 'kilnet\[pretrained\]'"):
        pretrained.load_pretrained(network(config, 2, 64), config)


def test_random_weights_are_not_pretrained():
    assert pretrained.published(of_size(0, weights="random")) is None
    assert not pretrained.is_pretrained(of_size(0, weights="random"))
    assert not pretrained.is_pretrained(complete(ModelConfig(name="ResNet")))
    assert pretrained.is_pretrained(of_size(0))
    assert "Apache-2.0" in pretrained.published(of_size(1)).describe()
