"""A search on eighty columns."""

import io
import re

import numpy as np
from rich.console import Console

from kilnet.config import RunConfig
from kilnet.metrics.classification import Evaluation
from kilnet.terminal.search_tables import search_tables
from kilnet.tuning.finalists import Estimate, Final
from kilnet.tuning.search_config import SearchConfig
from kilnet.tuning.space import read_space
from kilnet.tuning.summary import Summary, TrialRow

TUTORIAL_GRID = read_space(["tutorial"])


def render(summary, evaluation=None, width=80):
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False, legacy_windows=False).print(
        search_tables(summary, evaluation)
    )
    return stream.getvalue()


def summary_of(rows, finals, folder, space=TUTORIAL_GRID):
    config = SearchConfig(
        strategy="grid",
        halving=True,
        num_trials=8,
        cohort=8,
        num_finalists=3,
        num_seeds=3,
        space=space,
        run=RunConfig(),
    )
    winner = finals[0].number if finals else next((r.number for r in rows if r.accuracy is not None), None)
    run = folder / "finalists" / "0003-seed-1"
    return Summary(
        folder=folder,
        config=config,
        trials=tuple(rows),
        finals=tuple(finals),
        is_complete=True,
        winner=winner,
        winner_folder=run,
        num_image_passes=1_234_567_890,
        num_finalist_image_passes=98_765_432,
        seconds=86_400.0,
        _trials=(),
    )


def row_of(number, c1, c2, l1, status="stopped"):
    has_begun = status != "waiting"
    return TrialRow(
        number=number,
        values={"model.c1": c1, "model.c2": c2, "model.l1": l1},
        status=status,
        accuracy=0.61234 if has_begun else None,
        accuracy_interval=(0.59871, 0.62597) if has_begun else None,
        loss=1.23456 if has_begun else None,
        num_epochs=10 if has_begun else 0,
        seconds=360.0 if has_begun else 0.0,
        reason="the training loss became nan in epoch 3" if status == "failed" else None,
    )


def test_nothing_is_cut_on_eighty_columns(tmp_path):
    cells = [(c1, c2, l1) for c1 in (48, 96) for c2 in (96, 192) for l1 in (256, 512)]
    states = ["finished", "stopped", "stopped", "finished", "stopped", "stopped", "failed", "waiting"]
    rows = [row_of(n, *cell, status) for n, (cell, status) in enumerate(zip(cells, states, strict=True))]
    finals = [
        Final(3, Estimate(0.61234, 0.60111, 0.62357, 3), None),
        Final(0, Estimate(0.60234, 0.59111, 0.61357, 3), Estimate(0.01, -0.0123, 0.0323, 3)),
        Final(5, Estimate(0.50234, 0.49111, 0.51357, 3), Estimate(0.11, 0.0877, 0.1323, 3)),
    ]
    summary = summary_of(rows, finals, tmp_path)
    summary.__dict__["importance"] = {"model.c1": 0.5, "model.c2": 0.3, "model.l1": 0.2}
    confusion = np.diag([900] * 10) + 10
    labels = np.repeat(np.arange(10), confusion.sum(1))
    logits = np.eye(10)[np.concatenate([np.repeat(np.arange(10), row) for row in confusion])]
    evaluation = Evaluation.from_logits("test", tuple(map(str, range(10))), logits.astype(np.float32), labels)
    text = render(summary, evaluation)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for row in rows:
        (line,) = [line for line in text.splitlines() if re.match(rf"\W*{row.number}\s.*{row.status}", line)]
        cells = [*map(str, row.values.values()), str(row.num_epochs), row.status]
        cells += ["61.23%", "59.9%–62.6%", "1.2346"] if row.accuracy is not None else []
        assert all(cell in line for cell in cells), text
    for part in ("c1", "c2", "l1", "accuracy", "95%", "loss", "epochs", "status", "1,234,567,890 images"):
        assert part in text
    for part in ("c1 48, c2 192, l1 512", "61.23%", "60.1%–62.4%", "1.00", "-1.23 to 3.23", "8.77 to 13.23"):
        assert part in text, text
    assert "not clearly worse: trial 0" in text
    assert "trial 6: the training loss became nan in epoch 3" in text


def test_a_search_that_has_just_begun_can_be_shown(tmp_path):
    assert "not finished" not in render(summary_of([], [], tmp_path))
    text = render(summary_of([row_of(0, 48, 96, 256, "waiting")], [], tmp_path))
    assert "waiting" in text
