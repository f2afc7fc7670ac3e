"""A folder of class-named folders of images, listed once: what everything else reads is this list.

The class of an image is the nearest folder above it that is named as one. Nothing that a file claims is trusted: its
format is told by its content, and its size is seen before a pixel is decoded.
"""

import hashlib
import os
import struct
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from drunet.console import progress
from drunet.errors import closest
from drunet.files import whole_file
from studies.common.errors import ImageSetError
from studies.common.images.content import SUFFIXES
from studies.common.user_paths import is_folder, is_there

FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
# A patch is far smaller; what Pillow itself refuses begins at 179 megapixels.
MOST_PIXELS = 100_000_000
# Folders that divide a class and name none, since a class may lie in each of them, and the part that they are.
PARTS = {"train": "training", "training": "training", "test": "test", "testing": "test"}
PARTS |= dict.fromkeys(("val", "valid", "validation"), "validation")
_DECODING: tuple[type[Exception], ...] = (OSError, ValueError, TypeError, EOFError, SyntaxError, RuntimeError)
_DECODING += (IndexError, KeyError, struct.error, zlib.error, Image.DecompressionBombError)


def list_images(
    root: str | os.PathLike[str], classes: Sequence[str], *, max_unreadable: float, where: str, threads: int = 1
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """List the images below a folder, each decoded once.

    Returns (DataFrame, DataFrame): of images file (POSIX path below `root`, by which they are sorted), label, width and
    height (px), digest (sha256 of height, width and the RGB bytes); of unreadable ones, which are left out, file and
    reason. `max_unreadable` is the share that may be, `where` the configuration's key.

    Raises ImageSetError where the folder, a class or its images are missing; for one class name in two places (other
    than parts of a set, see `PARTS`), links that lead out of the folder, more unreadable images than allowed, and one
    picture in two classes.
    """
    home = Path(root)
    labels = _labels(home, classes, where)
    files = sorted(labels)
    images, unreadable = [], []
    bar = progress(len(files), f"Reading {where}", "images")
    with bar, ThreadPoolExecutor(threads) as pool:
        for file, fact in zip(files, pool.map(lambda file: _facts(home, file), files), strict=True):
            if isinstance(fact, str):
                unreadable.append((_printable(file), fact))
            else:
                images.append((file, labels[file], *fact))
            bar.update()
    table = pd.DataFrame(images, columns=["file", "label", "width", "height", "digest"])
    left_out = pd.DataFrame(unreadable, columns=["file", "reason"])
    _check_listed(table, left_out, max_unreadable, set(labels.values()), where)
    return table, left_out


def find_files(root: str | os.PathLike[str], where: str) -> list[str]:
    """Every file below a folder that is named like an image, as sorted POSIX paths, unread; raises as `list_images`."""
    return sorted(file for files in _folders(Path(root), where).values() for file in files)


def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Decode an image: uint8 (h, w, 3), RGB. The only place where images of a set are decoded.

    Grey, palette and CMYK pictures become RGB; of 16 bits the upper 8 are kept; what is transparent is laid over white,
    as empty glass would be. EXIF's orientation is left alone, a TIFF's own is followed. Of several pictures the first
    counts. Raises ImageSetError if the file is no PNG, JPEG, BMP or TIFF, is damaged, larger than `MOST_PIXELS`, or of
    32-bit values, whose range nothing tells.
    """
    try:
        with Image.open(path, formats=FORMATS) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                found = f"{picture.width} x {picture.height} px"
                raise _unreadable(path, "larger than a patch may be", found)
            if picture.mode in ("I", "F"):
                raise _unreadable(path, "values of 32 bits, whose range nothing tells", None)
            return _rgb(picture)
    except _DECODING as error:
        raise _unreadable(path, "cannot be decoded", str(error)[:120] or type(error).__name__) from error


def write_list(path: str | os.PathLike[str], frame: pd.DataFrame) -> None:
    """Write images, or unreadable ones, as TSV, whole or not at all."""
    with whole_file(path) as temporary:
        frame.to_csv(temporary, sep="\t", index=False, lineterminator="\n")


def read_list(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read what `write_list` wrote; a class or a group named `1` or `NA` stays text."""
    frame = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    return frame.astype({key: np.int64 for key in ("width", "height") if key in frame.columns})


def _rgb(picture: Image.Image) -> NDArray[np.uint8]:
    if picture.mode.startswith("I;16"):
        grey = (np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return np.array(picture.convert("RGB"))


def _facts(root: Path, file: str) -> tuple[int, int, str] | str:
    """Width, height and digest of an image, or why it cannot be read."""
    if not file.isprintable():
        return "the file's name is no text"
    try:
        pixels = read_image(root / file)
    except ImageSetError as error:
        return error.what if error.found is None else f"{error.what}: {error.found}"
    digest = hashlib.sha256(struct.pack("<3q", *pixels.shape))
    digest.update(pixels.tobytes())
    return pixels.shape[1], pixels.shape[0], digest.hexdigest()


def _labels(root: Path, classes: Sequence[str], where: str) -> dict[str, str]:
    """The class of each image file below `root` that lies in a folder of one of the classes, however deep."""
    folders = _folders(root, where)
    labels: dict[str, str] = {}
    places: dict[str, str] = {}
    for folder in sorted(name for name, files in folders.items() if files):
        parts = PurePosixPath(folder).parts
        depth = next((k for k in range(len(parts), 0, -1) if parts[k - 1] in classes), None)
        if depth is None:
            continue
        label = parts[depth - 1]
        place = "/".join(part for part in parts[:depth] if part.lower() not in PARTS)
        if places.setdefault(label, place) != place:
            mend = "Rename one, unless they are one class: then put them into one folder, or into train/ and test/."
            found = f"{places[label]} and {place}"
            raise ImageSetError("one class name stands in two places", where=where, found=found, mend=mend)
        labels |= dict.fromkeys(folders[folder], label)
    for name in (name for name in classes if name not in places):
        if empty := [folder for folder in folders if PurePosixPath(folder).name == name]:
            mend = f"Fill or remove it. Images end in {', '.join(SUFFIXES)}."
            raise ImageSetError("a class folder holds no image", where=where, found=empty[0], mend=mend)
        known = {part for folder, files in folders.items() if files for part in PurePosixPath(folder).parts}
        mend = closest(name, known)
        raise ImageSetError("there is no folder of this class", where=where, found=name, mend=mend)
    return labels


def _folders(root: Path, where: str) -> dict[str, list[str]]:
    """Image files of every folder below `root` (itself: ""), hidden ones left out."""
    if not is_folder(root):
        found = "a file" if is_there(root) else None
        mend = "Name the folder that holds a folder of images for each class."
        raise ImageSetError("there is no such folder of images", where=where, found=found, mend=mend)
    home = root.resolve()
    folders: dict[str, list[str]] = {}
    for place, inner, files in os.walk(root, onerror=_refuse):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        here = Path(place)
        for name in [*inner, *files]:
            if (here / name).is_symlink() and not (here / name).resolve().is_relative_to(home):
                mend = "Put the images themselves there, or name the folder in which they lie."
                found = _printable((here / name).relative_to(root).as_posix())
                raise ImageSetError("a link leads out of the folder of images", where=where, found=found, mend=mend)
        images = [n for n in files if not n.startswith(".") and PurePosixPath(n).suffix.lower() in SUFFIXES]
        prefix = here.relative_to(root)
        inner[:] = [name for name in inner if not (here / name).is_symlink()]
        folders["" if here == root else prefix.as_posix()] = [(prefix / name).as_posix() for name in sorted(images)]
    return folders


def _refuse(error: OSError) -> None:
    """A folder that cannot be entered would otherwise be passed over."""
    what, name = "a folder cannot be read", Path(str(error.filename)).name
    raise ImageSetError(what, where=_printable(name), found=error.strerror, mend="Allow it to be read.") from error


def _check_listed(images: pd.DataFrame, unreadable: pd.DataFrame, limit: float, classes: set[str], where: str) -> None:
    """Refuse too many unreadable images, a class without a readable one, and a picture that lies in two classes."""
    count = len(images) + len(unreadable)
    if len(unreadable) > limit * count:
        first = "; ".join(f"{file} ({reason})" for file, reason in unreadable.head(3).itertuples(index=False))
        found = f"{len(unreadable)} of {count}, at most {limit:.2%} allowed: {first}"
        mend = "Replace or remove them, or raise the limit `max_unreadable`."
        raise ImageSetError("too many images cannot be read", where=where, found=found, mend=mend)
    if lost := sorted(classes - set(images["label"])):
        raise ImageSetError("no image of a class can be read", where=where, found=lost[0], mend="Replace them.")
    twice = images[images.groupby("digest")["label"].transform("nunique") > 1]
    if len(twice):
        # It would be learnt as one and asked for as the other.
        first, second = twice[twice["digest"] == twice["digest"].iloc[0]].drop_duplicates("label")["file"][:2]
        found = f"{twice['digest'].nunique()} pictures, the first: {first} and {second}"
        raise ImageSetError("one picture lies in two classes", where=where, found=found, mend="Remove the wrong ones.")


def _unreadable(path: str | os.PathLike[str], what: str, found: object) -> ImageSetError:
    return ImageSetError(what, where=_printable(Path(path).name), found=found, mend="Replace or remove the image.")


def _printable(name: str) -> str:
    return name if name.isprintable() else ascii(name)
