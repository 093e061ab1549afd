"""EXIF's orientation: which way up a picture file is, and which way its labels are."""

from __future__ import annotations

import struct

from PIL import ExifTags, Image

EXIF = ("turn", "ignore")  # what to do with an orientation that labels do not tell about
TURNS = {  # by orientation, from the stored picture to the one that is shown
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PNG = b"\x89PNG\r\n\x1a\n"
_TEXT = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")  # chunks that may hold an orientation


def exif_case(orientation: int, stored: tuple[int, int], stated: tuple[int, int] | None) -> str:
    """Which picture labels belong to, by the size that they state.

    Args:
        orientation: of EXIF, 1 to 8.
        stored: height and width as the file holds the picture.
        stated: height and width of the annotations; None: they state none.

    Returns:
        "stored" or "turned"; "either" where nothing tells them apart; "same" where there is
        nothing to turn; "neither" where the size is another one.
    """
    turned = stored[::-1] if orientation >= 5 else stored
    if stated is not None and stated not in (stored, turned):
        return "neither"
    if orientation not in TURNS:
        return "same"
    if stated is None or stored == turned:
        return "either"
    return "turned" if stated == turned else "stored"


def orientation_of(picture: Image.Image) -> tuple[int, tuple[int, int]]:
    """Its orientation, 1 where it has none, and the stored height and width; pixels stay undecoded
    but where a PNG's text or EXIF follows them."""
    plain = picture.format == "PNG" and not _has_late_text(picture)
    exif = Image.Image.getexif(picture) if plain else picture.getexif()  # a PNG's own decodes it
    orientation = exif.get(ExifTags.Base.Orientation, 1)
    width, height = picture.size
    if type(orientation) is not int or orientation not in TURNS:
        return 1, (height, width)
    turned = _turns_itself(picture) and orientation >= 5
    return orientation, (width, height) if turned else (height, width)


def _has_late_text(picture: Image.Image) -> bool:
    """Whether a PNG that is not decoded yet has chunks of text or EXIF after its pixels."""
    file = picture.fp
    if file is None:
        return False
    place, pixels, late = file.tell(), False, False
    file.seek(len(_PNG))
    while not late and len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        late = pixels and name in _TEXT
        pixels |= name == b"IDAT"
        file.seek(length + 4, 1)  # over its check sum too
    file.seek(place)
    return late


def _turns_itself(picture: Image.Image) -> bool:
    return picture.format == "TIFF"  # Pillow turns these, and these alone, while it decodes


def upright(picture: Image.Image) -> Image.Image:
    """The picture as it is to be shown."""
    orientation, _ = orientation_of(picture)
    if orientation == 1 or _turns_itself(picture):
        return picture
    return picture.transpose(TURNS[orientation])


def as_stored(picture: Image.Image) -> Image.Image:
    """The picture as its file holds it."""
    orientation, _ = orientation_of(picture)
    if orientation == 1 or not _turns_itself(picture):
        return picture
    back = {6: 8, 8: 6}.get(orientation, orientation)  # the others are their own inverse
    return picture.transpose(TURNS[back])
