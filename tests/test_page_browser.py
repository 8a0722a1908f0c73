"""The page in a real browser: it draws, reads, trains and refuses, as a person sees it.

Playwright drives Debian's Chromium. Where one of them is missing, these tests are skipped.

SCREENSHOT=docs/page.png python -m pytest tests/test_page_browser.py      makes the picture of the README anew
"""

import base64
import os
import re
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, SAMPLES
from page_client import Server, strokes_of, until

from photos.scoring import read_manifest
from volume.work import load_model

pytest_plugins = ["page_fixtures"]

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: no test in a browser")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: no test in a browser")

WIDE = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
DROP = """([name, type, content]) => {
    const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], name, { type }));
    if (type === "paste") document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
    for (const event of type === "paste" ? [] : ["dragover", "drop"]) {
        document.body.dispatchEvent(new DragEvent(event, { dataTransfer: data, bubbles: true, cancelable: true }));
    }
}"""


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, server):
    """A function that opens the page in a window with these options. Whatever the page says on its console is wrong."""
    contexts, complaints = [], []

    def open_one(**options):
        context = browser.new_context(**(options or WIDE))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(server.address)
        page.wait_for_selector("#model:has-text('64 filters')")
        return page

    yield open_one
    for context in contexts:
        context.close()
    expected = r"Failed to load resource: the server responded with a status of 400"  # when something is refused
    assert [line for line in complaints if expected not in line] == []


def draw(page, text):
    """Draw digits by mouse, and wait until they are read."""
    box = page.locator("#sheet").bounding_box()
    for first, *others in strokes_of(text, box["width"], box["height"]):
        page.mouse.move(box["x"] + first[0], box["y"] + first[1])
        page.mouse.down()
        for x, y in others:
            page.mouse.move(box["x"] + x, box["y"] + y, steps=6)
        page.mouse.up()
    page.wait_for_selector(f"#drawn-text:text-is('{text}')")


def send(page, name, content, how="drop"):
    """Drop or paste a file of this name onto the page."""
    page.evaluate(DROP, [name, "paste" if how == "paste" else "image/jpeg", base64.b64encode(content).decode()])


def number(text):
    return float(text.replace("−", "-").replace("+", ""))


NINE = """["#pixels", "#taps", "#nine-products"].map(
    (name) => [...document.querySelectorAll(`${name} span`)].map((span) => span.innerText)
).concat(document.querySelector("#sum").innerText)"""


def arithmetic(page):
    """The nine pixels, the nine weights, their products, and the line of the sum.

    All are of one moment: the answer for the last stroke may come while a test looks at them.
    """
    *nine, line = page.evaluate(NINE)
    return *([number(text) for text in texts] for texts in nine), line


def is_inside(page):
    """Whether nothing reaches beyond the right edge of the window."""
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


# -- drawing and layers -----------------------------------------------------------------------------------------------


def test_a_digit_is_drawn_and_read(open_page):
    page = open_page()
    assert page.locator("#no-digit").is_visible() and not page.locator("#network").is_visible()
    draw(page, "3")
    assert page.locator("#verdict strong").inner_text() == "3"
    assert page.locator("#classes button[aria-pressed=true]").inner_text().split()[0] == "3"
    assert page.locator(".tile").count() == 64 and is_inside(page)
    drawn = page.evaluate("""() => {
        const { width, height } = document.querySelector("#crop");
        const pixels = document.querySelector("#crop").getContext("2d").getImageData(0, 0, width, height).data;
        return [width, height, pixels.filter((value, i) => i % 4 === 0 && value > 200).length];
    }""")
    assert drawn[:2] == [28, 28] and drawn[2] > 20
    page.click("#clear")
    page.wait_for_selector("#no-digit")


