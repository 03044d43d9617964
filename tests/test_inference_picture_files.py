"""Picture files by the thousand."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import kilnet
from kilnet.data.class_folders import Problem
from kilnet.inference import picture_files
from odd_pictures import zeros_png


def test_batches_give_what_single_files_give_in_order(predictor, pictures, monkeypatch):
    monkeypatch.setattr(picture_files, "_FILES_PER_BATCH", 3)
    results = list(
        kilnet.predict(predictor, [pictures / "a.jpg", pictures, pictures / "gone", pictures / "b.png"])
    )
    names = ["a.jpg", "a.jpg", "b.png", "c.webp", "d.gif", "e.txt", "z.jpg", "gone", "b.png"]
    walked = sorted(p.relative_to(pictures).as_posix() for p in pictures.rglob("*") if p.is_file())
    shown = [os.path.relpath(r.path if isinstance(r, Problem) else r.name, pictures) for r in results]
    assert sorted(shown) == sorted(["a.jpg", *walked, "gone", "b.png"])
    assert [name for name in shown if "/" not in name] == names
    for result in results:
        if not isinstance(result, Problem):
            single = predictor(result.name)
            np.testing.assert_allclose(result.probabilities, single.probabilities, rtol=1e-4, atol=1e-7)
    assert {Path(r.path).name for r in results if isinstance(r, Problem)} == {"e.txt", "z.jpg", "gone"}


def test_paths_are_read_as_they_are_needed(predictor, pictures):
    asked = 0

    def endless():
        nonlocal asked
        while True:
            asked += 1
            yield pictures / "a.jpg"

    results = kilnet.predict(predictor, endless())
    for _ in range(10):
        next(results)
    results.close()
    assert asked < 2000


@pytest.mark.skipif(sys.platform == "win32", reason="no process sends itself Ctrl-C here")
def test_files_that_a_thread_still_has_are_left_when_nobody_waits(predictor, tmp_path):
    for number in range(130):
        (tmp_path / f"{number}.png").write_bytes(zeros_png(4000, 4000, 8, 2))
    results = picture_files.predict_files(predictor, sorted(tmp_path.iterdir()))
    interrupt = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        next(results)
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < 3
