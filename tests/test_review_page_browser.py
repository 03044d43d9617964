"""The page of `kilnet review` in headless Chromium: 20 labels put right by mouse and by keyboard, and trained with."""

import json
import os
import re
import subprocess
import sys
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import kilnet
from kilnet.data.corrections import read_corrections
from pages import LOW_CONTRASTS, TINY, visit

pytestmark = pytest.mark.slow
sync_api = pytest.importorskip("playwright.sync_api", reason="no browser tests: playwright is not installed")
pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
expect = sync_api.expect

CLASSES = ("blue <b>", "green", "red, dark")
NUM_ANSWERS = 20


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A run on pictures of three colours, one in eight in the folder of another one; their true classes."""
    folder = tmp_path_factory.mktemp("planted")
    random = np.random.default_rng(1)
    truth = {}
    for channel, name in enumerate(CLASSES):
        for number in range(120):
            pixels = random.integers(0, 150, (20, 24, 3), np.uint8)
            pixels[:, :, 2 - channel] += 90
            place = CLASSES[(channel + 1) % 3] if number < 15 else name
            path = folder / "pictures" / place / f"{channel}-{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
            truth[f"{place}/{path.name}"] = name
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KILNET_CACHE", str(folder / "cache"))
        settings = {**TINY, "training.epochs": 12, "optimizer.lr": 0.005}
        kilnet.train(folder / "pictures", settings=settings, out=folder / "run", progress=False)
    return SimpleNamespace(folder=folder, truth=truth, run=folder / "run")


@pytest.fixture
def reviewing(planted, browser, tmp_path):
    """Starts `kilnet review` with a table of its own, and opens its page; nothing may be asked of another server."""
    begun = []

    def begin(*more, **options):
        words = [sys.executable, "-m", "kilnet", "review", str(planted.run), "--port", "0", "--json", *more]
        process = subprocess.Popen(
            [*words, "--out", str(tmp_path / "c.csv")],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "KILNET_CACHE": str(planted.folder / "cache")},
        )
        url = json.loads(process.stdout.readline())["url"]
        visited = visit(browser, url, **options)
        begun.append((process, visited, url))
        expect(visited.page.locator("#count")).to_have_text(re.compile("answered"))
        return visited.page, process

    yield begin
    for process, visited, _ in begun:
        visited.page.context.close()
        process.terminate()
        process.communicate(timeout=20)
    for _, visited, url in begun:
        assert [text for text in visited.complaints if "status of 409" not in text] == []
        assert [asked for asked in visited.requests if not asked.startswith((url, "data:"))] == []


def shown(page):
    return page.locator("#name").inner_text()


def count(page, number):
    expect(page.locator("#count")).to_have_text(re.compile(f"^{number} of "))


def finished(planted, tmp_path, monkeypatch):
    """Train with the answers; they must be the truth."""
    table = tmp_path / "c.csv"
    rows = read_corrections(table).rows
    assert len(rows) == NUM_ANSWERS
    for name, row in rows.items():
        assert (row.correction or row.label) == planted.truth[name]
    monkeypatch.setenv("KILNET_CACHE", str(planted.folder / "cache"))
    run = kilnet.train(
        planted.folder / "pictures",
        recipe=planted.run / "config.toml",
        settings={"data.corrections": str(table)},
        out=tmp_path / "again",
        progress=False,
    )
    changed = run.environment["data"]["corrections"]["changed"]
    assert sum(changed.values()) == sum(row.correction is not None for row in rows.values()) >= 10
    test = run.own_data().test
    answers = [prediction.label for prediction in kilnet.load(run).predictions(test.names, test.images)]
    assert (
        np.mean([planted.truth[name] == label for name, label in zip(test.names, answers, strict=True)]) > 0.9
    )


def test_twenty_labels_by_mouse_with_a_restart_in_between(planted, reviewing, tmp_path, monkeypatch):
    page, process = reviewing()
    for number in range(12):
        name = shown(page)
        page.get_by_role("group", name="another class").get_by_text(planted.truth[name], exact=True).click()
        count(page, number + 1)
    page.reload()
    count(page, 12)
    page.context.close()  # it may still ask for pictures
    process.kill()
    page, _ = reviewing()
    count(page, 12)
    page.locator("#undo").click()
    count(page, 11)
    for number in range(11, NUM_ANSWERS):
        right = planted.truth[shown(page)]
        page.locator("#quick button").nth(CLASSES.index(right)).click()
        count(page, number + 1)
    assert "--corrections" in page.locator("#next").inner_text()
    finished(planted, tmp_path, monkeypatch)


def test_twenty_labels_by_keyboard_alone(planted, reviewing, tmp_path, monkeypatch):
    page, _ = reviewing()
    page.keyboard.press("x")
    count(page, 1)
    page.keyboard.press("z")
    count(page, 0)
    first = shown(page)
    page.keyboard.press("ArrowRight")
    expect(page.locator("#name")).not_to_have_text(first)
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#name")).to_have_text(first)
    for number in range(NUM_ANSWERS):
        name = shown(page)
        right = planted.truth[name]
        suggested = page.locator("#verdicts button").nth(1).inner_text()
        if name.startswith(right):
            page.keyboard.press("r")
        elif right in suggested:
            page.keyboard.press("s")
        else:
            page.keyboard.press(str(1 + CLASSES.index(right)))
        count(page, number + 1)
    finished(planted, tmp_path, monkeypatch)


def test_test_pictures_are_shown_only_after_a_click_that_says_what_it_means(planted, reviewing):
    page, _ = reviewing()
    splits = set()
    for _ in islice(range(400), page.evaluate("Number(document.getElementById('bar').max)")):
        splits.add(page.locator("#split").inner_text())
        page.keyboard.press("ArrowRight")
    assert splits <= {"train", "validation"}
    page.get_by_role("button", name="Show suspicious test pictures").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("the next accuracy on it is too high")
    page.keyboard.press("Escape")
    assert not (planted.run / "evaluation.json").exists()
    page.get_by_role("button", name="Show suspicious test pictures").click()
    dialog.get_by_role("button", name="Show them").click()
    expect(page.locator("#test-line")).to_be_hidden(timeout=60_000)
    assert json.loads((planted.run / "evaluation.json").read_text())["test"]["num_reads"] == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone_with_contrast_and_names_for_screen_readers(reviewing, scheme):
    page, _ = reviewing(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    visible = "[...document.querySelectorAll('button')].filter(button => button.checkVisibility())"
    small = f"{visible}.filter(button => button.getBoundingClientRect().height < 44)"
    assert page.evaluate(f"{small}.length") == 0, "a finger needs room"
    assert page.evaluate(LOW_CONTRASTS) == []
    page.click("#show-test")
    assert page.evaluate(LOW_CONTRASTS) == []
    assert page.locator("img:not([alt]), button:empty").locator("visible=true").count() == 0


def test_a_broken_table_is_said_and_nothing_is_lost(reviewing, tmp_path):
    page, _ = reviewing()
    (tmp_path / "c.csv").write_text("broken\n")
    name = shown(page)
    page.keyboard.press("u")
    expect(page.locator("#problem")).to_contain_text("no table of corrections")
    assert shown(page) == name
    (tmp_path / "c.csv").unlink()
    page.keyboard.press("u")
    count(page, 1)
    expect(page.locator("#problem")).to_be_hidden()


def test_pictures_without_labels_become_a_table_to_train_on(reviewing, tmp_path):
    random = np.random.default_rng(2)
    (tmp_path / "new").mkdir()
    for number in range(12):
        pixels = random.integers(0, 170, (20, 24, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "new" / f"{number}.png")
    page, process = reviewing("--unlabelled", str(tmp_path / "new"), "--count", "5")
    expect(page.locator("#question")).to_have_text("What is this?")
    expect(page.locator("#test-line")).to_be_hidden()
    named = shown(page)
    page.keyboard.press("2")
    count(page, 1)
    page.keyboard.press("x")
    count(page, 2)
    page.context.close()
    process.kill()
    page, _ = reviewing("--unlabelled", str(tmp_path / "new"), "--count", "5")
    count(page, 2)
    expect(page.locator("#count")).to_have_text("2 of 5 answered")
    assert "--root" in page.locator("#next").inner_text()
    lines = (tmp_path / "c.csv").read_text("utf-8").splitlines()
    assert lines[-1].endswith(f"new/{named},green,train")
    assert len(lines) == 1 + 360 + 1
