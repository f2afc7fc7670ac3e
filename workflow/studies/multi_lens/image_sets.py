"""Sets of small labelled images from local files, each format told by its content and none of them trusted.

Read are: idx and idx.gz (MNIST, Fashion-MNIST), Keras' npz, CIFAR's python batches, and a zip of images. What a file
claims to hold is checked before memory is given to it; names inside an archive choose classes and never become paths.
"""

from __future__ import annotations

import csv
import gzip
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image

from drunet.files import whole_file
from studies.multi_lens.image_zip import Part, has_parts_in_it, read_zip, refusal, within_limit
from studies.multi_lens.plain_pickle import read_plain_pickle

_ONE_SET = "Both parts must come from the same set."
FORMATS = "idx or idx.gz, Keras' npz, CIFAR's python batches, or a zip of images"
_FETCH = "Fetch the file again."


@dataclass(frozen=True)
class ImageSet:
    """Labelled images of one size.

    Attributes
    ----------
    images : uint8 (n, h, w, c)
        c is 1 (grey) or 3 (RGB).
    labels : int64 (n,)
        Index into `classes`.
    classes : tuple of str
        Names, or numbers as text where a format has no names.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


def read_image_sets(
    training: Sequence[str | os.PathLike[str]], test: Sequence[str | os.PathLike[str]]
) -> tuple[ImageSet, ImageSet]:
    """Read the images to learn from and those to be judged by.

    Parameters
    ----------
    training, test : sequences of paths
        idx: the file of images and that of labels. npz: one file, which holds both parts and is named twice. CIFAR: one
        batch or several; `labels` or `fine_labels` count. zip: one file with `train/` and `test/` in it, or one each;
        inside, a folder per class, or a `labels.csv` (`.tsv`) with the columns file and label.

    Returns
    -------
    (ImageSet, ImageSet)
        With the same classes, sorted, and images of the same height and width.

    Raises
    ------
    TrainingDataError
        For a file that is missing, damaged, of no known format or larger than `LIMIT`; images and labels that differ in
        number; images of several sizes; one class only; a test class that cannot be learnt; one part named for both.
    """
    parts = {name: _read_part(files, name) for name, files in (("training", training), ("test", test))}
    classes = _sorted(set(parts["training"][1]))
    if len(classes) < 2:
        found = f"{len(parts['training'][1])} images of {len(classes)} class"
        mend = "Name a set with two or more."
        raise refusal("one class only: there is nothing to tell apart", training[0], found, mend)
    unknown = _sorted(set(parts["test"][1]) - set(classes))
    if unknown:
        found = ", ".join(map(str, unknown[:5]))
        raise refusal("test images of a class that is not learnt", test[0], found, _ONE_SET)
    (images, _), (others, _) = parts.values()
    if images.shape[1:] != others.shape[1:]:
        found = f"{_size(images)} to learn from, {_size(others)} to be judged by"
        raise refusal("test images are of another size", test[0], found, _ONE_SET)
    if same := [path for path in training if path in test and _kind(Path(path)) == "zip" and not has_parts_in_it(path)]:
        mend = "Put train/ and test/ into it, or name another file."
        raise refusal("one zip serves for learning and for judging", same[0], "no train/ and test/ in it", mend)
    index = {value: i for i, value in enumerate(classes)}
    names = tuple(str(value) for value in classes)
    first, second = (
        ImageSet(pictures, np.array([index[value] for value in values], dtype=np.int64), names)
        for pictures, values in parts.values()
    )
    return first, second


def at_most(images: ImageSet, count: int | None, seed: int) -> ImageSet:
    """A set of at most `count` images, drawn at random; None keeps all."""
    if count is None or count >= len(images):
        return images
    chosen = np.sort(np.random.default_rng(seed).permutation(len(images))[:count])
    return ImageSet(images.images[chosen], images.labels[chosen], images.classes)


def write_image_sets(path: str | os.PathLike[str], training: ImageSet, test: ImageSet) -> None:
    """Write both parts to one npz, whole or not at all."""
    with whole_file(path) as temporary:
        np.savez_compressed(
            temporary,
            classes=np.array(training.classes),
            training_images=training.images,
            training_labels=training.labels,
            test_images=test.images,
            test_labels=test.labels,
        )


def read_written_image_sets(path: str | os.PathLike[str]) -> tuple[ImageSet, ImageSet]:
    """Read what `write_image_sets` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        classes = tuple(str(name) for name in stored["classes"])
        first, second = (
            ImageSet(stored[f"{part}_images"], stored[f"{part}_labels"], classes) for part in ("training", "test")
        )
    return first, second


