"""Forms of the campaign: short with all tests, long with the slow ones, full with `--faults full`."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from campaign import LONG, Campaign
from commands import EVALUATE, REPORT, TRAIN, TUNE
from forks import Parent

RECORDS = Path(__file__).parents[2] / "build" / "faults"

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*"]  # it forks, and looks into /proc


@pytest.fixture(params=["short", LONG])
def campaign(request):
    """What counts a test's cases and failures; checks at the end that nothing failed."""
    option = request.config.getoption
    is_full = option("--faults") == "full" and request.param == "long"
    part = request.function.__name__.removeprefix("test_").replace("_", " ")
    record = RECORDS / f"{part.replace(' ', '-')}.json" if is_full else None
    campaign = Campaign(
        part, "full" if is_full else request.param, option("--seed"), option("--case"), record
    )
    yield campaign
    campaign.finish()


@pytest.fixture(scope="session")
def parent(tmp_path_factory):
    """The process that forks."""
    parent = Parent(tmp_path_factory.mktemp("parent"))
    yield parent
    parent.close()


@pytest.fixture(scope="session")
def kept(parent, tmp_path_factory):
    """A folder with `trained`, `run` (evaluated and with a report), `search` and `pictures`, all small; copy them.

    The parent has loaded what these take.
    """
    folder = tmp_path_factory.mktemp("kept")
    for words in ((*TRAIN, "--out", "trained"), (*TRAIN, "--out", "run"), EVALUATE, REPORT):
        parent.warm(*words, cwd=folder)
    search = parent.kilnet(*TUNE, "--out", "search", cwd=folder)
    assert search.code == 0, search.told
    (folder / "pictures").mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{number}.png")
    return folder
