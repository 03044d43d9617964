"""What a run begins with."""

import torch

import kilnet
from kilnet import models
from small_runs import kept, make_dataset, train


def test_a_network_that_wants_to_see_images_is_shown_them_once(tmp_path, monkeypatch):
    num_calls = 0

    def prepare(model, images):
        nonlocal num_calls
        num_calls += 1
        assert images.shape == (60, 1, 8, 8)
        assert abs(float(images.mean())) < 1e-3
        prepare_for_real(model, images)

    prepare_for_real = models.prepare
    monkeypatch.setattr(models, "prepare", prepare)
    fast = {"model.name": "FastNet", "model.widths": [4, 4], "model.depth": None, "model.width": None}
    run = train(tmp_path / "run", **fast)
    whitening = kilnet.load(run).model.whitening
    assert num_calls == 1
    outputs = whitening(prepared(make_dataset().train.images)) - whitening.bias[:, None, None]
    torch.testing.assert_close(outputs.square().mean((0, 2, 3)), torch.ones(8), rtol=0.01, atol=0)
    train(tmp_path / "run", **fast)
    assert num_calls == 1, "a run that goes on has its weights"
    assert kept(train(tmp_path / "again", **fast).folder) == kept(run.folder)
    settings = fast | {"training.initial_weights": "parent", "parent": str(run.folder)}
    child = train(tmp_path / "child", **settings)
    assert num_calls == 2
    assert torch.equal(kilnet.load(child).model.whitening.weight, whitening.weight)


def prepared(images):
    return torch.from_numpy((images - images.mean()) / images.std()).float()
