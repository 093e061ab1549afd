"""Published checkpoints of all families, for `grouppose weights`."""

from __future__ import annotations

from grouppose import models

HOW = (
    "Their authors keep them where a browser is needed. Open an address, download the file, then:",
    "    grouppose info FILE",
    "    grouppose predict photos/ --weights FILE",
    "    python main.py -c CONFIG --coco_path DIR --resume FILE --eval",
    "A repository of the Hugging Face Hub is read by name: --weights hf:OWNER/NAME",
)


def listing() -> list[str]:
    """Lines: what each family publishes, as its published.py has it, and how to fetch it."""
    lines: list[str] = []
    for name in models.families():
        checkpoints = models.published(name, "CHECKPOINTS", ())
        rows = [_columns(checkpoint) for checkpoint in checkpoints]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines.append(f"{models.title(name)} ({name})" + ("" if rows else ": none are known"))
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            lines.append("    " + "  ".join(cells).rstrip())
        places = dict.fromkeys(place for c in checkpoints for place in c.get("where", ()))
        lines += [f"    {place}" for place in places]
        lines.append("")
    return [*lines, *HOW]


def _columns(checkpoint: dict) -> list[str]:
    """Backbone, data, AP in %, licence, size; what is not known is empty."""
    ap = f"AP {checkpoint['ap']:.1f}" if "ap" in checkpoint else ""
    size = f"{checkpoint['megabytes']} MB" if "megabytes" in checkpoint else ""
    named = (checkpoint.get(key, "") for key in ("backbone", "data"))
    return [*named, ap, checkpoint.get("licence", ""), size]
