"""Digests of files that users give, without ONNX or NumPy: the rules ask for them whenever they are read."""

import hashlib
import mmap
import os
import re
from functools import cache
from pathlib import Path

from drunet.dicom import is_dicom, volume_headers
from drunet.files import AnyPath

_State = tuple[str, int, int, int]
_ENDS = 1 << 16
# The entry `location` of a tensor whose values lie in another file, as protobuf writes it: key, then length and value.
_LOCATION = re.compile(rb"\x0a\x08location\x12([\x01-\x7f]|[\x80-\xff][\x01-\x7f])")


def external_names(path: AnyPath) -> list[str]:
    """Names of the files that hold weights of an ONNX file, as it gives them: relative to its folder."""
    return list(_names(_state(Path(path))))


def external_files(path: AnyPath) -> list[Path]:
    """The files of `external_names`, without those that are not there or do not lie below its folder."""
    folder = Path(path).parent
    safe = [n for n in external_names(path) if not Path(n).is_absolute() and ".." not in Path(n).parts]
    return [folder / n for n in safe if "\0" not in n and (folder / n).is_file()]


def model_digest(path: AnyPath) -> str:
    """SHA-256 of a file and of the files with its weights, in the order of their names, as of one that holds them all.

    For a file that stands alone it is what `sha256sum FILE` prints, else `cat FILE WEIGHTS… | sha256sum`.
    """
    return _digest([Path(path), *external_files(path)])


def content_digest(path: AnyPath) -> str:
    """SHA-256 of one file."""
    return _digest([Path(path)])


def ends_digest(path: AnyPath) -> str:
    """Digest of a file's size, its first and its last bytes: cheap for the gigabytes of a slide."""
    size = Path(path).stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with Path(path).open("rb") as file:
        digest.update(file.read(_ENDS))
        file.seek(max(_ENDS, size - _ENDS))
        digest.update(file.read(_ENDS))
    return digest.hexdigest()


def slide_digest(path: AnyPath) -> str:
    """SHA-256 of a slide, of several files where it is a MIRAX slide or a DICOM series: the one given, then the others.

    For one file it is what `sha256sum FILE` prints, else `cat FILE OTHERS… | sha256sum`, those in the order of names.
    """
    path = Path(path)
    others = path.with_suffix("").glob("*") if path.suffix.lower() == ".mrxs" else iter(())
    if is_dicom(path):
        others = (Path(level.filename) for level in volume_headers(path, "Modality"))
    return _digest([path, *(p for p in sorted(others) if p != path and p.is_file())])


def _digest(paths: list[Path]) -> str:
    return _known_digest(tuple(map(_state, paths)))


def _state(path: Path) -> _State:
    found = path.stat()
    return os.fspath(path), found.st_size, found.st_mtime_ns, found.st_ino


# As the files stood when they were last changed: many jobs ask for one file.
@cache
def _known_digest(files: tuple[_State, ...]) -> str:
    digest = hashlib.sha256()
    for path, *_ in files:
        with Path(path).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


@cache
def _names(state: _State) -> tuple[str, ...]:
    path, size = state[:2]
    names: set[str] = set()
    # A map of nothing is an error.
    if size:
        with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held:
            for match in _LOCATION.finditer(held):
                length = (match[1][0] & 127) | (match[1][1] << 7 if len(match[1]) > 1 else 0)
                names.add(held[match.end() : match.end() + length].decode("utf-8", "replace"))
    return tuple(sorted(names))
