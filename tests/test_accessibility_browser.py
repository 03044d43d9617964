"""What axe-core, which checks pages for people with disabilities, says of every page in headless Chromium."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import kilnet
from pages import TINY, visit

sync_api = pytest.importorskip("playwright.sync_api", reason="no browser tests: playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed")
pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
expect = sync_api.expect
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_figures")]

WIDTHS = (1400, 390)
SCHEMES = ("light", "dark")
NUM_CLASSES = (2, 10, 121, 1000)


def grave_faults(page):
    """Return the faults that axe-core calls serious or critical, each with the first elements that have it."""
    found = axe.Axe().run(page, options={"resultTypes": ["violations"], "preload": False}).response
    return [
        (fault["id"], fault["help"], len(fault["nodes"]), [node["html"][:160] for node in fault["nodes"][:3]])
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
    ]


def made_up(num_classes):
    random = np.random.default_rng(num_classes)

    def split(part, num_each):
        labels = np.repeat(np.arange(num_classes), num_each)
        images = random.integers(0, 256, (len(labels), 3, 16, 16), np.uint8)
        images[:, 0] = labels[:, None, None] * 255 // num_classes
        names = tuple(f"{part}/{number}.png" for number in range(len(labels)))
        return kilnet.Split(images, labels, names)

    classes = tuple(f"class {number}" for number in range(num_classes))
    each = max(2, 40 // num_classes)
    return kilnet.ImageDataset(
        "made up", classes, split("train", 2 * each), split("validation", each), split("test", each)
    )


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """A report for each number of classes, by that number."""
    folder = tmp_path_factory.mktemp("reports")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KILNET_CACHE", str(folder / "cache"))
        for number in NUM_CLASSES:
            data = made_up(number)
            run = kilnet.train(data, epochs=1, settings=TINY, out=folder / str(number), progress=False)
            kilnet.evaluate(run, data=data, progress=False)
            kilnet.report(run, data=data, progress=False)
    return {number: folder / str(number) / "report.html" for number in NUM_CLASSES}


@pytest.fixture
def served_at(tmp_path):
    """Starts a verb that serves a page; returns its address."""
    processes = []

    def start(*words):
        process = subprocess.Popen(
            [sys.executable, "-m", "kilnet", *map(str, words), "--port", "0", "--json"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "KILNET_CACHE": str(tmp_path / "cache")},
        )
        processes.append(process)
        return json.loads(process.stdout.readline())["url"]

    yield start
    for process in processes:
        process.terminate()
        process.communicate(timeout=20)


def visits(browser, url):
    """Open a page in each width and scheme; at the end each is checked."""
    for width in WIDTHS:
        for scheme in SCHEMES:
            page = visit(browser, url, viewport={"width": width, "height": 900}, color_scheme=scheme).page
            yield page
            assert grave_faults(page) == [], (url, width, scheme)
            page.context.close()


def test_a_fault_is_found(browser, tmp_path):
    path = tmp_path / "page.html"
    path.write_text("<!doctype html><html lang=en><title>t</title><main><h1>t</h1><button></button></main>")
    assert [fault[0] for fault in grave_faults(visit(browser, path.as_uri()).page)] == ["button-name"]


@pytest.mark.parametrize("num_classes", NUM_CLASSES)
def test_the_report_has_no_serious_fault(browser, reports, num_classes):
    for page in visits(browser, reports[num_classes].as_uri()):
        page.wait_for_selector("#cell:not([hidden])")


def test_the_board_and_a_search_have_no_serious_fault(browser, served_at, digit_runs, search, tmp_path):
    for name in ("a", "b"):
        shutil.copytree(digit_runs / name, tmp_path / "all" / name)
    shutil.copytree(search.folder, tmp_path / "all" / "search")
    url = served_at("board", tmp_path / "all")
    for page in visits(browser, url):
        expect(page.locator("#leaderboard tbody tr")).to_have_count(3)
        ticks = page.locator("#leaderboard tbody input")
        for place in range(3):
            ticks.nth(place).check()
        page.wait_for_selector("#curve-chart polyline")
        address = page.locator("#leaderboard th a[href^='/search']").get_attribute("href")
    for page in visits(browser, url):
        page.locator("#leaderboard tbody .del").first.click()
        page.wait_for_selector("#deletion[open]")
    for page in visits(browser, url):
        page.wait_for_selector("#leaderboard tbody tr")
        for path in ("a", "b"):
            page.locator(f"#leaderboard tbody tr:has(th[data-name$='{path}']) input").check()
        page.click("#compare")
        page.wait_for_selector("#ranking table", timeout=60_000)
    for page in visits(browser, url.rstrip("/") + address):
        page.wait_for_selector("#trials")


def test_the_served_page_has_no_serious_fault(browser, served_at, colour_run):
    run = served_at("serve", colour_run)
    for page in visits(browser, run):
        page.wait_for_selector("#example-list button")
        page.locator("#example-list button").first.click()
        expect(page.locator(".card .classes li").first).to_be_visible()
    for page in visits(browser, f"{run}docs"):
        page.wait_for_selector("#operations h2")


def test_a_review_has_no_serious_fault(browser, served_at, colour_run, tmp_path):
    url = served_at("review", colour_run, "--out", tmp_path / "c.csv")
    for page in visits(browser, url):
        page.wait_for_selector("#count:has-text('answered')")
        if page.is_visible("#item"):
            page.keyboard.press("c")
    for page in visits(browser, url):
        page.wait_for_selector("#count:has-text('answered')")
        page.click("#show-test")
        page.wait_for_selector("#test-dialog[open]")
