"""The page of a run, opened from disk in headless Chromium; skipped where there is no browser."""

import csv
import re
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

import kilnet
from kilnet.inspection.attribution import grad_cam
from kilnet.page.search_page import search_page
from kilnet.runs.wording import one_line
from made_up_search import make_row, make_summary
from pages import LOW_CONTRASTS, TINY, inferno, visit

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_figures")]

RUN_ME = "<script>window.hacked=1</script>"
CLASSES = (
    RUN_ME,
    "\"quotes\" & 'apostrophes' <b>bold</b>",
    "two\nlines",
    "\u202eكلب right to left",
    "🐱 emoji " + 30 * "long ",
    "plain",
)
SUPPORT = (50, 30, 20, 10, 6, 0)  # of the test split; nobody has seen the last class there
NAMES = (
    '"><img src=x onerror=window.hacked=1>',
    "</script>" + RUN_ME,
    "a\u2028b\nc",
    "\u202egpj.exe",
    "🐱",
    "1.jpg",
)


def split(support, seed):
    """Stripes that slope by class, so that a network learns some of it, with names that want to be more than names."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(support)), support)
    random.shuffle(labels)
    y, x = np.mgrid[:16, :16]
    angles = labels * np.pi / len(support)
    waves = np.sin(np.cos(angles)[:, None, None] * x + np.sin(angles)[:, None, None] * y)
    images = (
        128
        + 60 * waves[:, None] * [[[[1]], [[0.5]], [[-1]]]]
        + random.normal(0, 60, (len(labels), 3, 16, 16))
    )
    names = tuple(f"{index}{NAMES[index % len(NAMES)]}" for index in range(len(labels)))
    return kilnet.Split(images.clip(0, 255).astype(np.uint8), labels, names)


@pytest.fixture(scope="module")
def data():
    return kilnet.ImageDataset(
        "hostile", CLASSES, split((60, 60, 40, 30, 20, 6), 0), split((9, 8, 7, 6, 5, 4), 1), split(SUPPORT, 2)
    )


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / f"run {NAMES[0].replace('/', '')}"
    kilnet.train(data, epochs=2, out=folder, settings=TINY, progress=False)
    kilnet.evaluate(folder, data=data, progress=False)
    kilnet.report(folder, data=data, progress=False)
    return folder


@pytest.fixture(scope="module")
def predictions(run):
    with (run / "evaluation-test" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def open_page(browser):
    """Opens a file, and waits for its pictures."""
    visits = []

    def opened(path, **options):
        visits.append(visit(browser, path.as_uri(), **options))
        page = visits[-1].page
        if page.locator("ul[data-images]").count():  # the page's policy forbids wait_for_function
            page.locator(".thumb").first.wait_for(state="attached")
        return visits[-1]

    yield opened
    for visited in visits:
        visited.page.context.close()


@pytest.fixture
def page(open_page, run):
    """The report; nothing on it may have been run, complained about or fetched."""
    visited = open_page(run / "report.html")
    yield visited.page
    assert visited.page.evaluate("window.hacked") is None
    assert visited.complaints == []
    assert [url for url in visited.requests if not url.startswith("data:")] == [
        (run / "report.html").as_uri()
    ]


def thumbs(page, selector):
    """Return (name, truth, predicted, confidence) of the pictures in a list, as a screen reader says them."""
    found = []
    for label in page.locator(f"{selector} .thumb").evaluate_all("all => all.map((one) => one.ariaLabel)"):
        predicted, confidence, truth, name = re.fullmatch(
            r"(.*) [✓✗] (\S*) truth (.*), image (.*)", label
        ).groups()
        found.append((name, truth, predicted, confidence))
    return found


def shown(row):
    confidence = float(row["confidence"])
    text = ">99.9%" if 0.9995 <= confidence < 1 else f"{confidence:.1%}"
    return *map(one_line, (row["name"], row["truth"], row["predicted"])), text


def test_every_picture_is_loaded(page):
    sheets = page.evaluate("[...document.images].map((image) => [image.complete, image.naturalWidth])")
    assert sheets
    assert all(complete and width > 0 for complete, width in sheets)
    drawn = page.evaluate("""[...document.querySelectorAll('.thumb canvas')].map((canvas) =>
        new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size)""")
    assert len(drawn) > 50
    assert min(drawn) > 10, "a picture is blank"


def test_a_click_on_a_cell_shows_its_images(page, predictions, data):
    cells = defaultdict(list)
    for row in predictions:
        cells[one_line(row["truth"]), one_line(row["predicted"])].append(shown(row))
    names = [one_line(name) for name in CLASSES]
    for truth, first in enumerate(names):
        for predicted, second in enumerate(names):
            page.click(f'.heat [data-cell="{truth}-{predicted}"]')
            assert page.inner_text("#cell-title") == f"truth {first}, predicted {second}"
            expected = cells[first, second]
            assert sorted(thumbs(page, "#cell-images")) == sorted(expected)
            count = page.inner_text("#cell-count")
            assert count.startswith(f"{len(expected)} of {len(expected)}" if expected else "No images")
    assert sum(map(len, cells.values())) == len(data.test)


def test_thumbnails_have_the_colours_of_the_images(page, data):
    pixels = page.evaluate("""[...document.querySelectorAll('#samples .thumb')].map((thumb) => {
        const canvas = thumb.querySelector('canvas');
        return [thumb.title, [...canvas.getContext('2d').getImageData(0, 0, 16, 16).data]];
    })""")
    by_name = dict(zip(map(one_line, data.test.names), data.test.images, strict=True))
    for name, values in pixels:
        square = np.reshape(values, (16, 16, 4))
        np.testing.assert_array_equal(square[..., :3].transpose(2, 0, 1), by_name[name])


def test_mistakes_are_the_most_confident_ones(page, predictions):
    wrong = [row for row in predictions if row["truth"] != row["predicted"]]
    wrong.sort(key=lambda row: -float(row["confidence"]))
    assert thumbs(page, "#mistakes") == [shown(row) for row in wrong[:30]]
    assert set(thumbs(page, "#samples")) <= {shown(row) for row in predictions}


def test_heat_map_switches_and_equals_scikit_learn(page, predictions):
    truth, predicted = ([row[column] for row in predictions] for column in ("truth", "predicted"))
    for unit, normalise in (("counts", None), ("recall", "true"), ("precision", "pred")):
        page.check(f"[name=confusion-unit][value={unit}]")
        expected = confusion_matrix(truth, predicted, labels=list(CLASSES), normalize=normalise)
        for (row, column), value in np.ndenumerate(expected):
            button = page.locator(f'.heat [data-cell="{row}-{column}"]')
            if unit == "counts":
                text = str(value) if value else ""
            else:
                text = "" if value == 0 else "<1" if value < 0.005 else str(int(np.floor(100 * value + 0.5)))
                if truth.count(CLASSES[row]) and predicted.count(CLASSES[column]):
                    assert (
                        f"{value:.1%} of the {'row' if unit == 'recall' else 'column'}"
                        in button.get_attribute("aria-label")
                    )
            assert button.inner_text() == text, (unit, row, column)


def column(page, number, what="cell.dataset.value"):
    rows = "[...document.querySelector('table.sortable').tBodies[0].rows]"
    return page.evaluate(f"{rows}.map((row) => {{ const cell = row.cells[{number}]; return {what}; }})")


def test_table_of_classes_equals_scikit_learn(page, predictions):
    truth, predicted = ([row[name] for row in predictions] for name in ("truth", "predicted"))
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=list(CLASSES), zero_division=np.nan
    )
    assert column(page, 0, "cell.textContent.trim()") == [one_line(name) for name in CLASSES]
    assert [int(value) for value in column(page, 1)] == support.tolist() == list(SUPPORT)
    for number, expected in ((4, recall), (6, precision)):
        np.testing.assert_allclose([float(value or "nan") for value in column(page, number)], expected)
        texts = column(page, number, "cell.textContent.trim()")
        assert texts == ["–" if np.isnan(value) else f"{value:.1%}" for value in expected]
    ours = np.array([float(value or "nan") for value in column(page, 7)])
    np.testing.assert_allclose(ours[:-1], f1[:-1])


def test_table_sorts(page):
    head = page.locator("#classes th", has_text="recall")
    for direction in ("ascending", "descending"):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == direction
        values = column(page, 4)
        assert values[-1] == "", "a class without images stays at the end"
        numbers = [float(value) for value in values[:-1]]
        assert numbers == sorted(numbers, reverse=direction == "descending")
    page.locator("#classes th", has_text="class").get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "none"
    assert sorted(column(page, 0)) == sorted(map(one_line, CLASSES))


def test_keyboard_alone_is_enough(page, predictions):
    def focused(what):
        return page.evaluate(f"document.activeElement.{what}")

    page.keyboard.press("Tab")
    assert focused("className") == "skip"
    page.keyboard.press("Enter")
    for _ in range(40):
        page.keyboard.press("Tab")
        if focused("name") == "confusion-unit":
            break
    page.keyboard.press("ArrowRight")
    assert page.is_checked("[value=recall]")
    page.keyboard.press("Tab")
    assert focused("dataset.cell") == "0-0"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert focused("dataset.cell") == "1-1"
    page.keyboard.press("End")
    assert focused("dataset.cell") == "1-5"
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "one must see where one is"
    page.keyboard.press("Enter")
    members = [shown(row) for row in predictions if row["truth"] == row["predicted"] == CLASSES[1]]
    assert sorted(thumbs(page, "#cell-images")) == sorted(members)
    page.keyboard.press("Tab")
    first = focused("ariaLabel")
    page.keyboard.press("Enter")
    assert page.is_visible("#viewer")
    title = page.inner_text("#viewer-name")
    assert title in first
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#viewer-name") != title
    page.keyboard.press("Escape")
    assert page.is_hidden("#viewer")
    assert focused("ariaLabel") == first, "focus comes back"


def test_a_click_on_an_image_shows_what_is_known_of_it(page, predictions, run, data):
    page.locator("#mistakes .thumb").first.click()
    row = max(
        (row for row in predictions if row["truth"] != row["predicted"]),
        key=lambda row: float(row["confidence"]),
    )
    name, truth, predicted, confidence = shown(row)
    for part, text in {
        "name": name,
        "truth": truth,
        "predicted": predicted,
        "confidence": confidence,
    }.items():
        assert page.locator(f"#viewer-{part}").text_content() == text
    image = data.test.images[data.test.names.index(row["name"])]
    classifier = kilnet.load(run)
    grey = np.tensordot([0.299, 0.587, 0.114], image, 1)[..., None]
    for kind in ("predicted", "truth"):
        pixels = page.locator(f".heat-map[data-kind={kind}]").evaluate("""(canvas) => {
            const { data } = canvas.getContext('2d').getImageData(0, 0, 256, 256);
            const centres = [...Array(16).keys()].map((number) => 16 * number + 8);
            return centres.map((y) => centres.map((x) => [...data.slice(4 * (256 * y + x), 4 * (256 * y + x) + 3)]));
        }""")
        overlay = np.array(pixels)
        expected = 0.45 * grey + 0.55 * inferno(grad_cam(classifier, image, row[kind]))
        assert np.abs(overlay - expected).mean() < 8, "the map of another image or class differs by far more"
    page.click("#viewer-close")
    assert page.is_hidden("#viewer")


def test_hostile_names_are_text(page):
    assert page.evaluate(
        "document.querySelectorAll('#content script, #content b, img[src=x]').length"
    ) == len(page.query_selector_all("#content script[type='application/json']"))
    table = page.inner_text("#classes table")
    assert RUN_ME in table
    assert "<b>bold</b>" in table
    assert "🐱 emoji" in table
    assert "\u202e" not in page.content(), "a mark that reorders text must not reach the page"


def test_policy_lets_nothing_in_and_nothing_out(open_page, run):
    visitors = []

    class Recorder(BaseHTTPRequestHandler):
        def do_GET(self):
            visitors.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Recorder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    visited = open_page(run / "report.html")
    page = visited.page
    page.evaluate(
        """async (url) => {
            const refused = (promise) => promise.then(() => 'let through', () => 'refused');
            const script = document.createElement('script');
            script.textContent = 'window.hacked = 1';
            document.body.append(script);
            document.body.insertAdjacentHTML('beforeend', '<img src="' + url + 'a.png" onerror="window.hacked=1">');
            await refused(fetch(url + 'b'));
        }""",
        f"http://127.0.0.1:{server.server_port}/",
    )
    page.wait_for_timeout(200)
    server.shutdown()
    server.server_close()
    assert visitors == []
    assert page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in complaint for complaint in visited.complaints)


def test_nothing_is_wider_than_the_screen(page):
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for width in (360, 768, 1200):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.locator("#samples .thumb").first.click()
        box = page.locator("#viewer").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        page.keyboard.press("Escape")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(open_page, run, scheme):
    page = open_page(run / "report.html", color_scheme=scheme).page
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    assert page.evaluate(LOW_CONTRASTS) == []  # WCAG 2.2, 1.4.3: 4.5 to 1
    page.locator("#samples .thumb").first.click()
    assert page.evaluate(LOW_CONTRASTS) == []


def test_a_screen_reader_finds_its_way(page):
    """Tables have names and headings with a scope, charts and buttons names, levels go down by one."""
    nameless = page.evaluate("""[...document.querySelectorAll('th:not([scope]), svg:not([aria-label]),' +
        'img:not([alt]), [role=img]:not([aria-label]):not(#viewer *), html:not([lang])')]
        .map((one) => one.outerHTML)""")
    assert nameless == []
    assert page.evaluate(
        "[...document.querySelectorAll('table')].every((table) => table.caption || table.ariaLabel)"
    )
    assert page.evaluate(
        """[...document.querySelectorAll('button')].filter((one) => one.checkVisibility())
        .every((one) => one.ariaLabel || one.innerText)"""
    )
    levels = page.evaluate(
        """[...document.querySelectorAll('h1, h2, h3')].filter((one) => one.checkVisibility())
        .map((one) => +one.tagName[1])"""
    )
    assert levels[0] == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    identifiers = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(identifiers) == len(set(identifiers))


def test_prints_without_controls_and_with_its_pictures(open_page, run):
    page = open_page(run / "report.html", viewport={"width": 700, "height": 900}).page
    page.emulate_media(media="print")
    assert page.is_hidden("nav")
    assert page.is_hidden(".switch")
    assert page.is_visible("#samples .thumb canvas")
    assert page.pdf().startswith(b"%PDF")


def test_page_of_a_search(open_page, tmp_path):
    random = np.random.default_rng(0)
    rows = [
        make_row(
            number,
            {
                RUN_ME: 10 ** random.uniform(-4, -1),
                "model.c1": int(random.choice([16, 32])),
                "augment": NAMES[0],
            },
            None if number == 3 else float(random.uniform(0.5, 0.6)),
        )
        for number in range(20)
    ]
    folder = tmp_path / RUN_ME.replace("/", "")
    summary = make_summary(rows, {5}, {RUN_ME: 0.7, "model.c1": 0.3}, folder)
    best = summary.winner
    path = tmp_path / "report.html"
    path.write_text(search_page(summary, {}, None), "utf-8")
    visited = open_page(path, viewport={"width": 360, "height": 800})
    page = visited.page
    head = page.locator("#trials th", has_text="accuracy")
    head.get_by_role("button").click()
    head.get_by_role("button").click()
    rows = page.locator("#trials tbody tr").all_inner_texts()
    assert rows[0].split("\t")[0] == str(best)
    assert rows[-1].split("\t")[0] == "3", "a trial without accuracy is last"
    assert page.locator("#trials tr.marked").count() == len({best, 5})
    page.locator("#trials th button").nth(1).click()
    rates = [float(rate) for rate in page.locator("#trials tbody td:nth-child(2)").all_inner_texts()]
    assert rates == sorted(rates), "by size, not by letters"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(LOW_CONTRASTS) == []
    assert page.evaluate("window.hacked") is None
    assert visited.complaints == []
    assert visited.requests == [path.as_uri()]