def test_hovering_shows_the_arithmetic(open_page):
    """Nine pixels times nine weights are nine products, and their sum is the number on the map."""
    page = open_page()
    draw(page, "5")
    seen = set()
    for x, y in ((0.5, 0.5), (0.1, 0.1), (0.45, 0.8)):
        box = page.locator("#map-area").bounding_box()
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        row, column = int(26 * y) + 1, int(26 * x) + 1
        page.wait_for_selector(f"#keeps:has-text('row {row}, column {column} of')")
        pixels, taps, products, line = arithmetic(page)
        for pixel, tap, product in zip(pixels, taps, products, strict=True):
            assert pixel * tap == pytest.approx(product, abs=0.02)
        total, bias, value = map(number, re.findall(r"[−+]? ?\d+\.\d+", line.replace("− ", "−").replace("+ ", "+")))
        assert total == pytest.approx(sum(products), abs=0.05)
        assert value == pytest.approx(max(0, total + bias), abs=2e-3)
        seen.add(line)
    assert len(seen) == 3
    page.focus("#map-area")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(f"#keeps:has-text('row {row}, column {column + 1} of')")


def test_the_terms_of_a_logit_add_up_in_the_page(open_page):
    page = open_page()
    draw(page, "7")
    for label in ("7", "2"):
        page.locator("#classes button", has=page.locator(f".name:text-is('{label}')")).click()
        page.wait_for_selector(f"#term-class:text-is('{label}')")
        logit = number(re.search(r"[−]?\d+\.\d+", page.locator("#total").inner_text())[0])
        for line in ("#by-filter", "#by-pixel", "#by-place"):
            *terms, total = re.findall(r"[−+]?\d+\.\d\d", page.locator(line).inner_text())
            assert number(total) == pytest.approx(logit, abs=0.011), line
            assert sum(map(number, terms)) == pytest.approx(logit, abs=0.03), line


def test_several_digits_one_is_chosen_and_undone(open_page):
    page = open_page()
    draw(page, "375")
    assert page.locator("#found button").count() == 3
    page.locator("#found button").first.click()
    page.wait_for_selector("#verdict strong:text-is('3')")
    page.keyboard.press("Control+z")
    page.wait_for_selector("#drawn-text:text-is('37')")
    page.click("#undo")
    page.wait_for_selector("#drawn-text:text-is('3')")
    page.keyboard.press("Escape")
    page.wait_for_selector("#drawn-text:text-is('–')")
    page.click("#undo")
    page.wait_for_selector("#drawn-text:text-is('3')")


def test_the_keyboard_draws(open_page):
    page = open_page()
    page.focus("#sheet")
    page.keyboard.press(" ")
    for _ in range(16):
        page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    page.keyboard.press("ArrowRight")  # with the pen lifted
    page.wait_for_selector("#drawn-text:text-is('1')")
    outline = "getComputedStyle(document.querySelector('#sheet')).outlineStyle"
    assert page.evaluate(outline) == "solid", "the focus is seen"


def test_the_example_is_read(open_page):
    page = open_page()
    page.click("#example")
    page.wait_for_selector("#drawn-text:text-is('5')")


# -- photos -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ("drop", "paste", "choose"))
def test_a_photo_is_read(open_page, how):
    page = open_page()
    if how == "choose":
        page.set_input_files("#file", SAMPLES / "digits.jpg")
    else:
        send(page, "digits.jpg", (SAMPLES / "digits.jpg").read_bytes(), how)
    page.wait_for_selector("#photo-text:text-is('31415926')")
    assert page.locator("#boxes button").count() == 8 and page.locator("#photo-stages img").count() > 3
    assert page.locator("#annotated").evaluate("image => image.complete && image.naturalWidth") == 1200
    page.locator("#boxes button").nth(4).click()
    page.wait_for_selector("#verdict strong:text-is('5')")
    assert "in the photo" in page.locator("#verdict").inner_text()


def test_what_is_wrong_can_be_said(open_page, server):
    page = open_page()
    page.set_input_files("#file", SAMPLES / "touching.png")
    page.wait_for_selector("#photo-text:text-is('60482')")
    page.locator("#boxes button").first.click()
    page.wait_for_selector("#verdict strong:text-is('6')")
    page.get_by_role("button", name="This is wrong").click()
    page.locator("#verdict .digit", has_text="8").click()
    page.wait_for_selector("#verdict:has-text('Kept as a 8, 1 in corrections/')")
    (row,) = read_manifest(server.folder / "corrections" / "manifest.tsv")
    assert (row["label"], row["read"], row["kind"]) == ("8", "6", "photo")


def test_a_text_that_is_called_jpg_is_one_line(open_page):
    page = open_page()
    send(page, "letter.jpg", b"Dear all, this is no picture.")
    page.wait_for_selector("#photo-state.bad:text-is('letter.jpg: not a picture that can be read')")
    assert not page.locator("#photo-result").is_visible()


