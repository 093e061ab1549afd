"""Takes the pictures of docs/web.md: the page with the drawn example, on a desktop and on a phone.

    python -m tests.inference.screenshots [docs]

Needs chromium, gradio and playwright.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from grouppose import demo
from grouppose.inference.predictor import Predictor
from grouppose.inference.uploads import Limits
from tests.inference.serving import running

VIEWS = {
    "page-desktop": {"viewport": {"width": 1160, "height": 760}},
    "page-phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True},
}


def main(folder):
    predictor = Predictor(demo.WEIGHTS, device="cpu")
    with tempfile.TemporaryDirectory() as uploads, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        with running(predictor, Path(uploads), Limits(), demo.NOTE) as site:
            for name, view in VIEWS.items():
                page = browser.new_page(**view)
                page.goto(site.url)
                page.get_by_text("Nothing to show yet").wait_for()
                page.locator("#upload input[type=file]").set_input_files(demo.PICTURE)
                page.locator("#people tbody tr").first.wait_for()
                page.locator("#picture .drawing").evaluate("image => image.decode()")
                page.wait_for_timeout(500)  # until what fades has faded
                page.screenshot(path=folder / f"{name}.png", full_page=True)
                with Image.open(folder / f"{name}.png") as picture:
                    small = picture.convert("RGB").quantize(256)
                small.save(folder / f"{name}.png", optimize=True)
                page.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
