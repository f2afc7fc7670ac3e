"""What differs between the results of two runs, to the byte but for seconds, and what a killed one left over."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import tifffile

# What a run tells of itself, with its times.
_OF_THE_RUN = ("logs", "benchmarks", "progress.html", "progress.json")


def differences(undisturbed: Path, taken_up: Path) -> Iterator[str]:
    """Yield a line for each file below `results` that is missing, too many, empty or different.

    Nothing is compared of logs and benchmarks: a job that is killed when its results are whole is not run again, and
    has no benchmark. Of files that hold seconds all else is compared.
    """
    there, here = names(undisturbed), names(taken_up)
    yield from (f"{name}: missing" for name in sorted(there - here))
    yield from (f"{name}: left over" for name in sorted(here - there))
    for name in sorted(there & here):
        old, new = ((folder / name).read_bytes() for folder in (undisturbed, taken_up))
        if old and not new:
            yield f"{name}: empty"
        elif old != new and content(name, old) != content(name, new):
            yield f"{name}: other bytes"


def left_over(folder: Path) -> Iterator[str]:
    """Yield a line for each temporary file and lock in a project's folder."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if name.parts[0] == ".snakemake":
            # Results that were whole at the kill, or that an orphan finished, may keep Snakemake's mark of incomplete
            # files: it looks for such marks before it knows the jobs behind a checkpoint.
            left = len(name.parts) > 2 and name.parts[1] == "locks"
        else:
            left = ".part" in name.name or name.suffix == ".lock"
        if left:
            yield f"{name}: left over"


def names(results: Path) -> set[str]:
    """Files of a folder of results, but for its logs and benchmarks and what the run told of itself."""
    found = (p.relative_to(results) for p in results.rglob("*") if p.is_file())
    return {name.as_posix() for name in found if name.parts[0] not in _OF_THE_RUN}


def content(name: str, data: bytes) -> object:
    """A file without the seconds that it holds, or all of it if it is none that may hold any."""
    for pattern, without in WITH_SECONDS.items():
        if re.fullmatch(pattern, name):
            return without(data)
    return data


def _history(data: bytes) -> object:
    return (
        pd.read_csv(io.BytesIO(data), sep="\t", dtype=str).drop(columns=["seconds", "waited"], errors="ignore").to_csv()
    )


def _table(data: bytes) -> object:
    table = pq.read_table(io.BytesIO(data))
    return table.to_pandas().to_csv(), {k: _plain(v) for k, v in (table.schema.metadata or {}).items()}


def _raster(data: bytes) -> object:
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        tags = {t.name: t.value for t in tiff.pages[0].tags if t.name not in ("StripOffsets", "ImageDescription")}
        return tiff.pages[0].asarray().tobytes(), tags, _plain(tiff.pages[0].description)


def _plain(text: str | bytes) -> object:
    return {k: v for k, v in json.loads(text).items() if k != "seconds"}


def _card(data: bytes) -> object:
    return re.sub(rb"\| (seconds|waited) \| .*|, in [0-9.]+ minutes:", b"", data)


def _page(data: bytes) -> object:
    return re.sub(rb'<img src="[^"]*" alt="Time per stage">', b"", data)


WITH_SECONDS: dict[str, Callable[[bytes], object]] = {
    r"models/[^/]+/history\.tsv": _history,
    r"models/[^/]+/card\.md": _card,
    r"heatmaps/.+\.parquet": _table,
    r"heatmaps/.+\.tif": _raster,
    r"report/report\.html": _page,
}