# -- training ---------------------------------------------------------------------------------------------------------


def test_a_network_is_trained(open_page, server, tmp_path):
    """Curves, filters and the reading change while it learns; then it goes on, is saved, and is left."""
    page = open_page()
    draw(page, "7")
    page.select_option("#epochs", "1")
    page.click("#train-new")
    page.wait_for_selector("#model:has-text('your network: 8 filters')")
    page.wait_for_selector("#training:has-text('Stopped after epoch 1')")
    assert page.locator("#loss circle.test").count() == page.locator("#accuracy circle.test").count() == 2
    assert page.locator("#loss path.test").get_attribute("d").count("L") == 1
    page.wait_for_selector("#drawn-text:text-is('7')")
    assert page.locator(".tile").count() == 8 and page.locator("#classes button").count() == 10
    before = page.locator("#taps").inner_text()
    page.click("#train-on")
    page.wait_for_selector("#training:has-text('Stopped after epoch 2')")
    assert page.locator("#loss circle.test").count() == 3
    until(lambda: page.locator("#taps").inner_text() != before)
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename == "model.npz"
    download.value.save_as(tmp_path / "model.npz")
    network = load_model(tmp_path / "model.npz", "cpu")
    assert (network.num_filters, network.epochs_trained) == (8, 2)
    page.click("#use-given")
    page.wait_for_selector("#model:has-text('64 filters')")
    until(lambda: page.locator(".tile").count() == 64)
    until(lambda: server.trainings() == 0)


def test_until_stopped_and_then_the_window_is_closed(open_page, server):
    page = open_page()
    page.select_option("#epochs", "")
    page.click("#train-new")
    page.wait_for_selector("#loss circle.learned")
    page.click("#stop")
    page.wait_for_selector("#training:has-text('Stopped')")
    page.click("#train-on")
    page.wait_for_selector("#stop:enabled")
    page.close()
    until(lambda: server.trainings() == 0)


def test_a_learning_rate_that_is_too_high_is_one_line(open_page):
    page = open_page()
    page.fill("#filters", "2")
    page.fill("#rate", "10")
    page.click("#train-new")
    page.wait_for_selector("#problem:has-text('the learning rate 10 is too high here')")
    assert page.locator("#train-new").is_enabled()


# -- how it looks -----------------------------------------------------------------------------------------------------


def test_a_phone_has_all_of_it(open_page):
    page = open_page(**PHONE)
    box = page.locator("#sheet").bounding_box()
    assert is_inside(page) and box["width"] > 320
    draw(page, "37")
    page.set_input_files("#camera", SAMPLES / "digits.jpg")
    page.wait_for_selector("#photo-text:text-is('31415926')")
    assert is_inside(page)


def test_light_and_dark(open_page):
    colours = []
    for scheme in ("light", "dark"):
        page = open_page(**WIDE, color_scheme=scheme)
        colours.append([
            page.evaluate(f"getComputedStyle(document.body).{what}") for what in ("backgroundColor", "color")
        ])  # fmt: skip
    light, dark = ([sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in pair] for pair in colours)
    assert light[0] > 600 > 150 > light[1] and dark[0] < 150 < 600 < dark[1]


def test_a_server_that_ends_is_one_line(browser, tmp_path):
    server = Server(tmp_path)
    context = browser.new_context(**WIDE)
    page = context.new_page()
    page.goto(server.address)
    page.wait_for_selector("#model:has-text('64 filters')")
    server.stop()
    page.wait_for_selector("#problem:has-text('connection to the server is lost')")
    context.close()


def test_the_picture_of_the_readme(open_page, tmp_path):
    """What the README shows: a drawing, read by a network that was trained in the page."""
    page = open_page(viewport={"width": 1280, "height": 1140})
    draw(page, "375")
    page.click("#train-new")
    page.wait_for_selector("#training:has-text('Stopped after epoch 3')")
    page.locator(".tile").nth(1).click()
    page.wait_for_timeout(300)
    path = Path(ROOT, os.environ["SCREENSHOT"]) if "SCREENSHOT" in os.environ else tmp_path / "page.png"
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=path)
    assert path.stat().st_size > 50_000
