"""The web page, built of Gradio's parts."""

from __future__ import annotations

import contextlib
import html
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from grouppose import demo
from grouppose.errors import InputError
from grouppose.inference.found import Categories, describe, figure, sought, without_pixels
from grouppose.inference.reading import PICTURES
from grouppose.inference.results import Result
from grouppose.inference.uploads import VIDEOS
from grouppose.inference.writer import WEBM, Writer
from grouppose.version import __version__

if TYPE_CHECKING:
    from grouppose.inference.guard import Listeners
    from grouppose.inference.uploads import Limits
    from grouppose.inference.web import Service

_VIEWED = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")  # by every browser
_SCROLL = """() => {
  const found = document.querySelector("#found");
  if (found.getBoundingClientRect().top > window.innerHeight / 2) found.scrollIntoView();
}"""  # on a phone it is far below
_STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
_FIGURE = """
<svg viewBox="0 0 120 130" role="img" aria-label="" fill="none" stroke-width="7"
     stroke-linecap="round" stroke-linejoin="round">
  <path class="middle" d="M60 40 V74"/>
  <path class="left" d="M60 40 L86 34 L100 12 M60 74 L80 96 L78 122"/>
  <path class="right" d="M60 40 L34 46 L24 70 M60 74 L40 96 L46 122"/>
  <circle class="middle" cx="60" cy="22" r="11"/>
</svg>"""


def look() -> dict[str, Any]:
    """Theme and style: fonts of the reader's machine, nothing from elsewhere."""
    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.sky,
        neutral_hue=gr.themes.colors.slate,
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
        radius_size=gr.themes.sizes.radius_lg,
    ).set(body_text_color_subdued="*neutral_500", body_text_color_subdued_dark="*neutral_400")
    return {"theme": theme, "css": _STYLE}


@dataclass
class Shown:
    """What a client's page shows, or will in a moment.

    Attributes:
        source: the file that it was found in.
        turn: of the request whose answer counts: the last one.
    """

    source: Path | None = None
    turn: int = 0


class _Unwanted(Exception):
    """Nobody waits for what is being computed."""


class Finder:
    """What the page's controls call; each call fills all outputs, or changes none.

    Args:
        service: that predicts.
        folder: for what is drawn, a folder of its own each time.
        listeners: the clients that wait for answers.
    """

    def __init__(self, service: Service, folder: Path, listeners: Listeners) -> None:
        self.service, self.folder, self.listeners = service, folder, listeners

    def find(
        self,
        source: str | Path | None,
        threshold: float,
        shown: Shown,
        session: str,
        progress: Any = None,
    ) -> list[Any]:
        """Finds people in an upload, as long as its client waits for them and asks nothing else.

        Args:
            source: its path; None: nothing is shown.
            threshold: least score.
            shown: of the client; changed.
            session: of the client.
            progress: called with the share that is done.

        Returns:
            Of welcome, message, picture, video, table and download, what changes.
        """
        shown.turn += 1
        turn, shown.source = shown.turn, Path(source) if source else None
        if not source:
            return self._outputs(welcome=True)
        began = time.monotonic()

        def proceed() -> None:
            if shown.turn != turn or self.listeners.left(session, began):
                raise _Unwanted

        try:
            outputs = self._draw(Path(source), threshold, proceed, progress)
            proceed()
        except _Unwanted:
            return [gr.skip()] * 6
        return self._outputs(**outputs)

    def find_again(self, threshold: float, shown: Shown, session: str) -> list[Any]:
        """Finds people in a picture with another threshold; a video would take too long."""
        if shown.source is None or shown.source.suffix.lower() in VIDEOS:
            return [gr.skip()] * 6
        return self.find(shown.source, threshold, shown, session)

    def _draw(
        self, path: Path, threshold: float, proceed: Callable[[], None], progress: Any
    ) -> dict[str, Any]:
        """Writes drawing and JSON; both are deleted like uploads, or at once if unwanted."""
        if not path.exists():
            return {"message": "this upload was deleted in the meantime; choose the file again"}
        folder = Path(tempfile.mkdtemp(prefix="drawn-", dir=self.folder))
        began, results = time.perf_counter(), []
        try:
            with (
                Writer(folder, with_json=True, video=WEBM) as writer,
                contextlib.closing(self.service.results(path, path.name, threshold)) as found,
            ):
                proceed()
                for result in found:
                    proceed()
                    writer.add(result)
                    results.append(without_pixels(result))
                    if progress is not None and result.rate:
                        progress((result.frame + 1, None), unit="pictures")
            drawn, notes = writer.written
            table = describe(results, time.perf_counter() - began)
            if drawn.suffix == WEBM[0]:
                return {"video": str(drawn), "table": table, "notes": str(notes)}
            return {"picture": _figure(result, drawn), "table": table, "notes": str(notes)}
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, InputError):
                return {"message": str(error)}
            raise

    def _outputs(
        self,
        welcome: bool = False,
        message: str = "",
        picture: str = "",
        video: str | None = None,
        table: str = "",
        notes: str | None = None,
    ) -> list[Any]:
        alert = f'<div role="alert" class="alert">{html.escape(message)}</div>' if message else ""
        return [
            gr.update(visible=welcome),
            gr.update(value=alert, visible=bool(message)),
            gr.update(value=picture, visible=bool(picture)),
            gr.update(value=video, visible=video is not None),
            gr.update(value=table, visible=bool(table)),
            gr.update(value=notes, visible=notes is not None),
        ]


