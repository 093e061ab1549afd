"""What was found, as the page's HTML: the picture with everybody to point at, and a table."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np

from grouppose.inference.results import PERSON, Result
from grouppose.inference.visualize import person_colour

Categories = Sequence[tuple[int, str]]
_NAMED = 3  # classes that are listed where the page says what it finds


def without_pixels(result: Result) -> Result:
    """For a table alone: a video's pictures are not kept."""
    return replace(result, image=np.empty((0, 0, 3), dtype=np.uint8))


def figure(result: Result, drawing: Path, plain: Path, download: Path) -> str:
    """A picture as a figure that shows the drawing or the picture alone, and points at people.

    Whose row of the table has the focus or the pointer is framed.

    Args:
        result: what was found.
        drawing: file of the drawn picture that browsers show.
        plain: the same without the poses.
        download: file of the drawing, to keep.
    """
    height, width = result.keypoints.size
    size = f'width="{width}" height="{height}"'
    shown = "The picture with the poses that were found"
    choices = "".join(
        f'<label><input type="radio" name="shown" value="{value}"{checked}> {text}</label>'
        for value, text, checked in (
            ("drawing", "Drawing", " checked"),
            ("plain", "Picture alone", ""),
        )
    )
    return (
        f"<style>{_rules(len(result))}</style><figure>"
        f'<div class="layers"><img class="drawing" src="{_address(drawing)}" {size} alt="{shown}">'
        f'<img class="plain" src="{_address(plain)}" {size} alt="The picture alone">'
        f'<svg viewBox="0 0 {width} {height}" aria-hidden="true">{_frames(result)}</svg></div>'
        f'<figcaption><fieldset aria-label="Show">{choices}</fieldset>'
        f'<a href="{_address(download)}" download="{html.escape(download.name)}">'
        "Download drawing</a></figcaption></figure>"
    )


def _address(path: Path) -> str:
    return f"gradio_api/file={quote(str(path))}"


def _rules(number_of_people: int) -> str:
    """Shows the frame of the person whose row has the pointer or, where none has, the focus."""
    rules = []
    for number in range(1, number_of_people + 1):
        row, frame = (f'{kind}[data-person="{number}"]' for kind in ("#people tr", "#picture g"))
        pointed, focused = f"body:has({row}:hover)", f"body:has({row}:focus):not(:has(tr:hover))"
        rules.append(f"{pointed} {frame}, {focused} {frame} {{ opacity: 1 }}")
    return "".join(rules)


def _frames(result: Result) -> str:
    """Everybody's box, and a shade over the rest of the picture."""
    height, width = result.keypoints.size
    margin = 0.02 * max(height, width)
    frames = []
    for i, (x0, y0, x1, y1) in enumerate(result.boxes):
        left, top = max(0.0, x0 - margin), max(0.0, y0 - margin)
        right, bottom = min(float(width), x1 + margin), min(float(height), y1 + margin)
        box = f"M{left:.1f} {top:.1f}H{right:.1f}V{bottom:.1f}H{left:.1f}Z"
        frames.append(
            f'<g data-person="{i + 1}"><path class="shade" d="M0 0H{width}V{height}H0Z{box}"/>'
            f'<path class="frame" d="{box}" stroke="{_colour(_number(result, i))}"/></g>'
        )
    return "".join(frames)


def _number(result: Result, person: int) -> int:
    """What the drawing's colour goes by."""
    return person if result.ids is None else int(result.ids[person])


def _colour(number: int) -> str:
    red, green, blue = person_colour(number)
    return f"rgb({red}, {green}, {blue})"


def describe(results: Sequence[Result], seconds: float | None = None) -> str:
    """A table of the people of a picture, or of a video's.

    Args:
        results: of all its pictures.
        seconds: that finding them took, if that is to be told.
    """
    took = "" if seconds is None else f", in {_time(seconds)}"
    if len(results) == 1 and results[0].ids is None:
        return _people_of_picture(results[0], took)
    return _people_of_video(results, took)


def _people_of_picture(result: Result, took: str) -> str:
    found = result.keypoints.found
    some_missing = not found.all()
    rows = []
    for i, score in enumerate(result.scores):
        x0, y0, x1, y1 = result.boxes[i].round().astype(int)
        row = [_swatch(i, i + 1), *_kind(result, i), f"{score:.2f}", f"{x0}, {y0}"]
        row.append(f"{x1 - x0} x {y1 - y0}")
        rows.append(row + [f"{found[i].sum()} of {len(found[i])}"] * some_missing)
    header = ["Number", *_kind(result), "Score", "Left, top", "Size"] + ["Keypoints"] * some_missing
    title = count(result.category_names, result.categories)
    return _table(f"{title}{took}", header, rows)


def _people_of_video(results: Sequence[Result], took: str) -> str:
    seen: dict[int, list[tuple[int, float]]] = {}
    names: dict[int, str] = {}
    kinds: dict[int, list[str]] = {}
    for result in results:
        for i, (number, score) in enumerate(zip(result.ids, result.scores, strict=True)):
            seen.setdefault(int(number), []).append((result.frame, float(score)))
            names[int(number)], kinds[int(number)] = result.category_names[i], _kind(result, i)
    rate = results[0].rate
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
    header = ["Number", *_kind(results[0]), "Best score", "First seen", "Last seen", "Pictures"]
    who = count(list(names.values()), results[0].categories)
    return _table(f"{who} in {len(results)} pictures{took}", header, rows)


def _time(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _kind(result: Result, person: int | None = None) -> list[str]:
    """A column for the class, where there are several: its title, or a person's cell."""
    if len(result.categories) == 1:
        return []
    return ["Class"] if person is None else [html.escape(result.category_names[person])]


def count(names: Sequence[str], categories: Categories = PERSON) -> str:
    """How many of each class: "1 person", "2 people", "3 x cat, 1 x dog"."""
    people = {name for _, name in categories} == {"person"}
    if not names:
        return "Nobody found" if people else "Nothing found"
    if set(names) == {"person"}:
        return "1 person" if len(names) == 1 else f"{len(names)} people"
    counts = Counter(names).items()
    return ", ".join(f"{number} x {html.escape(name)}" for name, number in counts)


def sought(categories: Categories) -> str:
    """What a model finds, in a sentence: "person", "cat and dog"."""
    names = [html.escape(name) for _, name in categories]
    if len(names) > _NAMED:
        return f"thing of {len(names)} kinds"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _swatch(colour: int, number: int) -> str:
    """A person's number behind the colour that it has in the drawing."""
    return f'<i style="background: {_colour(colour)}"></i>{number}'


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return f'<p class="count" role="status">{title}</p><p>A lower threshold may show more.</p>'
    head = "".join(f'<th scope="col">{name}</th>' for name in header)
    body = "".join(
        f'<tr tabindex="0" data-person="{number}"><th scope="row">{first}</th>'
        f"{''.join(f'<td>{cell}</td>' for cell in rest)}</tr>"
        for number, (first, *rest) in enumerate(rows, start=1)
    )
    kind = ' class="classes"' if "Class" in header else ""
    return (
        f'<p class="count" role="status">{title}</p><table{kind}>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )
