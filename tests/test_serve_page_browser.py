"""The page of `kilnet serve` in headless Chromium; skipped where there is no browser."""

import base64
import re

import numpy as np
import pytest
from PIL import Image

import kilnet
from kilnet.data.decode import to_input
from kilnet.inspection.attribution import grad_cam
from pages import LOW_CONTRASTS, inferno, visit

pytestmark = pytest.mark.slow

sync_api = pytest.importorskip("playwright.sync_api", reason="no browser tests: playwright is not installed")
expect = sync_api.expect

HOSTILE = "<img src=x onerror=window.hacked=1>.png"
# Drops files as a person would: the page's own handlers see a DataTransfer.
DROP = """([element, files]) => {
    const transfer = new DataTransfer();
    for (const [name, content] of files) {
        const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
        transfer.items.add(new File([bytes], name));
    }
    for (const kind of ['dragenter', 'dragover', 'drop'])
        element.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


@pytest.fixture
def open_page(browser, served):
    """Opens the page; afterwards nothing may have run, been complained about or asked of another server."""
    visits = []

    def opened(**options):
        visits.append(visit(browser, served.url, **options))
        expect(visits[-1].page.locator("#example-list button").last).to_be_visible()
        return visits[-1].page

    yield opened
    for visited in visits:
        assert visited.page.evaluate("window.hacked") is None
        assert [text for text in visited.complaints if "status of 415" not in text] == []
        own = (served.url, "data:", "blob:")
        assert [url for url in visited.requests if not url.startswith(own)] == []
        visited.page.context.close()


@pytest.fixture
def page(open_page):
    return open_page()


@pytest.fixture
def files(tmp_path):
    """A picture of each class, and a file that is none, whose name wants to be more."""
    random = np.random.default_rng(3)
    paths = []
    for channel, name in ((0, "one.png"), (1, "two.jpg"), (2, "three.webp")):
        pixels = random.integers(0, 120, (30, 50, 3), np.uint8)
        pixels[:, :, channel] += 120
        Image.fromarray(pixels).save(tmp_path / name)
        paths.append(tmp_path / name)
    (tmp_path / HOSTILE).write_text("no picture")
    return [*paths, tmp_path / HOSTILE]


def cards(page):
    """The results by the name of the picture: what stands on the card."""
    found = page.locator("#results .card").all()
    return {card.locator(".name").inner_text(): card.locator(".said").inner_text() for card in found}


def test_several_are_picked_at_once_and_one_cannot_be_used(page, files, colour_run):
    page.set_input_files("#files", files)
    expect(page.locator("#status")).to_have_text("3 pictures classified, 1 could not be used.")
    predictor, shown = kilnet.load(colour_run), cards(page)
    for path in files[:3]:
        lines = shown[path.name].splitlines()
        prediction = predictor(path)
        assert lines[0].startswith(f"{prediction.label} {prediction.confidence:.1%}")
        assert ("unsure" in lines[0]) == prediction.unsure
        assert ("like none of the classes" in lines[0]) == prediction.unknown
        text = " ".join(lines[1:])
        for name, value in zip(prediction.classes, prediction.probabilities, strict=True):
            assert re.search(rf"{re.escape(name)}\s+{value:.1%}", text), text
    assert "cannot be used: no image in one of the formats" in shown[HOSTILE]
    assert page.locator(".card img[src=x], .card b").count() == 0


def test_bars_are_as_long_as_probabilities(page, files, colour_run):
    page.set_input_files("#files", files[0])
    expect(page.locator("#status")).to_have_text("1 picture classified.")
    widths = page.locator(".track").evaluate_all(
        "tracks => tracks.map(one => one.firstChild.getBoundingClientRect().width / one.getBoundingClientRect().width)"
    )
    np.testing.assert_allclose(widths, kilnet.load(colour_run)(files[0]).probabilities, atol=0.01)


@pytest.mark.parametrize("place", ["#drop", "footer"])
def test_dropped_anywhere(page, files, place):
    content = [(path.name, base64.b64encode(path.read_bytes()).decode()) for path in files[:2]]
    page.locator(place).evaluate("(element, files) => (" + DROP + ")([element, files])", content)
    expect(page.locator("#status")).to_have_text("2 pictures classified.")
    assert list(cards(page)) == ["two.jpg", "one.png"], "the newest is first"
    assert not page.locator("#drop.over").count()


def enlarged(pixels, resampling):
    return np.asarray(Image.fromarray(pixels).resize((256, 256), resampling)).astype(float)


def test_overlay_is_the_heat_map_over_what_the_network_sees(page, files, colour_run):
    page.set_input_files("#files", files[0])
    expect(page.locator("#status")).to_have_text("1 picture classified.")
    predictor = kilnet.load(colour_run)
    image = to_input(files[0], predictor.image_shape)
    pixels = page.locator(".looked canvas").evaluate("""(canvas) => {
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return [...data].filter((_, i) => i % 4 < 3);
    }""")
    overlay = np.array(pixels, float).reshape(256, 256, 3)
    grey = enlarged(image.transpose(1, 2, 0).copy(), Image.Resampling.NEAREST) @ [0.299, 0.587, 0.114]
    heat = enlarged((255 * grad_cam(predictor, image)).astype(np.uint8), Image.Resampling.BILINEAR)
    difference = np.abs(overlay - (0.45 * grey[..., None] + 0.55 * inferno(heat / 255))).mean()
    upside_down = np.abs(overlay - (0.45 * grey[..., None] + 0.55 * inferno(heat[::-1, ::-1] / 255))).mean()
    assert difference < min(2, upside_down / 8)
    assert "what spoke for" in page.locator(".looked canvas").get_attribute("aria-label")


def test_too_large_is_said_without_sending(page, tmp_path):
    (tmp_path / "large.png").write_bytes(bytes(21 * 2**20))
    sent = []
    page.on("request", lambda request: sent.append(request.method))
    page.set_input_files("#files", tmp_path / "large.png")
    expect(page.locator(".verdict")).to_have_text("cannot be used: 21 MB, more than 20 MB")
    assert "POST" not in sent


def test_examples_show_the_truth(page):
    button = page.locator("#example-list button").nth(1)
    truth = button.locator("bdi, span").last.inner_text()
    button.click()
    expect(page.locator("#status")).to_have_text("1 picture classified.")
    verdict = page.locator(".verdict").inner_text()
    assert "✓ right" in verdict or f"✗ truth {truth}" in verdict
    page.click("#clear")
    expect(page.locator("#status")).to_have_text("None yet.")
    assert cards(page) == {}


def test_keyboard_alone_is_enough(page, files):
    def focused(what):
        return page.evaluate(f"document.activeElement.{what}")

    # The browser hears of it some time after: just before the key it may come too late.
    page.on("filechooser", lambda _: None)
    page.keyboard.press("Tab")
    assert focused("id") == "files"
    outline = page.evaluate("getComputedStyle(document.querySelector('label.button')).outlineStyle")
    assert outline == "solid", "one must see where one is"
    with page.expect_file_chooser() as chosen:
        page.keyboard.press("Space")
    chosen.value.set_files(files[1])
    expect(page.locator("#status")).to_have_text("1 picture classified.")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.matches('#example-list button')")
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_have_text("2 pictures classified.")
    for _ in range(40):
        page.keyboard.press("Tab")
        if focused("id") == "clear":
            break
    page.keyboard.press("Space")
    expect(page.locator("#status")).to_have_text("None yet.")
    assert focused("id") == "files", "focus is not lost with the button"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone_with_contrast_and_names_for_screen_readers(open_page, files, scheme):
    page = open_page(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page.set_input_files("#files", files)
    expect(page.locator("#status")).to_have_text("3 pictures classified, 1 could not be used.")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    buttons = page.locator("button, label.button").locator("visible=true").all()
    assert [button for button in buttons if button.bounding_box()["height"] < 44] == [], "a finger needs room"
    assert page.evaluate(LOW_CONTRASTS) == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    nameless = "img:not([alt]), [role=img]:not([aria-label]), html:not([lang]), button:empty"
    assert page.locator(nameless).locator("visible=true").count() == 0
    assert page.get_by_role("status").count() == 1
    assert page.get_by_role("button", name="example: green").count() >= 1


def test_the_slider_fades_the_heat_map(page, files):
    page.set_input_files("#files", files[0])
    expect(page.locator("#status")).to_have_text("1 picture classified.")
    pixels = "document.querySelector('.looked canvas').toDataURL()"
    strong = page.evaluate(pixels)
    page.focus("#strength")
    page.keyboard.press("Home")
    page.wait_for_timeout(300)
    assert page.evaluate(pixels) != strong
    colours = page.evaluate("""[
        ...document.querySelector('.looked canvas').getContext('2d').getImageData(0, 0, 256, 256).data]
        .reduce((most, _, i, all) => i % 4 ? most : Math.max(most, Math.abs(all[i] - all[i + 1])), 0)""")
    assert colours <= 1, "without the heat map the picture is grey"


def test_what_unsure_means_is_said_where_it_is_said(page, files):
    page.set_input_files("#files", files[:3])
    expect(page.locator("#status")).to_have_text("3 pictures classified.")
    for card in page.locator(".card").all():
        is_unsure, is_unknown = (card.locator(f".{mark}").count() == 1 for mark in ("unsure", "unknown"))
        assert card.locator(".why").is_visible() == (is_unsure or is_unknown)
        why = card.locator(".why").inner_text() if is_unsure or is_unknown else ""
        assert ("a person should look" in why) == is_unsure
        assert ("may show none of them" in why) == is_unknown


def test_the_api_is_described_on_a_page_of_its_own(page):
    page.click("a[href=docs]")
    page.wait_for_selector("main h2")
    heads = page.locator("h2").all_inner_texts()
    assert "POST /api/predict" in heads
    assert "PredictionAnswer" in heads
    text = page.inner_text("main")
    assert "How many classes to return." in text
    assert "The server is busy; try again." in text


def test_a_phone_may_take_a_photograph_and_sees_the_result(open_page, files):
    page = open_page(viewport={"width": 390, "height": 740}, has_touch=True, is_mobile=True)
    assert page.get_by_text("Take a photograph").is_visible()
    page.set_input_files("#camera", files[0])
    expect(page.locator("#status")).to_have_text("1 picture classified.")
    page.wait_for_timeout(300)
    verdict = page.locator(".card .verdict").bounding_box()
    assert 0 <= verdict["y"] < 740 - verdict["height"], "the answer is in view"


@pytest.mark.parametrize("width", [390, 1200])
def test_the_camera_is_shown_live_and_what_it_shows_is_classified(camera_browser, served, width):
    visited = visit(camera_browser, served.url, viewport={"width": width, "height": 740})
    page = visited.page
    page.get_by_role("button", name="Open the camera").click()
    take = page.get_by_role("button", name="Take", exact=True)
    expect(take).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_have_text("1 picture classified.")
    verdict = page.locator(".card .verdict").bounding_box()
    assert 0 <= verdict["y"] < 740 - verdict["height"], "the answer is in view"
    shown = page.locator(".original img").evaluate("image => [image.naturalWidth, image.naturalHeight]")
    assert shown == page.evaluate("[preview.videoWidth, preview.videoHeight]")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    track = page.evaluate_handle("preview.srcObject.getTracks()[0]")
    page.get_by_role("button", name="Close the camera").click()
    assert track.evaluate("track => track.readyState") == "ended", "the lamp is out"
    assert not page.locator("#viewfinder").is_visible()
    assert visited.complaints == []


def test_without_a_camera_none_is_offered(page):
    assert not page.locator("#open-camera").is_visible()


def test_a_line_in_the_bar_marks_from_where_on_the_run_is_sure(page, files, colour_run):
    page.set_input_files("#files", files[:3])
    expect(page.locator("#status")).to_have_text("3 pictures classified.")
    sure_from = kilnet.load(colour_run).calibration.threshold
    assert f"marks {sure_from:.1%}" in page.locator("#sure").inner_text()
    for card in page.locator(".card").all():
        track = card.locator(".track").first
        ends = track.locator("span").evaluate("bar => bar.getBoundingClientRect().right")
        mark = track.locator(".sure").evaluate("line => line.getBoundingClientRect().left + 1")
        assert (ends < mark) == (card.locator(".unsure").count() == 1)
