"""The board in headless Chromium: 200 runs and a search that runs, by keyboard alone, on a phone."""

import json
import subprocess
import sys

import pytest

from listed_runs import make_run
from pages import LOW_CONTRASTS, visit

sync_api = pytest.importorskip("playwright.sync_api", reason="no browser tests: playwright is not installed")
expect = sync_api.expect
pytestmark = pytest.mark.slow
TUNE = "tune digits --space optimizer.lr=1e-4..1e-1 --trials 12 --epochs 6 --workers 1 --out"


@pytest.fixture
def folder(tmp_path):
    for number in range(200):
        make_run(tmp_path / "runs" / f"{number:03}", 100 + number % 90)
    return tmp_path


@pytest.fixture
def url(folder):
    pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
    process = subprocess.Popen(
        [sys.executable, "-m", "kilnet", "board", folder, "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    yield json.loads(process.stdout.readline())["url"]
    process.terminate()
    process.communicate(timeout=10)


@pytest.fixture
def tune(folder):
    process = subprocess.Popen(
        [sys.executable, "-m", "kilnet", *TUNE.split(), folder / "searches" / "s"], stderr=subprocess.DEVNULL
    )
    yield process
    process.terminate()
    process.wait(timeout=60)


def test_a_running_search_and_two_hundred_runs_are_followed(browser, url, tune):
    visited = visit(browser, url)
    page = visited.page
    expect(page.locator("#counted")).to_contain_text("1 running", timeout=180_000)
    assert page.locator("#leaderboard tbody tr").count() == 201
    link = page.locator("#leaderboard a[href^='/search']").first
    search = visit(browser, url.rstrip("/") + link.get_attribute("href"))
    search.page.wait_for_selector("#trials", timeout=60_000)
    subtitle = search.page.inner_text("#subtitle")
    expect(search.page.locator("#subtitle")).not_to_have_text(subtitle, timeout=60_000)
    for one in (visited, search):
        assert one.complaints == []
        assert [address for address in one.requests if not address.startswith((url, "data:"))] == []


def tab_to(page, selector):
    """Press Tab until the first element that fits has the focus."""
    for _ in range(200):
        if page.locator(selector).first.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not reach {selector}")


def test_keyboard_alone_ticks_sorts_and_deletes_at_a_second_word(browser, url, folder):
    visited = visit(browser, url)
    page = visited.page
    page.wait_for_selector("#leaderboard tbody tr")
    tab_to(page, "#where")
    page.keyboard.type("acc", delay=400)  # slowly, so that the page asks for what is no condition yet
    expect(page.locator("#problem")).to_contain_text("write a condition as")
    page.keyboard.type("uracy>90%, epochs=2")
    expect(page.locator("#problem")).to_be_empty()
    expect(page.locator("#leaderboard tbody tr")).to_have_count(18)
    tab_to(page, "#leaderboard tbody input")
    page.keyboard.press("Space")
    expect(page.locator("#curve-chart polyline")).to_have_count(1)
    name = page.locator("#leaderboard tbody th").first.get_attribute("data-name")
    tab_to(page, "#leaderboard tbody .del")
    page.keyboard.press("Enter")
    expect(page.locator("#deletion-do")).to_have_text(f"Delete {name}")
    page.keyboard.press("Enter")
    assert page.is_hidden("#deletion"), "the first answer keeps it"
    assert len(list((folder / "runs").iterdir())) == 200
    tab_to(page, "#leaderboard tbody .del")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#leaderboard tbody tr")).to_have_count(17)
    assert len(list((folder / "runs").iterdir())) == 199
    assert visited.complaints == []
    assert [address for address in visited.requests if not address.startswith((url, "data:"))] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone_with_contrast(browser, url, scheme):
    page = visit(browser, url, viewport={"width": 390, "height": 800}, color_scheme=scheme).page
    page.wait_for_selector("#leaderboard tbody tr")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(LOW_CONTRASTS) == []