def _figure(result: Result, drawn: Path) -> str:
    """Shows a drawing and its picture, both in formats that browsers know."""
    ending = ".jpg" if drawn.suffix in (".jpg", ".jpeg") else ".png"
    plain, drawing = drawn.with_name(f"plain{ending}"), drawn
    Image.fromarray(result.image).save(plain)
    if drawn.suffix not in _VIEWED:
        drawing = drawn.with_name("drawing.png")
        with Image.open(drawn) as picture:
            picture.save(drawing)
    return figure(result, drawing, plain, drawn)


def build_page(service: Service, folder: Path, listeners: Listeners, note: str) -> gr.Blocks:
    """Puts the page together; see `web.build_app`."""
    finder, limits = Finder(service, folder, listeners), service.limits
    with gr.Blocks(title="grouppose", analytics_enabled=False) as page:
        gr.HTML(_header(note, service.predictor.categories))
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=300):
                with gr.Tabs():
                    with gr.Tab("File"):
                        upload = gr.File(
                            label="Picture or video",
                            file_types=["image", "video", *PICTURES, *VIDEOS],
                            height=170,
                            elem_id="upload",
                        )
                    with gr.Tab("Camera"):
                        camera = gr.Image(
                            label="Camera",
                            sources=["webcam"],
                            type="filepath",
                            image_mode=None,
                            elem_id="camera",
                        )
                example = gr.Button("Try a drawn example", size="md", elem_id="example")
                threshold = gr.Slider(
                    0,
                    1,
                    value=service.predictor.threshold,
                    step=0.05,
                    label="Threshold",
                    info="Least score that is shown. To a video it applies with the next upload.",
                    elem_id="threshold",
                )
            with gr.Column(scale=3, min_width=300, elem_id="found"):
                welcome = gr.HTML(_WELCOME, elem_id="welcome")
                message = gr.HTML(visible=False, elem_id="message")
                picture = gr.HTML(visible=False, elem_id="picture")
                video = gr.Video(
                    visible=False, interactive=False, label="Poses", loop=True, elem_id="video"
                )
                table = gr.HTML(visible=False, elem_id="people")
                notes = gr.DownloadButton("Download JSON", visible=False, size="md", elem_id="json")
        gr.HTML(_footer(limits))
        fields = [upload, camera, example, threshold]
        _connect(finder, fields, [welcome, message, picture, video, table, notes])
    page.queue(max_size=limits.waiting, default_concurrency_limit=1)
    return page


def _connect(finder: Finder, fields: list[Any], outputs: list[Any]) -> None:
    """What happens when."""
    upload, camera, example, threshold = fields
    shown = gr.State(Shown())

    def find(
        source: str | None,
        threshold: float,
        shown: Shown,
        request: gr.Request,
        progress: Any = gr.Progress(),  # noqa: B008
    ) -> list[Any]:
        return finder.find(source, threshold, shown, request.session_hash, progress)

    def find_again(threshold: float, shown: Shown, request: gr.Request) -> list[Any]:
        return finder.find_again(threshold, shown, request.session_hash)

    def find_example(threshold: float, shown: Shown, request: gr.Request) -> list[Any]:
        found = finder.find(demo.PICTURE, threshold, shown, request.session_hash)
        return [None, None, *found]

    def clear(shown: Shown, request: gr.Request) -> list[Any]:
        return finder.find(None, 0.0, shown, request.session_hash)

    asked = {"outputs": outputs, "api_visibility": "private", "concurrency_id": "find"}
    from_upload = upload.upload(find, [upload, threshold, shown], show_progress_on=upload, **asked)
    cleared = {**asked, "concurrency_id": "clear", "concurrency_limit": None}
    from_camera = camera.input(find, [camera, threshold, shown], show_progress_on=camera, **asked)
    emptied = {**asked, "outputs": [upload, camera, *outputs]}  # of names of other files
    from_example = example.click(
        find_example, [threshold, shown], show_progress="minimal", **emptied
    )
    again = threshold.change(
        find_again,
        [threshold, shown],
        trigger_mode="always_last",
        show_progress="hidden",
        **asked,
    )
    finding = [from_upload, from_camera, from_example]
    for found in finding:
        found.then(None, js=_SCROLL, api_visibility="private")
    # What was asked before is neither begun nor, should its answer be on the way, shown.
    for field in (upload, camera):
        field.clear(clear, [shown], cancels=[*finding, again], **cleared)


def _header(note: str, categories: Categories) -> str:
    note = html.escape(note).replace("--weights FILE", "<code>--weights FILE</code>")
    text = f'<p class="note">{note}</p>' if note else ""
    return (
        f"<header><h1>grouppose</h1><p>The keypoints of every {sought(categories)} in a picture or "
        f"a short video.</p>{text}</header>"
    )


_WELCOME = f"""<div class="welcome">{_FIGURE}
<p><b>Nothing to show yet.</b></p>
<ol><li>Drop a picture or a short video into the field, or take one with the camera.</li>
<li>What is found is drawn here, with a table and a JSON file.</li>
<li>No picture at hand? Try the drawn example.</li></ol></div>"""


def _footer(limits: Limits) -> str:
    return (
        "<footer><p>Takes JPEG, PNG, WebP, AVIF, GIF, BMP, TIFF, MP4, MOV, WebM, AVI, MKV; "
        f"up to {limits.megabytes:g} MB, {limits.megapixels:g} megapixels, "
        f"{limits.seconds:g} seconds. This server computes them, keeps them for ten minutes and "
        "passes them on to nobody.</p>"
        f"<p>grouppose {__version__}. For programs: <code>POST /api/predict</code>, "
        "<code>GET /api/health</code>.</p></footer>"
    )
