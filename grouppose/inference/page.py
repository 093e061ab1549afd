"""The web page, built of Gradio's parts."""

from __future__ import annotations

import html
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from grouppose import demo
from grouppose.errors import InputError
from grouppose.inference.reading import PICTURES
from grouppose.inference.results import Result
from grouppose.inference.uploads import VIDEOS
from grouppose.inference.visualize import person_colour
from grouppose.inference.writer import WEBM, Writer
from grouppose.version import __version__

if TYPE_CHECKING:
    from grouppose.inference.uploads import Limits
    from grouppose.inference.web import Service

_SURE = 0.5  # confidence from which a keypoint counts as certain
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


class Finder:
    """What the page's controls call; each call fills all outputs.

    Args:
        service: that predicts.
        folder: for what is drawn, a folder of its own each time.
    """

    def __init__(self, service: Service, folder: Path) -> None:
        self.service, self.folder = service, folder

    def find(self, source: str | None, threshold: float, progress: Any = None) -> list[Any]:
        """Finds people in an upload.

        Args:
            source: its path; None: nothing is shown.
            threshold: least score.
            progress: called with the share that is done.

        Returns:
            Of source, welcome, message, picture, video, table and download, what changes.
        """
        if not source:
            return self._outputs(None)
        try:
            return self._outputs(source, **self._draw(Path(source), threshold, progress))
        except InputError as error:
            return self._outputs(source, message=str(error))

    def find_again(self, source: str | None, threshold: float) -> list[Any]:
        """Finds people in a picture with another threshold; a video would take too long."""
        if not source or Path(source).suffix.lower() in VIDEOS:
            return [gr.skip()] * 7
        return self.find(source, threshold)

    def _draw(self, path: Path, threshold: float, progress: Any) -> dict[str, Any]:
        """Writes drawing and JSON; both are deleted like uploads."""
        if not path.exists():
            raise InputError("this upload was deleted in the meantime; choose the file again")
        results = []
        folder = Path(tempfile.mkdtemp(prefix="drawn-", dir=self.folder))
        with Writer(folder, with_json=True, video=WEBM) as writer:
            for result in self.service.results(path, path.name, threshold):
                writer.add(result)
                results.append(_without_pixels(result))
                if progress is not None and result.rate:
                    progress((result.frame + 1, None), unit="pictures")
        drawn, notes = writer.written
        kind = "video" if drawn.suffix == WEBM[0] else "picture"
        return {kind: str(drawn), "table": describe(results), "notes": str(notes)}

    def _outputs(
        self,
        source: str | None,
        message: str = "",
        picture: str | None = None,
        video: str | None = None,
        table: str = "",
        notes: str | None = None,
    ) -> list[Any]:
        alert = f'<div role="alert" class="alert">{html.escape(message)}</div>' if message else ""
        return [
            source,
            gr.update(visible=source is None),
            gr.update(value=alert, visible=bool(message)),
            gr.update(value=picture, visible=picture is not None),
            gr.update(value=video, visible=video is not None),
            gr.update(value=table, visible=bool(table)),
            gr.update(value=notes, visible=notes is not None),
        ]


def _without_pixels(result: Result) -> Result:
    """For the table alone: a video's pictures are not kept."""
    return replace(result, image=np.empty((0, 0, 3), dtype=np.uint8))


def describe(results: Sequence[Result]) -> str:
    """A table of the people of a picture, or of a video's, as HTML."""
    if len(results) == 1 and results[0].ids is None:
        return _people_of_picture(results[0])
    return _people_of_video(results)


def _people_of_picture(result: Result) -> str:
    rows = []
    for i, score in enumerate(result.scores):
        x0, y0, x1, y1 = result.boxes[i].round().astype(int)
        confidence = result.keypoints.confidence[i]
        sure = f"{int((confidence >= _SURE).sum())} of {len(confidence)}"
        size = f"{x1 - x0} x {y1 - y0}"
        kind = _kind(result, i)
        rows.append([_swatch(i, i + 1), *kind, f"{score:.2f}", f"{x0}, {y0}", size, sure])
    header = ["Number", *_kind(result), "Score", "Left, top", "Size", "Sure keypoints"]
    return _table(_count(result.category_names), header, rows)


def _people_of_video(results: Sequence[Result]) -> str:
    seen: dict[int, list[tuple[int, float]]] = {}
    names: dict[int, str] = {}
    kinds: dict[int, list[str]] = {}
    for result in results:
        for i, (number, score) in enumerate(zip(result.ids, result.scores, strict=True)):
            seen.setdefault(int(number), []).append((result.frame, float(score)))
            names[int(number)], kinds[int(number)] = result.category_names[i], _kind(result, i)
    rate = results[0].rate if results else 1.0
    rows = [
        [
            _swatch(number, number),
            *kinds[number],
            f"{max(score for _, score in found):.2f}",
            f"{found[0][0] / rate:.1f} s",
            f"{found[-1][0] / rate:.1f} s",
            str(len(found)),
        ]
        for number, found in sorted(seen.items())
    ]
    kind = _kind(results[0]) if results else []
    header = ["Number", *kind, "Best score", "First seen", "Last seen", "Pictures"]
    title = f"{_count(list(names.values()))} in {len(results)} pictures"
    return _table(title, header, rows)