def embedded_digits() -> tuple[ImageSet, ImageSet]:
    """Handwritten digits that come with scikit-learn, 8 x 8 px, every third one held back for judging (1198 + 599)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    held_back = np.arange(len(images)) % 3 == 2
    classes = tuple(str(name) for name in digits.target_names)
    first, second = (
        ImageSet(images[chosen], digits.target[chosen].astype(np.int64), classes) for chosen in (~held_back, held_back)
    )
    return first, second


def _read_part(paths: Sequence[str | os.PathLike[str]], part: str) -> Part:
    files = [Path(path) for path in paths]
    for path in files:
        if not path.is_file():
            raise refusal("there is no such file", path, None, "Correct the path; relative ones start where you are.")
    kinds = {path: _kind(path) for path in files}
    if len(set(kinds.values())) > 1:
        found = ", ".join(f"{path.name}: {kind}" for path, kind in kinds.items())
        raise refusal("the files of one part are of several formats", files[0], found, "Name files of one set.")
    kind = kinds[files[0]]
    wanted = {"idx": 2, "npz": 1, "zip": 1}.get(kind, len(files))
    if len(files) != wanted:
        what = "a file of images and one of labels" if kind == "idx" else "one file"
        raise refusal(f"{kind} needs {what} for each part", files[0], f"{len(files)} files", "Name them.")
    with _one_message(files):
        if kind == "idx":
            images, labels = _read_idx(files)
        elif kind == "npz":
            images, labels = _read_npz(files[0], part)
        elif kind == "zip":
            images, labels = read_zip(files[0], part)
        else:
            images, labels = _read_batches(files)
    if len(images) != len(labels):
        found = f"{len(images)} images and {len(labels)} labels"
        raise refusal("images and labels differ in number", files[0], found, "Name files that belong together.")
    if not len(images):
        raise refusal("the file holds no images", files[0], None, f"Expected {FORMATS}.")
    return images, labels


def _kind(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(4)
    if start[:2] == b"\x1f\x8b" or start[:3] == b"\0\0\x08":
        return "idx"
    if start[:2] == b"PK":
        with _one_message([path]), zipfile.ZipFile(path) as archive:
            return "npz" if any(name.endswith(".npy") for name in archive.namelist()) else "zip"
    if start[:1] == b"\x80":
        return "batches"
    raise refusal("not a known format of images", path, f"begins with {start!r}", f"Expected {FORMATS}.")


def _read_idx(files: Sequence[Path]) -> Part:
    arrays = [_idx_array(path) for path in files]
    images = [a for a in arrays if a.ndim in (3, 4)]
    labels = [a for a in arrays if a.ndim == 1]
    if not len(images) == len(labels) == 1:
        found = " and ".join(f"{a.ndim} dimensions" for a in arrays)
        raise refusal("idx needs a file of images and one of labels", files[0], found, "Name one of each.")
    return _checked_images(images[0], files[0]), labels[0].tolist()


def _idx_array(path: Path) -> NDArray[np.uint8]:
    with path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        # Read are only as many bytes as the header claims and the limit allows, whatever the stream goes on to hold.
        file: BinaryIO | gzip.GzipFile = gzip.GzipFile(fileobj=raw) if zipped else raw
        start = file.read(4)
        if len(start) < 4 or start[:3] != b"\0\0\x08" or not 1 <= start[3] <= 4:
            raise refusal("not an idx file of bytes", path, f"begins with {start!r}", f"Expected {FORMATS}.")
        sides = struct.unpack(f">{start[3]}I", file.read(4 * start[3]))
        expected = within_limit(math.prod(sides), path)
        content = file.read(expected + 1)
    if len(content) != expected:
        found = f"{'fewer' if len(content) < expected else 'more'} bytes than {' x '.join(map(str, sides))}"
        raise refusal("the file does not hold what its header says", path, found, _FETCH)
    return np.frombuffer(content, np.uint8).reshape(sides)


def _read_npz(path: Path, part: str) -> Part:
    end = "train" if part == "training" else "test"
    with zipfile.ZipFile(path) as archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        lacking = [key for key in (f"x_{end}", f"y_{end}") if key not in members]
        if lacking:
            mend = "Keras' files hold x_train, y_train, x_test and y_test."
            raise refusal(f"the npz lacks {' and '.join(lacking)}", path, ", ".join(sorted(members)[:8]), mend)
        images, labels = (_npy_array(archive, members[f"{letter}_{end}"], path) for letter in "xy")
    if not np.issubdtype(labels.dtype, np.integer) or labels.size != len(labels):
        raise refusal("labels must be whole numbers, one each", path, f"{labels.dtype} {labels.shape}", _FETCH)
    return _checked_images(images, path), labels.ravel().tolist()


def _npy_array(archive: zipfile.ZipFile, member: str, path: Path) -> NDArray[Any]:
    """Read an array, having seen that the file holds as much as its header claims."""
    size = archive.getinfo(member).file_size
    with archive.open(member) as file:
        version = npy.read_magic(file)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read_header(file)
        held = size - file.tell()
    claimed = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and claimed != held:
        found = f"{held} bytes for {dtype} {shape}"
        raise refusal(f"{member} does not hold what its header says", path, found, _FETCH)
    within_limit(claimed, path)
    with archive.open(member) as file:
        # Objects are pickles: refused.
        return np.asarray(npy.read_array(file, allow_pickle=False))


def _read_batches(files: Sequence[Path]) -> Part:
    images, labels = [], []
    for path in files:
        within_limit(path.stat().st_size, path)
        batch = read_plain_pickle(path.read_bytes())
        if not isinstance(batch, dict):
            raise refusal("not a CIFAR batch", path, type(batch).__name__, f"Expected {FORMATS}.")
        named = {key.decode("latin-1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
        pixels, own = named.get("data"), named.get("labels", named.get("fine_labels"))
        # A row is a picture: the 1024 red values, then the green and the blue ones.
        if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != 3072 or own is None:
            mend = "A batch has `data` of n x 3072 bytes, and `labels` or `fine_labels`."
            raise refusal("not a CIFAR batch", path, ", ".join(sorted(named)[:8]), mend)
        if len(pixels) != len(own) or not all(isinstance(value, int) for value in own):
            found = f"{len(pixels)} images and {len(own)} labels"
            raise refusal("images and labels differ in number", path, found, _FETCH)
        images.append(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        labels.extend(own)
    return np.ascontiguousarray(np.concatenate(images)), labels


def _checked_images(images: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    """Give images (n, h, w) a channel, and refuse what is no image."""
    images = images[..., None] if images.ndim == 3 else images
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape[1:]:
        found = f"{images.dtype} {images.shape}"
        raise refusal("not a set of images", path, found, "Expected uint8, grey or RGB: (n, h, w), or (n, h, w, 3).")
    return images


@contextmanager
def _one_message(files: Sequence[Path]) -> Iterator[None]:
    """Turn whatever a damaged file makes a decoder say into one message."""
    decoding = (OSError, ValueError, TypeError, EOFError, SyntaxError, RuntimeError)
    formats = (struct.error, zlib.error, zipfile.BadZipFile, csv.Error)
    try:
        yield
    except (*decoding, *formats, Image.DecompressionBombError) as error:
        raise refusal("the file cannot be read", files[0], str(error)[:120] or type(error).__name__, _FETCH) from error


def _sorted(values: set[Any]) -> list[Any]:
    return sorted(values, key=lambda value: (isinstance(value, str), value))


def _size(images: NDArray[Any]) -> str:
    return f"{images.shape[2]} x {images.shape[1]} px, {images.shape[3]} channels"
