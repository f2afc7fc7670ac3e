"""Sets of small labelled images from local files: a folder per class, a zip of such folders, or npz.

Each format is recognised by its content. Nothing is unpickled, and sizes are checked before memory is allocated.
"""

import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drunet.errors import TrainingDataError
from drunet.files import whole_file
from studies.common.images.content import SUFFIXES
from studies.common.images.folder import find_files, read_image

# Decoded bytes of a file: CIFAR-10 as a whole is 0.2 GB.
LIMIT = 2 * 1024**3
PARTS = {"training": ("train", "training"), "test": ("test", "testing")}
FORMATS = "a folder or zip with a folder per class, or npz (x_train, y_train, x_test, y_test)"
_FETCH = "Fetch the file again."
_ONE_SET = "Both parts must come from the same set."
_CONVERT = (
    "Write an npz in Python: (x, y), (a, b) = keras.datasets.cifar10.load_data(); "
    "numpy.savez('cifar10.npz', x_train=x, y_train=y, x_test=a, y_test=b)."
)

# Images (n, h, w, c) with a label each as the file has it: a number or a class name.
Part = tuple[NDArray[np.uint8], list[Any]]


@dataclass(frozen=True)
class ImageSet:
    """Labelled images of one size.

    `images`: uint8 (n, h, w, c), c is 1 (grey) or 3 (RGB). `labels`: int64 (n,), index into `classes`. `classes`:
    names, or numbers as text where a format has no names.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: NDArray[np.int64]) -> "ImageSet":
        """Those that are named by their places."""
        return ImageSet(self.images[chosen], self.labels[chosen], self.classes)


def read_image_sets(
    training: Sequence[str | os.PathLike[str]], test: Sequence[str | os.PathLike[str]]
) -> tuple[ImageSet, ImageSet]:
    """Read the training images and the test images of a set.

    `training` and `test` name one path each: a folder or zip with `train/` and `test/` in it, or one for each part, and
    inside a folder per class; or an npz, which holds both parts and is named twice. Both sets have the same classes,
    sorted, and images of the same height and width. Raises DrunetError for a file that is damaged, of no known format
    or larger than `LIMIT`, and for parts that make no set.
    """
    both = {os.fspath(path) for path in training} & {os.fspath(path) for path in test}
    images, labels = _read_part(training, "training", bool(both))
    others, asked = _read_part(test, "test", bool(both))
    classes = sorted(set(labels), key=lambda value: (isinstance(value, str), value))
    if len(classes) < 2:
        found = f"{len(labels)} images of {len(classes)} class"
        raise _refusal("one class only: there is nothing to distinguish", training[0], found, "Name another set.")
    if unknown := [str(value) for value in dict.fromkeys(asked) if value not in classes]:
        raise _refusal("test images of a class without training images", test[0], ", ".join(unknown[:5]), _ONE_SET)
    if images.shape[1:] != others.shape[1:]:
        found = " and ".join(f"{s[2]} x {s[1]} px, {s[3]} channels" for s in (images.shape, others.shape))
        raise _refusal("training and test images differ in size", test[0], found, _ONE_SET)
    index, names = {value: i for i, value in enumerate(classes)}, tuple(map(str, classes))
    numbers, asked_numbers = (np.array([index[value] for value in part], dtype=np.int64) for part in (labels, asked))
    return ImageSet(images, numbers, names), ImageSet(others, asked_numbers, names)


def at_most(images: ImageSet, count: int | None, seed: int) -> ImageSet:
    """A set of at most `count` images, drawn at random; None keeps all."""
    if count is None or count >= len(images):
        return images
    return images.take(np.sort(np.random.default_rng(seed).permutation(len(images))[:count]))


def write_image_sets(path: str | os.PathLike[str], training: ImageSet, test: ImageSet) -> None:
    """Write both parts to one npz, whole or not at all."""
    parts: dict[str, Any] = {"training_images": training.images, "training_labels": training.labels}
    parts |= {"test_images": test.images, "test_labels": test.labels}
    with whole_file(path) as temporary:
        np.savez_compressed(temporary, classes=np.array(training.classes), **parts)


def read_written_image_sets(path: str | os.PathLike[str]) -> tuple[ImageSet, ImageSet]:
    """Read what `write_image_sets` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        classes = tuple(str(name) for name in stored["classes"])
        training = ImageSet(stored["training_images"], stored["training_labels"], classes)
        return training, ImageSet(stored["test_images"], stored["test_labels"], classes)