def _kind(result: Result, person: int | None = None) -> list[str]:
    """A column for the class, where there are several: its title, or a person's cell."""
    if len(result.categories) == 1:
        return []
    return ["Class"] if person is None else [html.escape(result.category_names[person])]


def _count(names: Sequence[str]) -> str:
    """How many of each class: "1 person", "2 people", "3 x cat, 1 x dog"."""
    if set(names) <= {"person"}:
        count = len(names)
        return {0: "Nobody found", 1: "1 person"}.get(count, f"{count} people")
    counts = Counter(names).items()
    return ", ".join(f"{count} x {html.escape(name)}" for name, count in counts)


def _swatch(colour: int, number: int) -> str:
    """A person's number behind the colour that it has in the drawing."""
    red, green, blue = person_colour(colour)
    return f'<i style="background: rgb({red}, {green}, {blue})"></i>{number}'


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return f'<p class="count" role="status">{title}</p><p>A lower threshold may show more.</p>'
    head = "".join(f'<th scope="col">{name}</th>' for name in header)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return (
        f'<p class="count" role="status">{title}</p><div class="rows" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def build_page(service: Service, folder: Path, note: str) -> gr.Blocks:
    """Puts the page together; see `web.build_app`."""
    finder, limits = Finder(service, folder), service.limits
    with gr.Blocks(title="grouppose", analytics_enabled=False) as page:
        gr.HTML(_header(note))
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
                    info="Least score of a person. To a video it applies with the next upload.",
                    elem_id="threshold",
                )
            with gr.Column(scale=3, min_width=300):
                welcome = gr.HTML(_WELCOME, elem_id="welcome")
                message = gr.HTML(visible=False, elem_id="message")
                picture = gr.Image(
                    visible=False,
                    interactive=False,
                    label="Poses",
                    alt_text="The picture with the poses that were found",
                    buttons=["download", "fullscreen"],
                    elem_id="picture",
                )
                video = gr.Video(
                    visible=False, interactive=False, label="Poses", loop=True, elem_id="video"
                )
                table = gr.HTML(visible=False, elem_id="people")
                notes = gr.DownloadButton("Download JSON", visible=False, size="md", elem_id="json")
        gr.HTML(_footer(limits))
        source = gr.State()
        outputs = [source, welcome, message, picture, video, table, notes]
        _connect(finder, upload, camera, example, threshold, outputs)
    page.queue(max_size=limits.waiting, default_concurrency_limit=1)
    return page


def _connect(
    finder: Finder, upload: Any, camera: Any, example: Any, threshold: Any, outputs: list[Any]
) -> None:
    """What happens when."""

    def find(source: str | None, threshold: float, progress: Any = gr.Progress()) -> list[Any]:  # noqa: B008
        return finder.find(source, threshold, progress)

    def find_example(threshold: float) -> list[Any]:
        return finder.find(str(demo.PICTURE), threshold)

    def clear() -> list[Any]:
        return finder.find(None, 0.0)

    shared = {"outputs": outputs, "api_visibility": "private", "concurrency_id": "find"}
    here = {"scroll_to_output": True, **shared}  # on a phone the outputs are far below
    upload.upload(find, [upload, threshold], show_progress_on=upload, **here)
    upload.clear(clear, **shared)
    camera.input(find, [camera, threshold], show_progress_on=camera, **here)
    example.click(find_example, [threshold], show_progress="minimal", **here)
    threshold.change(
        finder.find_again,
        [outputs[0], threshold],
        trigger_mode="always_last",
        show_progress="hidden",
        **shared,
    )


def _header(note: str) -> str:
    note = html.escape(note).replace("--weights FILE", "<code>--weights FILE</code>")
    text = f'<p class="note">{note}</p>' if note else ""
    return (
        "<header><h1>grouppose</h1><p>The keypoints of every person in a picture or a short video."
        f"</p>{text}</header>"
    )


_WELCOME = f"""<div class="welcome">{_FIGURE}
<p><b>Nothing to show yet.</b></p>
<ol><li>Drop a picture or a short video into the field, or take one with the camera.</li>
<li>Everybody who is found is drawn here, with a table and a JSON file.</li>
<li>No picture at hand? Try the drawn example.</li></ol></div>"""


def _footer(limits: Limits) -> str:
    return (
        "<footer><p>Takes JPEG, PNG, WebP, GIF, BMP, TIFF, MP4, MOV, WebM, AVI and MKV; up to "
        f"{limits.megabytes:g} MB, {limits.megapixels:g} megapixels, {limits.seconds:g} seconds. "
        "This server computes them, keeps them for ten minutes and passes them on to nobody.</p>"
        f"<p>grouppose {__version__}. For programs: <code>POST /api/predict</code>, "
        "<code>GET /api/health</code>.</p></footer>"
    )
