"""Compare two results folders: what must stay equal when the code is only rearranged.

    python -m bench.compare_results OLD NEW [FOLDER ...]

Masks and heatmaps are compared as arrays, tables cell by cell, GeoJSON and JSON as values, all exactly and after taking
off the fields that differ between two runs of the same code (`VOLATILE`). The exit status is the number of differences,
255 at most.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile

# Seconds, digests and versions. GeoJSON names digests of ONNX files, which hold the names of layers.
VOLATILE = {
    "seconds", "seconds_per_epoch", "waited", "sha256", "model_sha256", "models", "drunet_models", "version",
    "versions", "workflow", "made", "date", "code", "ms", "low_ms", "high_ms", "ms_per_tile", "tiles_per_second", "id",
}  # fmt: skip
PATTERNS = (
    "demo/*.tif", "demo/*.geojson", "slides.tsv", "slides/*/tissue.png", "slides/*/tiles.parquet", "heatmaps/*/*.tif",
    "heatmaps/*/*.parquet", "runs/*/*/refined.tif", "runs/*/*/segmentation.tif", "runs/*/*/segmentation.geojson",
    "runs/*/*/metrics.json", "runs/*/*.tsv", "models/*/history.tsv", "studies/*/metrics.tsv",
)  # fmt: skip


def differences(old: Path, new: Path, patterns: tuple[str, ...] = PATTERNS) -> Iterator[str]:
    """Yield a line for each file that is missing or differs."""
    for pattern in patterns:
        names = {p.relative_to(folder) for folder in (old, new) for p in folder.glob(pattern)}
        for name in sorted(names):
            here, there = old / name, new / name
            if not here.is_file() or not there.is_file():
                yield f"{name}: only in {old if here.is_file() else new}"
            elif words := _difference(here, there):
                yield f"{name}: {words}"


def _difference(old: Path, new: Path) -> str | None:
    if old.read_bytes() == new.read_bytes():
        return None
    if old.suffix in (".tif", ".png"):
        return _arrays(_image(old), _image(new))
    if old.suffix in (".json", ".geojson"):
        return None if _stripped(old) == _stripped(new) else "other values"
    frames = [_table(path) for path in (old, new)]
    if list(frames[0].columns) != list(frames[1].columns):
        return f"other columns: {sorted(set(frames[0].columns) ^ set(frames[1].columns))}"
    if len(frames[0]) != len(frames[1]):
        return f"{len(frames[0])} and {len(frames[1])} rows"
    wrong = [c for c in frames[0].columns if not frames[0][c].equals(frames[1][c])]
    return f"other values in {', '.join(wrong)}" if wrong else None


def _image(path: Path) -> np.ndarray:
    if path.suffix == ".tif":
        return np.asarray(tifffile.imread(path))
    import cv2

    return np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))


def _arrays(old: np.ndarray, new: np.ndarray) -> str | None:
    if old.shape != new.shape or old.dtype != new.dtype:
        return f"{old.dtype} {old.shape} and {new.dtype} {new.shape}"
    same = np.array_equal(old, new, equal_nan=old.dtype.kind == "f")
    return None if same else f"{np.count_nonzero(old != new)} values differ"


def _stripped(path: Path) -> Any:
    return _without(json.loads(path.read_text(encoding="utf-8")))


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(part) for key, part in value.items() if key not in VOLATILE}
    return [_without(part) for part in value] if isinstance(value, list) else value


def _table(path: Path) -> pd.DataFrame:
    if path.suffix == ".parquet":
        frame = pd.read_parquet(path)
    else:
        frame = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    if "metric" in frame.columns:
        frame = frame[~frame["metric"].isin(VOLATILE)].reset_index(drop=True)
    return frame[[c for c in frame.columns if c not in VOLATILE]]


def main() -> int:
    """Print the differences and count them."""
    old, new, *patterns = sys.argv[1:]
    found = list(differences(Path(old), Path(new), tuple(patterns) or PATTERNS))
    files = sum(1 for pattern in patterns or PATTERNS for _ in Path(old).glob(pattern))
    print(*found, f"{files} files compared, {len(found)} differ", sep="\n")
    return min(len(found), 255)


if __name__ == "__main__":
    sys.exit(main())
