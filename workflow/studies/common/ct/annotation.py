"""Tumour boxes in the XML of Pascal VOC, a file per slice, named by the slice's SOP instance UID."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import defusedxml.ElementTree
import numpy as np
from defusedxml.common import DefusedXmlException
from numpy.typing import NDArray

from studies.common.ct.dicom import MOST_PIXELS, UID
from studies.common.ct.files import UserFiles, check_unreadable
from studies.common.errors import CtError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element  # noqa: TID251 (a type, parses nothing)

# A slice has a handful of boxes, each of some 300 bytes.
MOST_BYTES = 2**20
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_MEND = "Correct the annotation, or remove it."


@dataclass(frozen=True)
class Boxes:
    """Boxes that can be used, and counts of those that lie outside of the image, and of those without an area.

    `corners`: float64 (n, 4), xmin, ymin, xmax, ymax, px; xmin < xmax and ymin < ymax, within the image.
    """

    corners: NDArray[np.float64]
    names: tuple[str, ...] = field(repr=False)
    outside: int
    empty: int

    def __len__(self) -> int:
        return len(self.corners)


def read_voc(path: str | os.PathLike[str], width: int, height: int, where: str) -> Boxes:
    """Read the boxes of a Pascal VOC file on an image of `width` by `height` px.

    What it says of file, folder and path is ignored: annotations were made elsewhere. Coordinates are those of pixels'
    edges, as written; they may have decimals. `where` is how messages call the file, and no message repeats a value.

    Raises CtError for XML that is broken, larger than `MOST_BYTES`, declares entities or a document type, or is no
    Pascal VOC; for a corner that is missing or no number; and for an annotation of an image of another size.
    """
    root = _parse(path, where)
    if root.tag != "annotation":
        raise _wrong("the XML is no Pascal VOC: its root is not <annotation>", where)
    declared = tuple(_side(root, key, where) or side for key, side in (("width", width), ("height", height)))
    objects = root.findall("object")
    corners = [[_number(item, f"bndbox/{key}", where) for key in _CORNERS] for item in objects]
    names = [(item.findtext("name") or "").strip() for item in objects]
    if declared != (width, height):
        found = f"{declared[0]} x {declared[1]}, the slice {width} x {height} px"
        raise _wrong("the annotation is of another size than its slice", where, found)
    return fit_boxes(np.array(corners, np.float64).reshape(-1, 4), names, width, height)


def fit_boxes(corners: NDArray[np.float64], names: Sequence[str], width: float, height: float) -> Boxes:
    """Order the corners of boxes, float64 (n, 4): x, y, x, y, px, and clip what goes beyond the image."""
    low, high = np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])
    empty = (low == high).any(axis=1)
    # One that only touches the border shows none of it.
    outside = ~empty & ((low >= (width, height)) | (high <= 0)).any(axis=1)
    good = ~empty & ~outside
    kept = np.clip(np.hstack([low, high])[good], 0, [width, height, width, height])
    return Boxes(kept, tuple(n for n, ok in zip(names, good, strict=True) if ok), int(outside.sum()), int(empty.sum()))


@dataclass(frozen=True)
class Annotations:
    """The annotation files below a folder: their numbers in `files` by the SOP instance UID of their slice.

    `wrong_names` and `duplicates` count XML files not named by a UID, and those of a UID that an earlier file has.
    """

    files: UserFiles
    numbers: dict[str, int] = field(repr=False)
    wrong_names: int
    duplicates: int

    def matching(
        self, sizes: Mapping[str, tuple[int, int]], max_unreadable: float
    ) -> tuple[dict[str, Boxes], dict[str, int]]:
        """Boxes of the slices that have an annotation, by UID, and counts of what was found and left out.

        `sizes` holds width and height of every slice, px. Raises CtError if more than a share of `max_unreadable` of
        the matching annotations cannot be used.
        """
        matched = {uid: self.numbers[uid] for uid in sizes if uid in self.numbers}
        boxes: dict[str, Boxes] = {}
        unusable: list[tuple[int, str]] = []
        for uid, number in matched.items():
            try:
                boxes[uid] = read_voc(self.files.path(number), *sizes[uid], self.files.label(number))
            except CtError as error:
                unusable.append((number, error.what))
        check_unreadable(self.files, unusable, len(matched), max_unreadable)
        return boxes, {
            "annotation_without_dicom": len(self.numbers) - len(matched),
            "wrong_names": self.wrong_names,
            "duplicate_annotations": self.duplicates,
            "unusable_annotations": len(unusable),
            "outside_boxes": sum(each.outside for each in boxes.values()),
            "empty_boxes": sum(each.empty for each in boxes.values()),
        }


NO_ANNOTATIONS = Annotations(UserFiles(Path(), "", ()), {}, 0, 0)


def find_annotations(files: UserFiles) -> Annotations:
    """Tell which slice each XML file, at whatever depth, belongs to: its name is a UID. Nothing is read."""
    numbers: dict[str, int] = {}
    wrong = duplicates = 0
    for number in files.visible():
        name = Path(files.name(number))
        if name.suffix.lower() != ".xml":
            continue
        if not UID.fullmatch(name.stem):
            wrong += 1
        elif name.stem in numbers:
            duplicates += 1
        else:
            numbers[name.stem] = number
    return Annotations(files, numbers, wrong, duplicates)


def _parse(path: str | os.PathLike[str], where: str) -> "Element":
    try:
        with Path(path).open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise _wrong("the annotation cannot be opened", where, error.strerror) from None
    if len(data) > MOST_BYTES:
        raise _wrong("the annotation is larger than one of boxes can be", where, f"more than {MOST_BYTES >> 10} KiB")
    try:
        root: Element = defusedxml.ElementTree.fromstring(data, forbid_dtd=True)
    except DefusedXmlException:
        what = "the XML declares a document type or entities, which annotations never need and attacks do"
        mend = "Do not use this file before you know where it comes from."
        raise CtError(what, where=where, mend=mend) from None
    except (defusedxml.ElementTree.ParseError, ValueError, LookupError):
        raise _wrong("the annotation is not well-formed XML", where) from None
    return root


def _side(root: "Element", key: str, where: str) -> int | None:
    """Declared width or height; 0, as some programs write that do not know it, is as none."""
    if root.find(f"size/{key}") is None:
        return None
    side = _number(root, f"size/{key}", where)
    if side != int(side) or not 0 <= side <= MOST_PIXELS:
        raise _wrong(f"{key} of the annotated image is no size", where)
    return int(side) or None


def _number(element: "Element", place: str, where: str) -> float:
    text = element.findtext(place)
    if text is None:
        raise _wrong(f"{place} is missing", where)
    try:
        number = float(text)
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise _wrong(f"{place} is not a number", where)
    return number


def _wrong(what: str, where: str, found: object = None) -> CtError:
    return CtError(what, where=where, found=found, mend=_MEND)