def embedded_digits() -> tuple[ImageSet, ImageSet]:
    """Handwritten digits that come with scikit-learn, 8 x 8 px; every third one is a test image (1198 + 599)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    held_out = np.arange(len(images)) % 3 == 2
    whole = ImageSet(images, digits.target.astype(np.int64), tuple(str(name) for name in digits.target_names))
    return whole.take(np.flatnonzero(~held_out)), whole.take(np.flatnonzero(held_out))


def _read_part(paths: Sequence[str | os.PathLike[str]], part: str, both: bool) -> Part:
    """Images and labels of a part; `both`: the same files are named for the other part."""
    path = Path(paths[0])
    with _one_message(path):
        if path.is_dir():
            images, labels = _read_folder(path, part, both, path)
        elif _is_npz(path):
            images, labels = _read_npz(path, part)
        else:
            images, labels = _read_zip(path, part, both)
    if len(images) != len(labels):
        found = f"{len(images)} images and {len(labels)} labels"
        raise _refusal("images and labels differ in number", path, found, "Name files that belong together.")
    images = images[..., None] if images.ndim == 3 else images
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        mend = "Expected uint8, grey or RGB: (n, h, w), or (n, h, w, 3)."
        raise _refusal("not a set of images", path, f"{images.dtype} {images.shape}", mend)
    return images, labels


def _is_npz(path: Path) -> bool:
    """Whether a zip, and nothing else is read, holds arrays."""
    with path.open("rb") as file:
        start = file.read(4)
    if start[:2] == b"PK":
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    if start[:1] == b"\x80":
        raise _refusal("a pickle, which is not read", path, "a CIFAR batch, perhaps", _CONVERT)
    raise _refusal("not a known format of images", path, f"begins with {start!r}", f"Expected {FORMATS}.")


def _read_npz(path: Path, part: str) -> Part:
    end = "train" if part == "training" else "test"
    with zipfile.ZipFile(path) as archive:
        _within_limit(max(info.file_size for info in archive.infolist()), path)
    with np.load(path, allow_pickle=False) as stored:
        if lacking := [key for key in (f"x_{end}", f"y_{end}") if key not in stored]:
            mend = "It must hold x_train, y_train, x_test and y_test."
            raise _refusal(f"the npz lacks {' and '.join(lacking)}", path, ", ".join(sorted(stored)[:8]), mend)
        images, labels = stored[f"x_{end}"], stored[f"y_{end}"]
    if not np.issubdtype(labels.dtype, np.integer) or labels.size != len(labels):
        raise _refusal("labels must be whole numbers, one each", path, f"{labels.dtype} {labels.shape}", _FETCH)
    return images, labels.ravel().tolist()


def _read_zip(path: Path, part: str, both: bool) -> Part:
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        # Tables and notes beside the images are not unpacked, however large they are.
        images = [info for info in archive.infolist() if PurePosixPath(info.filename).suffix.lower() in SUFFIXES]
        _within_limit(sum(info.file_size for info in images), path)
        if twice := len(images) - len({info.filename for info in images}):
            mend = "Pack the images anew: which of them counts is not certain."
            raise _refusal("files of the same name are in the zip", path, f"{twice} too many", mend)
        # Names that lead out of the folder, by `..` or from the root, are refused or made to lie in it.
        archive.extractall(folder, images)
        return _read_folder(Path(folder), part, both, path)


def _read_folder(root: Path, part: str, both: bool, path: Path) -> Part:
    """Images and class names of a part of a folder, which messages call `path`."""
    found = [PurePosixPath(file) for file in find_files(root, os.fspath(path))]
    depth = _depth_of_parts(found)
    if depth is None and both:
        mend = "Put train/ and test/ into it, or name another one."
        raise _refusal("one set serves for training and testing", path, "no train/ and test/ in it", mend)
    # Files by their names below the part's folder.
    files = {file: file for file in found}
    if depth is not None:
        own = [f for f in found if len(f.parts) > depth + 1 and f.parts[depth].lower() in PARTS[part]]
        files = {PurePosixPath(*file.parts[depth + 1 :]): file for file in own}
    if not files:
        raise _refusal("there are no images in it", path, None, f"Expected {FORMATS}.")
    if homeless := [file.name for file in files if not file.parent.name]:
        raise _refusal("an image without a class", path, homeless[0], "Put every image into a folder of its class.")
    images: list[NDArray[np.uint8]] = []
    for name in sorted(files):
        image = read_image(root / files[name])
        if not images:
            _within_limit(len(files) * image.size, path)
        elif image.shape != images[0].shape:
            sizes = f"{image.shape[1]} x {image.shape[0]} after {images[0].shape[1]} x {images[0].shape[0]}"
            raise _refusal("images of several sizes", path, sizes, "Bring them to one size first.")
        images.append(image)
    return np.stack(images), [name.parent.name for name in sorted(files)]


def _depth_of_parts(files: Sequence[PurePosixPath]) -> int | None:
    """How many folders lie above `train/` and `test/`: none, or one that holds everything; None without such parts."""
    known = {name for names in PARTS.values() for name in names}
    for depth in (0, 1) if len({file.parts[0] for file in files}) == 1 else (0,):
        if any(len(file.parts) > depth + 1 and file.parts[depth].lower() in known for file in files):
            return depth
    return None


@contextmanager
def _one_message(path: Path) -> Iterator[None]:
    """Turn any error of a decoder into one message."""
    decoding = (OSError, ValueError, TypeError, EOFError, SyntaxError, RuntimeError, MemoryError, AttributeError)
    try:
        yield
    except (*decoding, struct.error, zlib.error, zipfile.BadZipFile) as error:
        raise _refusal("the file cannot be read", path, str(error)[:120] or type(error).__name__, _FETCH) from error


def _within_limit(size: int, path: Path) -> None:
    """Refuse a file that decodes to more than `LIMIT` bytes."""
    if size > LIMIT:
        found = f"{size / 1024**3:.1f} GiB decoded"
        raise _refusal("more than an image set may hold", path, found, f"At most {LIMIT / 1024**3:g} GiB are read.")


def _refusal(what: str, path: str | os.PathLike[str], found: object, mend: str) -> TrainingDataError:
    return TrainingDataError(what, where=os.fspath(path), found=found, mend=mend)
