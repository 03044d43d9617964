"""What `test_models_timm_network.py` runs where timm is installed; weights are random, so that nothing is fetched."""

import json
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from kilnet.config import ModelConfig
from kilnet.errors import ModelError
from kilnet.models import build, complete, pretrained

NAME = "timm:test_resnet"  # timm's smallest, for tests
OPTIONS = ("--set", "data.image_size=64", "--set", "training.batch_size=8", "--device", "cpu", "--json")


def kilnet(*words, cwd=None):
    call = [sys.executable, "-m", "kilnet", *map(str, words)]
    done = subprocess.run(call, capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for label, name in enumerate(("dark", "light")):
        (folder / name).mkdir()
        for number in range(30):
            pixels = random.integers(100 * label, 100 * label + 120, (64, 64, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050", "efficientnet_b0", "convnext_atto"])
def test_logits_equal_those_of_timm(name):
    config = complete(ModelConfig(name=f"timm:{name}", weights="random"))
    model = build(config, (3, 64, 64), 1000).eval()
    theirs = timm.create_model(name).eval()
    theirs.load_state_dict(model.backbone.state_dict(), strict=False)
    with torch.no_grad():
        last = theirs.get_classifier()
        model.fc.weight.copy_(last.weight)
        model.fc.bias.copy_(last.bias)
        images = torch.rand(2, 3, 64, 64)
        torch.testing.assert_close(model(images), theirs(images))
        model(images[:, :1])  # grey


def test_what_is_recorded_says_which_weights_and_their_licence():
    config = complete(ModelConfig(name="timm:resnet18"))
    assert config.name == "timm:resnet18.a1_in1k"
    assert "apache-2.0" in pretrained.origin(config)
    weights = pretrained.published(config)
    assert (weights.mean, weights.std, weights.image_size) == (
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
        224,
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet81", "did you mean timm:resnet"),
        ("resnet18.nonsense", "nonsense"),
        ("hf-hub:somebody/evil", "no network"),
        ("../evil", "no network"),
    ],
)
def test_other_names_are_refused_in_one_line(name, message):
    with pytest.raises(ModelError, match=message) as caught:
        complete(ModelConfig(name=f"timm:{name}"))
    assert "\n" not in str(caught.value)


def test_a_network_for_one_size_says_so():
    config = complete(ModelConfig(name="timm:vit_tiny_patch16_224", weights="random"))
    with pytest.raises(ModelError, match="224"):
        build(config, (3, 64, 64), 2)


def test_weights_that_cannot_be_fetched_are_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    call = "import sys; from kilnet.cli import main; sys.argv[0] = 'kilnet'; main()"
    words = ["train", "digits", "--model", NAME, *OPTIONS, "--epochs", "1", "--out", tmp_path / "run"]
    done = subprocess.run([sys.executable, "-c", call, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "cannot be fetched" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "config.toml").exists()


def test_every_verb_takes_such_a_network(photos, tmp_path):
    weights = tmp_path / "weights.safetensors"
    save_file(build(complete(ModelConfig(name=NAME, weights="random")), (3, 64, 64), 5).state_dict(), weights)
    words = ["--model", NAME, "--set", f"model.weights={weights}", *OPTIONS, "--epochs", "2", "--seed", "1"]
    for out in ("run", "again"):
        kilnet("train", photos, *words, "--out", out, cwd=tmp_path)
    written = [(tmp_path / out / "weights.safetensors").read_bytes() for out in ("run", "again")]
    assert written[0] == written[1]
    assert 'name = "timm:test_resnet.' in (tmp_path / "run" / "config.toml").read_text()
    kilnet("train", photos, *words, "--frozen", "--out", "frozen", cwd=tmp_path)
    kilnet("evaluate", "run", "--json", cwd=tmp_path)
    kilnet("inspect", "run", "--json", cwd=tmp_path)
    kilnet("report", "run", "--json", cwd=tmp_path)
    assert "weights.safetensors" in (tmp_path / "run" / "report.html").read_text()
    exported = json.loads(kilnet("export", "run", "--json", cwd=tmp_path).stdout)
    assert exported
    answers = json.loads(kilnet("predict", "run", photos / "dark" / "0.png", "--json", cwd=tmp_path).stdout)
    assert answers
    space = ("--space", "optimizer.lr=0.0003,0.003", "--workers", "1", "--out", "search")
    kilnet("tune", photos, *words, *space, cwd=tmp_path)
