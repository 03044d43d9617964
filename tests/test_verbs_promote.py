"""A trial that becomes a run."""

import pytest

import kilnet
from digit_searches import tune
from kilnet.errors import RunFolderError


def test_a_trial_is_promoted(search, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    best = search.summary.trials[0]
    run = kilnet.promote(search.folder, best.number)
    assert run.as_posix() == f"runs/one-{best.number:04}"
    evaluation = kilnet.evaluate(run, "val", progress=False)
    assert evaluation.accuracy == best.accuracy
    source = search.folder / "trials" / f"{best.number:04}"
    for name in ("weights.safetensors", "history.csv", "config.toml"):
        assert (run / name).read_bytes() == (source / name).read_bytes()
    for arguments, told in [
        ((search.folder, best.number), "is there already; choose another `out`"),
        ((search.folder, 99), "trial 99 was not begun"),
        ((search.folder, -1), "trial -1 was not begun"),
        ((tmp_path, 0), "no search here"),
    ]:
        with pytest.raises(RunFolderError, match=told):
            kilnet.promote(*arguments)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [run.name]


@pytest.mark.slow
def test_a_trial_whose_weights_are_gone_says_how_to_get_them_back(search, tmp_path):
    folder = tmp_path / "tight"
    tight = tune(folder, disk_gb=0.0, seeds=1)
    row = tight.summary.trials[-1]
    with pytest.raises(
        RunFolderError, match=r"trial \d+ has no weights: .*; `kilnet.train\(recipe='.*'\)` trains it again"
    ):
        kilnet.promote(folder, row.number, tmp_path / "out")
    assert not (tmp_path / "out").exists()
