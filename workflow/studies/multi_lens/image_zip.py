"""Zip archives of images: a folder per class, or a table of labels, whole or in the parts `train/` and `test/`.

Nothing is unpacked: names inside an archive choose classes and never become paths.
"""

from __future__ import annotations

import csv
import io
import math
import os
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drunet.errors import TrainingDataError

# Decoded bytes of a file: the whole of CIFAR-10 is 0.2 GB.
LIMIT = 2 * 1024**3
PARTS = {"training": ("train", "training"), "test": ("test", "testing")}
_PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP"}
_LABEL_FILES = {"labels.csv": ",", "labels.tsv": "\t"}

# Images with a label each as the file has it: a number or a class name.
Part = tuple[NDArray[np.uint8], list[Any]]


def read_zip(path: Path, part: str) -> Part:
    """Images and class names of one part (a key of `PARTS`) of an archive."""
    with zipfile.ZipFile(path) as archive:
        members = _members(archive, part)
        within_limit(sum(info.file_size for info in members.values()), path)
        labels = _listed_labels(archive, members)
        pictures = {name: info for name, info in members.items() if name.suffix.lower() in _PICTURES}
        if labels is None:
            labels = {name: name.parent.name for name in pictures}
            if homeless := [name for name, label in labels.items() if not label]:
                mend = "Put every picture into a folder named after its class, or add labels.csv (file, label)."
                raise refusal("a picture without a class", path, homeless[0].name, mend)
        lacking = [name for name in labels if name not in pictures]
        if lacking:
            mend = "Every file of labels.csv must be a PNG, JPEG or BMP in the zip."
            raise refusal("labels name a picture that is not there", path, lacking[0].name, mend)
        names = sorted(labels)
        return _pictures(archive, [pictures[name] for name in names], path), [labels[name] for name in names]


def _members(archive: zipfile.ZipFile, part: str) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """Files of a part by their names below its folder; of the whole archive, if it has no such folders."""
    files = _files(archive)
    if not _has_parts(files):
        # Archives are often made of one folder that holds all.
        inner = {PurePosixPath(*n.parts[1:]): i for n, i in files.items() if len(n.parts) > 1}
        if len({n.parts[0] for n in files}) > 1 or not _has_parts(inner):
            return files
        files = inner
    return {PurePosixPath(*n.parts[1:]): i for n, i in files.items() if n.parts[0].lower() in PARTS[part]}


def _files(archive: zipfile.ZipFile) -> dict[PurePosixPath, zipfile.ZipInfo]:
    files = {PurePosixPath(i.filename): i for i in archive.infolist() if not i.is_dir()}
    return {n: i for n, i in files.items() if not any(p.startswith((".", "__MACOSX")) for p in n.parts)}


def has_parts_in_it(path: str | os.PathLike[str]) -> bool:
    """Whether an archive has folders of its own for learning and judging."""
    with zipfile.ZipFile(path) as archive:
        return _files(archive).keys() != _members(archive, "test").keys()


def _has_parts(names: Iterable[PurePosixPath]) -> bool:
    known = {name for names in PARTS.values() for name in names}
    return any(len(name.parts) > 1 and name.parts[0].lower() in known for name in names)


def _listed_labels(
    archive: zipfile.ZipFile, members: dict[PurePosixPath, zipfile.ZipInfo]
) -> dict[PurePosixPath, str] | None:
    for name, delimiter in _LABEL_FILES.items():
        info = members.get(PurePosixPath(name))
        if info is not None:
            rows = csv.DictReader(io.StringIO(archive.read(info).decode("utf-8-sig")), delimiter=delimiter)
            if not {"file", "label"} <= set(rows.fieldnames or []):
                raise ValueError(f"{name} has no columns file and label")
            listed = list(rows)
            if any(not row["file"] or not row["label"] for row in listed):
                raise ValueError(f"a row of {name} lacks its file or its label")
            return {PurePosixPath(row["file"]): row["label"] for row in listed}
    return None


def _pictures(archive: zipfile.ZipFile, members: Sequence[zipfile.ZipInfo], path: Path) -> NDArray[np.uint8]:
    images = np.empty((0, 0, 0, 3), np.uint8)
    for i, info in enumerate(members):
        form = _PICTURES[PurePosixPath(info.filename).suffix.lower()]
        with Image.open(io.BytesIO(archive.read(info)), formats=[form]) as picture:
            # The size is known before a pixel is decoded, and one size serves all.
            shape = (picture.height, picture.width, 3)
            if i == 0:
                within_limit(len(members) * math.prod(shape), path)
                images = np.empty((len(members), *shape), np.uint8)
            if shape != images.shape[1:]:
                found = f"{picture.width} x {picture.height} after {images.shape[2]} x {images.shape[1]}"
                raise refusal("pictures of several sizes", path, found, "Bring them to one size first.")
            images[i] = np.asarray(picture.convert("RGB"))
    return images


def within_limit(size: int, path: Path) -> int:
    """The number of bytes that a file decodes to, if that is not more than `LIMIT`."""
    if size > LIMIT:
        found = f"{size / 1024**3:.1f} GiB decoded"
        raise refusal("more than an image set may hold", path, found, f"At most {LIMIT / 1024**3:g} GiB are read.")
    return size


def refusal(what: str, path: str | os.PathLike[str], found: object, mend: str) -> TrainingDataError:
    """The message about a file of images."""
    return TrainingDataError(what, where=os.fspath(path), found=found, mend=mend)
