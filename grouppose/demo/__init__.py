"""A small model that knows drawn people, and a picture of some; README.md: how they were made."""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "people.safetensors"
PICTURE = Path(__file__).parent / "people.png"
NOTE = (
    "This is the demo's small model: it knows drawn people only. For photographs give a published "
    "checkpoint or one of your own: --weights FILE"
)
