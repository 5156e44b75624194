#!/usr/bin/env python3
"""Draws on the page in a real browser and reads what it says: mouse, touch and keys, pictures, several digits, a phone.

Usage: page.py BINARY [--screenshot FILE.png]. Needs Python's selenium, Debian's chromium and chromium-driver.
"""

import argparse
import base64
import gzip
import json
import pathlib
import struct
import subprocess
import tempfile
import time
import zlib

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 60

# Strokes in hundredths of the paper's height, from its top left; each digit is about 40 wide and 60 high.
SEVEN = [[(5, 20), (40, 20), (15, 80)]]
ONE = [[(20, 20), (20, 80)]]
FOUR = [[(8, 18), (4, 52), (42, 52)], [(36, 20), (34, 84)]]


class Page:
    def __init__(self, address, *arguments):
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
                 "--disable-background-networking", "--disable-component-update", "--window-size=1100,820"]
        for flag in [*flags, *arguments]:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.browser = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        self.browser.get(f"http://{address}/")
        self.canvas = self.browser.find_element(By.ID, "canvas")

    def text(self, name):
        return self.browser.find_element(By.ID, name).text

    def wait(self, what, condition):
        try:
            return WebDriverWait(self.browser, PATIENCE, 0.05).until(lambda _: condition())
        except Exception as error:
            state = {name: self.text(name) for name in ["text", "problem", "model"]}
            raise SystemExit(f"{what}: it did not happen; the page says {state}") from error

    def reads(self, digits):
        self.wait(f"it reads {digits}", lambda: self.text("text") == digits)

    def draw(self, strokes, left=0, kind="mouse"):
        """Draws as a hand does: real pointer events with moves between them."""
        box = self.canvas.rect
        pointer = PointerInput(kind, "pen of the test")
        actions = ActionBuilder(self.browser, mouse=pointer, duration=20)

        def go(point):
            # Offsets count from the middle of the element.
            x = (left + point[0]) / 100 * box["height"] - box["width"] / 2
            y = (point[1] / 100 - 0.5) * box["height"]
            actions.pointer_action.move_to(self.canvas, int(x), int(y))

        for points in strokes:
            go(points[0])
            actions.pointer_action.pointer_down()
            for start, end in zip(points, points[1:]):
                for part in range(1, 6):
                    go([a + (b - a) * part / 5 for a, b in zip(start, end)])
            actions.pointer_action.pointer_up()
        actions.perform()

    def press(self, name):
        self.browser.find_element(By.ID, name).click()

    def close(self):
        """Nothing was blocked or failed on the way."""
        severe = [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]
        self.browser.quit()
        # A picture without ink is refused on purpose.
        severe = [message for message in severe if "422" not in message]
        assert not severe, severe


