"""The page of a network with hundreds of classes in headless Chromium; skipped where there is no browser."""

import io

import numpy as np
import pytest
from PIL import Image

from kilnet.metrics.classification import Evaluation
from kilnet.page import evaluation_sections, run_sections
from kilnet.page.album import Predictions, make_album, num_images_that_fit, select
from kilnet.page.document import render
from kilnet.training.records import EpochRecord
from pages import LOW_CONTRASTS, visit

pytestmark = pytest.mark.slow

NUM_CLASSES = 121
SUPPORT = 20


@pytest.fixture(scope="module")
def evaluation():
    """Each class but the last is taken for the next one in some of its images; class 7 in most of them."""
    truth = np.repeat(np.arange(NUM_CLASSES), SUPPORT)
    predicted = truth.copy()
    predicted[::SUPPORT] = np.minimum(truth[::SUPPORT] + 1, NUM_CLASSES - 1)
    predicted[7 * SUPPORT : 7 * SUPPORT + 15] = 60
    logits = np.full((len(truth), NUM_CLASSES), -5.0)
    logits[np.arange(len(truth)), predicted] = 5
    classes = tuple(f"species {number:03}" for number in range(NUM_CLASSES))
    return Evaluation.from_logits("test", classes, logits, truth), Predictions(
        tuple(map(str, range(len(truth)))), truth, predicted, np.full(len(truth), 0.9)
    )


@pytest.fixture(scope="module")
def path(evaluation, tmp_path_factory):
    found, predictions = evaluation
    selection = select(predictions, num_images_that_fit(16))
    images = np.random.default_rng(0).integers(0, 256, (len(selection.indices), 3, 16, 16)).astype(np.uint8)
    history = [
        EpochRecord(
            epoch=epoch,
            lr=0.1,
            train_loss=2.0 / epoch,
            train_accuracy=epoch / 10,
            validation_loss=1.5 / epoch,
            validation_accuracy=epoch / 8,
            num_validation_correct=10 * epoch,
            num_validation=80,
            is_best=True,
        )
        for epoch in range(1, 5)
    ]
    sections = [
        run_sections.curves(history, label_smoothing=0.1),
        evaluation_sections.confusion(found, selection),
        evaluation_sections.per_class(found),
        evaluation_sections.calibration(found),
    ]
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(
        render("many", "classes", sections, make_album(found.classes, predictions, selection, images)),
        "utf-8",
    )
    return path


@pytest.fixture
def page(browser, path):
    visited = visit(browser, path.as_uri())
    visited.page.wait_for_selector("#cell:not([hidden])")
    yield visited.page
    assert visited.complaints == []
    assert [url for url in visited.requests if not url.startswith("data:")] == [path.as_uri()]
    visited.page.context.close()


def test_the_page_opens_with_the_worst_confusion(page):
    assert page.inner_text("#cell-title") == "truth species 007, predicted species 060"
    first = page.locator("#confusion table tbody tr").first.inner_text()
    assert first.split("\t")[:4] == ["species 007", "species 060", "15", "75.0%"]


def test_a_class_is_found_by_a_part_of_its_name(page):
    page.fill("#matrix-search", "042")
    page.keyboard.press("Enter")
    assert page.inner_text("#cell-title") == "truth species 042, predicted species 042"
    assert "Mostly taken for species 043 (1)." in page.inner_text("#cell-status")
    page.fill("#matrix-search", "unicorn")
    page.keyboard.press("Enter")
    assert page.inner_text("#cell-status") == "no class called unicorn"


def test_the_matrix_is_used_by_keyboard_alone(page):
    page.select_option("#confusion-order", "given")
    page.focus("#matrix-search")
    page.keyboard.type("species 060")
    page.keyboard.press("Enter")
    for _ in range(4):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "matrix"
    page.keyboard.press("+")
    for _ in range(53):
        page.keyboard.press("ArrowUp")
    assert "truth species 007, predicted species 060: 15 images" in page.inner_text("#cell-status")
    page.keyboard.press("Enter")
    assert page.inner_text("#cell-count").startswith("1 of 15") or page.inner_text("#cell-count").startswith(
        "15 of 15"
    )
    before = page.evaluate("document.getElementById('matrix').toDataURL()")
    page.keyboard.press("-")
    assert page.evaluate("document.getElementById('matrix').toDataURL()") != before, "it zooms"


def test_a_click_opens_the_cell_under_the_pointer(page):
    page.select_option("#confusion-order", "given")
    page.click("#matrix-all")
    box = page.locator("#matrix").bounding_box()
    margin = 104
    cell = (box["width"] - margin) / NUM_CLASSES
    page.mouse.click(box["x"] + margin + 60.5 * cell, box["y"] + margin + 7.5 * cell)
    assert page.inner_text("#cell-title") == "truth species 007, predicted species 060"
    picture = Image.open(io.BytesIO(page.locator("#matrix").screenshot())).convert("RGB")
    x, y = round(margin + 60.5 * cell), round(margin + 7.5 * cell)
    colours = picture.getpixel((x, y)), picture.getpixel((x + 60, y - 20))
    assert colours[0] != colours[1], "the cell has a colour of its own"


def test_the_worst_classes_come_first_and_any_is_found(page):
    names = page.locator("#classes tbody tr:not([hidden]) th")
    assert names.count() == 20
    assert names.first.inner_text() == "species 007"
    page.get_by_label("Find a class").last.fill("10")
    shown = names.all_inner_texts()
    assert sorted(shown) == sorted(f"species {n:03}" for n in range(NUM_CLASSES) if "10" in f"{n:03}")
    page.get_by_label("Find a class").last.fill("")
    page.get_by_role("button", name="Show all 121").click()
    assert names.count() == NUM_CLASSES


def test_charts_tell_their_values_under_the_pointer_and_by_keyboard(page):
    chart = page.locator("#curves svg").first
    reading = page.locator("#curves .reading").first
    chart.focus()
    assert reading.inner_text() == "epoch 4: training 0.5000, validation 0.3750"
    page.keyboard.press("Home")
    assert reading.inner_text() == "epoch 1: training 2.0000, validation 1.5000"
    page.keyboard.press("ArrowRight")
    assert reading.inner_text() == "epoch 2: training 1.0000, validation 0.7500"
    box = chart.bounding_box()
    page.mouse.move(box["x"] + 0.95 * box["width"], box["y"] + 0.5 * box["height"])
    assert reading.inner_text().startswith("epoch 4")
    assert "cannot be compared" in page.inner_text("#curves")
    assert "fitted to the data" in page.inner_text("#curves")


def test_sections_fold_and_a_link_opens_what_it_leads_to(page):
    page.locator("#classes summary").first.focus()
    page.keyboard.press("Enter")
    assert page.is_hidden("#classes table")
    page.click("nav a[href='#classes']")
    assert page.is_visible("#classes table")
    assert page.evaluate("location.hash") == "#classes"
    page.wait_for_selector("nav a[href='#classes'][aria-current]")


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1400, "dark")])
def test_nothing_is_cut_off_or_faint(browser, path, width, scheme):
    page = visit(browser, path.as_uri(), viewport={"width": width, "height": 844}, color_scheme=scheme).page
    page.wait_for_selector("#cell:not([hidden])")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cut = page.evaluate("""[...document.querySelectorAll('.scroll')].filter((one) => one.checkVisibility() &&
        one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent.trim().slice(0, 40))""")
    assert cut == []
    assert page.evaluate(LOW_CONTRASTS) == []
    page.context.close()
