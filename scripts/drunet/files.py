"""Whole-file writes, digests, JSON and TSV."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drunet.errors import OUTCOME, FailedSlideError

if TYPE_CHECKING:
    # Imported where it is needed: reading the rules of the workflow must stay light.
    import pandas as pd

# Names that are safe as file and folder names, and in messages.
ID_PATTERN = r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?=[A-Za-z0-9_-]))*"


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path` and move it into place when the block ends well.

    The suffix is kept, because several writers choose the format by it. If the block raises, the temporary file is
    removed and `path` is left as it was.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The process id keeps two jobs that race for one file from mixing their bytes.
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write indented JSON, whole or not at all; NaN is refused because JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file that this project wrote.

    Raises FailedSlideError if the file says that the slide has no result; see `drunet.outcome`.
    """
    value = json.loads(Path(path).read_text(encoding="utf-8"))
    if isinstance(value, dict) and OUTCOME in value:
        raise FailedSlideError(**value[OUTCOME])
    return value


def sha256(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of a file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_text(f"{folder}/note.txt", "tumour")
    ...     sha256(f"{folder}/note.txt")[:12]
    '047090da4c16'
    """
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_tsv(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a table as TSV, whole or not at all; NaN is an empty cell."""
    with whole_file(path) as temporary:
        frame.to_csv(temporary, sep="\t", index=False, float_format="%.6g")


def read_published(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a table of published figures.

    Everything stays text, so that a printed 0.90 does not become 0.9.
    """
    import pandas as pd

    return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
