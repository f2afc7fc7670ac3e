"""Whole-file writes, digests, JSON and TSV."""

from __future__ import annotations

import fnmatch
import functools
import glob
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drunet.errors import OUTCOME, ConfigError, FailedSlideError

if TYPE_CHECKING:
    # Imported where it is needed: reading the rules of the workflow must stay light.
    import pandas as pd

AnyPath = str | os.PathLike[str]

# Names that are safe as file and folder names, and in messages.
ID_PATTERN = r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?=[A-Za-z0-9_-]))*"
LONGEST_ID = 100

_A_DAY = 24 * 3600.0
_SAMPLE = 1 << 16


def is_safe_id(value: str) -> bool:
    """Whether an ID may become a folder name and a wildcard.

    It stands beside tables in a folder, and Snakemake takes a text that ends in twenty equal parts for a loop.

    >>> is_safe_id("lung_001"), is_safe_id("../lung"), is_safe_id("Müller"), is_safe_id("metrics.tsv")
    (True, False, False, False)
    """
    looks_safe = len(value) <= LONGEST_ID and re.fullmatch(ID_PATTERN, value)
    return bool(looks_safe) and not re.search(r"\.(tsv|json|parquet)$|(.+?)\2{19}$", value, re.IGNORECASE)


@contextmanager
def whole_file(path: AnyPath) -> Iterator[Path]:
    """Yield a temporary path beside `path` and move it into place when the block ends well.

    The suffix is kept, because several writers choose the format by it. If the block raises, the temporary file is
    removed and `path` is left as it was. So is what a killed process left of an earlier attempt, where it lay there
    when this process first wrote to the folder.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The process id keeps two jobs that race for one file from mixing their bytes.
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
    # No other file's: it may be in the making on another node, whose processes cannot be seen from here.
    for name in fnmatch.filter(
        _begun(target.parent), f".{glob.escape(target.stem)}.*.part*{glob.escape(target.suffix)}"
    ):
        _remove_if_left(target.with_name(name))
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@functools.lru_cache(maxsize=64)
def _begun(folder: Path) -> list[str]:
    """Temporary files in a folder. It is listed once: who writes ten thousand files would list it as often."""
    return [entry.name for entry in os.scandir(folder) if entry.name.startswith(".") and ".part" in entry.name]


def _remove_if_left(temporary: Path) -> None:
    """Remove what a killed process left. Numbers of processes come again, but none writes nothing for a day."""
    with suppress(OSError, ValueError):
        os.kill(int(temporary.name.rsplit(".part", 1)[0].rpartition(".")[2]), 0)
        if time.time() - temporary.stat().st_mtime < _A_DAY:
            return
    temporary.unlink(missing_ok=True)


def check_writable(folder: AnyPath) -> None:
    """Raise ConfigError if results cannot be written to a folder, or it cannot be made."""
    there = next(p for p in (Path(folder), *Path(folder).absolute().parents) if os.path.lexists(p))
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        what = "nothing can be written to the folder of results"
        mend = "Change its permissions, or set `results` to another folder."
        raise ConfigError(what, where="results", found=os.fspath(there), mend=mend)


def write_text(path: AnyPath, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: AnyPath, value: Any) -> None:
    """Write indented JSON, whole or not at all; NaN is refused because JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: AnyPath) -> Any:
    """Read a JSON file of this project; raises FailedSlideError where it is an outcome (`drunet.outcome`)."""
    value = json.loads(Path(path).read_text(encoding="utf-8"))
    if isinstance(value, dict) and OUTCOME in value:
        raise FailedSlideError(**value[OUTCOME])
    return value


def sha256(path: AnyPath) -> str:
    """Hexadecimal SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _samples(path: str) -> str:
    digest, last = hashlib.sha256(), max(0, Path(path).stat().st_size - _SAMPLE)
    with Path(path).open("rb") as file:
        for place in range(0, last + 1, max(1, last // 8)):
            file.seek(place)
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()


def same_files(paths: Iterable[AnyPath]) -> list[list[str]]:
    """Groups of files that hold the same bytes; what is empty, or cannot be read, is in none.

    Sizes are compared first, then samples: a file is read as a whole only where it is the same in all of them.
    """
    groups = [[os.fspath(path) for path in paths]]
    steps: tuple[Callable[[str], object], ...] = (lambda path: Path(path).stat().st_size, _samples, sha256)
    for told in steps:
        found: dict[tuple[int, object], list[str]] = {}
        for number, group in enumerate(groups):
            for path in group:
                with suppress(OSError):
                    if sign := told(path):
                        found.setdefault((number, sign), []).append(path)
        groups = [group for group in found.values() if len(group) > 1]
    return groups


def write_tsv(frame: pd.DataFrame, path: AnyPath) -> None:
    """Write a table as TSV, whole or not at all; NaN is an empty cell."""
    with whole_file(path) as temporary:
        frame.to_csv(temporary, sep="\t", index=False, float_format="%.6g")


def read_published(path: AnyPath) -> pd.DataFrame:
    """Read a table of published figures as text, so that a printed 0.90 does not become 0.9."""
    import pandas as pd

    return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