def desk(address, folder, screenshot):
    page = Page(address)
    page.wait("it names the network", lambda: "MNIST, epoch 10" in page.text("model"))
    page.draw(SEVEN, left=80)
    page.reads("7")
    best = page.browser.find_element(By.CSS_SELECTOR, "#bars .best")
    assert best.text.startswith("7") and best.text.endswith("%"), best.text
    assert "cropped" in page.text("prepared"), page.text("prepared")
    seen = "return [...document.getElementById('image').getContext('2d').getImageData(0, 0, 28, 28).data]"
    lit = sum(grey > 128 for grey in page.browser.execute_script(seen)[::4])
    assert 30 < lit < 300, f"{lit} pixels of what the network sees are lit"

    page.press("why")
    colours = "return new Set([...document.getElementById('image').getContext('2d').getImageData(0, 0, 28, 28).data].map(" \
        "(value, index, all) => all[4 * (index >> 2) + 2] - all[4 * (index >> 2)])).size"
    page.wait("what spoke for it is tinted", lambda: page.browser.execute_script(colours) > 20)
    page.press("why")

    page.press("clear")
    page.reads("–")
    for left, digit in [(10, FOUR), (75, ONE), (125, SEVEN)]:
        page.draw(digit, left)
    page.reads("417")
    chosen = page.browser.find_elements(By.CSS_SELECTOR, "#digits button")
    chosen[1].click()
    page.wait("the second digit is shown", lambda: page.browser.find_element(By.CSS_SELECTOR, "#bars .best").text[0] == "1")
    if screenshot:
        # The bars take a moment to grow.
        time.sleep(0.5)
        page.browser.save_screenshot(screenshot)
    page.press("undo")
    page.reads("41")

    page.press("clear")
    keys = ActionChains(page.browser)
    page.browser.execute_script("document.getElementById('canvas').focus()")
    for _ in range(16):
        keys.send_keys(Keys.ARROW_UP)
    keys.send_keys(Keys.SPACE)
    for _ in range(28):
        keys.send_keys(Keys.ARROW_DOWN)
    keys.send_keys(Keys.SPACE).perform()
    page.reads("1")
    ActionChains(page.browser).send_keys("z").perform()
    page.reads("–")

    page.browser.find_element(By.ID, "file").send_keys(str(folder / "digit.png"))
    page.reads("7")
    page.browser.find_element(By.ID, "file").send_keys(str(folder / "blank.png"))
    page.wait("it says that the picture is blank", lambda: "blank" in page.text("problem"))
    page.draw(ONE, left=80)
    page.reads("1")
    assert page.text("problem") == "", page.text("problem")
    encoded = base64.b64encode((folder / "digit.png").read_bytes()).decode()
    for kind, field in [("ClipboardEvent('paste'", "clipboardData"), ("DragEvent('drop'", "dataTransfer")]:
        page.press("clear")
        page.reads("–")
        page.browser.execute_script(
            "const bytes = Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt(0));"
            "const data = new DataTransfer();"
            "data.items.add(new File([bytes], 'digit.png', {type: 'image/png'}));"
            f"document.dispatchEvent(new {kind}, {{{field}: data, cancelable: true}}))", encoded)
        page.reads("7")
    page.close()


def phone(address):
    page = Page(address, "--force-prefers-color-scheme=dark", "--force-dark-mode")
    page.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True})
    page.browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    page.browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
    page.browser.refresh()
    page.canvas = page.browser.find_element(By.ID, "canvas")
    page.draw(SEVEN, left=80, kind="touch")
    page.reads("7")
    wide = page.browser.execute_script("return document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, f"the page is {wide} pixels wider than the phone"
    back = page.browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert back == "rgb(21, 24, 28)", f"in the dark the page is {back}"
    page.close()


def locked(address):
    page = Page(address)
    page.wait("it asks for the token", lambda: page.browser.find_element(By.ID, "token").is_displayed())
    page.browser.find_element(By.ID, "token").send_keys("s3cret", Keys.ENTER)
    page.wait("it is let in", lambda: "MNIST" in page.text("model"))
    page.draw(ONE, left=80)
    page.reads("1")
    page.browser.quit()


def serve(binary, *arguments):
    command = [binary, "serve", "demo", "--sessions", ROOT / "sessions", "--addr", "127.0.0.1:0", "--json", *arguments]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return server, json.loads(server.stdout.readline())["addr"]


def pictures(folder):
    """Writes the pictures that are opened: the first test digit, and nothing."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def save(name, pixels):
        rows = b"".join(b"\0" + pixels[28 * row:28 * row + 28] for row in range(28))
        head = struct.pack(">IIBBBBB", 28, 28, 8, 0, 0, 0, 0)
        parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        (folder / name).write_bytes(b"\x89PNG\r\n\x1a\n" + parts)

    with gzip.open(ROOT / "src/data/mnist/t10k-images-idx3-ubyte.gz") as images:
        save("digit.png", images.read(16 + 784)[16:])
    save("blank.png", bytes(784))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary")
    parser.add_argument("--screenshot")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        pictures(folder)
        for name, extra, test in [
            ("at a desk", [], lambda address: desk(address, folder, arguments.screenshot)),
            ("on a phone in the dark", [], phone),
            ("with a token", ["--token", "s3cret"], locked),
        ]:
            server, address = serve(arguments.binary, *extra)
            began = time.monotonic()
            try:
                test(address)
            finally:
                server.terminate()
            assert server.wait(10) == 0, "the server ends in good order"
            print(f"{name}: good, {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
