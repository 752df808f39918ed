"""The explorer in a real browser: for its tests, and for the film of it.

`python tests/browser.py` makes `figures/explorer.gif` anew; it needs Chromium and the test images of MNIST.
"""

import io
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from replication import paths
from replication.plots import palette

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
# The map and the decoded image.
IMAGES = "Array.from(document.querySelectorAll('img.widget-image')).slice(0, 2).map(image => image.src)"
SIZE, WIDTH, FRAME_MS = (840, 600), 640, 200  # of the film: pixels on the page and in the file, time


@contextmanager
def voila() -> Iterator[str]:
    """The explorer as an app on a free port of this machine: its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    makefile = (paths.ROOT / "Makefile").read_text()
    options = [*re.search(r"^\tvoila (.+)$", makefile, re.MULTILINE)[1].split(), "--no-browser", f"--port={port}"]
    command = [sys.executable, "-m", "voila", *options, "--show_tracebacks=True"]
    server = subprocess.Popen(command, cwd=paths.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/"
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{url}voila/static/", timeout=1)
        except urllib.error.HTTPError:
            break
        except OSError:
            time.sleep(0.5)
    try:
        yield url
    finally:
        server.terminate()
        server.wait()


@contextmanager
def opened(url: str) -> Iterator[Page]:
    """A page with the explorer, ready for the reader; its `missing` are the addresses that the server did not have."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 1200})
        page.missing = []
        page.on("response", lambda response: page.missing.append(response.url) if response.status >= 400 else None)
        go(page, url)
        yield page
        browser.close()


def go(page: Page, url: str) -> None:
    """Open an address and wait for the widgets and their pictures."""
    page.goto(url, timeout=120_000)
    page.wait_for_selector(".widget-slider", timeout=120_000)
    page.wait_for_function(f"{IMAGES}.length === 2 && {IMAGES}.every(src => src.startsWith('blob:'))")


def changed(page: Page, before: list[str]) -> list[str]:
    """Wait until the decoded image is new; the addresses of the map and of it."""
    page.wait_for_function(f"before => {IMAGES}[1] !== before[1]", arg=before)
    return page.evaluate(IMAGES)


def film(url: str, file: Path) -> None:
    """A walk through two models as an animated picture: drag across the map, arrow keys, test images, faces."""
    with opened(f"{url}?model=MNIST, 2 latent dimensions&axes=1,2&z=-1.50,-1.20") as page:
        box = page.locator(".widget-vbox").first.bounding_box()
        clip = {"x": box["x"], "y": box["y"], "width": SIZE[0], "height": SIZE[1]}
        frames: list[bytes] = []

        def take(n: int = 1) -> None:
            page.wait_for_timeout(100)  # until the browser has drawn what the kernel sent
            frames.extend([page.screenshot(clip=clip)] * n)

        def act(action: Callable[[], object]) -> None:
            shown = page.evaluate(IMAGES)
            action()
            changed(page, shown)
            take()

        def drag(n: int) -> None:
            """Along an arc around the middle of the map."""
            area = page.locator("img.widget-image").first.bounding_box()
            angles = np.pi * np.linspace(0.75, 2.25, n)
            x = area["x"] + area["width"] * (0.5 + 0.36 * np.cos(angles))
            y = area["y"] + area["height"] * (0.5 - 0.36 * np.sin(angles))
            page.mouse.move(x[0], y[0])
            act(page.mouse.down)
            for point in zip(x[1:], y[1:], strict=True):
                act(lambda point=point: page.mouse.move(*point))
            page.mouse.up()

        take(3)
        drag(16)
        for key in ["ArrowUp"] * 4 + ["ArrowRight"] * 4:
            act(lambda key=key: page.keyboard.press(key))
        number = page.locator("input[type=number]").last
        for index in (7, 61):
            number.click()  # over the map, keys move the point
            number.fill(str(index))
            number.press("Enter")
            page.get_by_text(f"Test image {index} lands").wait_for()
            take(6)
        act(lambda: page.locator("select").first.select_option("Frey Face, 2 latent dimensions"))
        take(2)
        drag(16)
        take(5)
    _write_gif(frames, file)


def _write_gif(screenshots: list[bytes], file: Path) -> None:
    """Frames in one palette, of greys and of the pointer's colour, so that what stays the same costs nothing."""
    pointer = 255 * np.array(to_rgb(palette.POINTER))
    grey = np.linspace(0, 255, 48)[:, None].repeat(3, 1)
    mixed = [pointer + share * (tone - pointer) for tone in (0, 128, 255) for share in np.linspace(0, 0.75, 5)]
    colours = Image.new("P", (1, 1))
    colours.putpalette(np.concatenate([grey, mixed]).round().astype(int).ravel().tolist())
    size = WIDTH, WIDTH * SIZE[1] // SIZE[0]
    frames = [Image.open(io.BytesIO(png)).convert("RGB").resize(size, Image.Resampling.LANCZOS) for png in screenshots]
    first, *others = (frame.quantize(palette=colours, dither=Image.Dither.NONE) for frame in frames)
    first.save(file, save_all=True, append_images=others, duration=FRAME_MS, loop=0, optimize=True)


if __name__ == "__main__":
    with voila() as url:
        film(url, paths.figures("paper") / "explorer.gif")
