"""The embedded image set: class-named folders of small patches, in the layout of LC25000 and made the way it was.

LC25000 (Borkowski et al., 2019) holds some 250 fields of view a class, each turned and mirrored into twenty files whose
names do not tell which field they come from. So does this set: a random split of it leaks, a split by field does not.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from drunet.console import progress
from drunet.errors import ImageSetError
from drunet.files import whole_file
from drunet.fingerprint import fingerprint
from drunet.synth.canvas import Canvas, Look
from drunet.synth.layout import LAYOUT_MPP, Kind, Layout, Vessel
from drunet.synth.patch_tissues import PAINTERS
from drunet.synth.tissue_texture import develop

# Width of a field of view: two or three crypts, some ten cells of a tumour; the objective differs between fields.
FIELD_UM = (106.0, 164.0)
# Nuclei at the border of the canvas are left out; this much is drawn and cut away.
MARGIN_UM = 10.0
# Drawn finer than it is kept, so that turning blurs no more than a camera does.
FINER = 2
MAX_TURN = 25.0
FOLDERS = {
    "lung_aca": "lung_image_sets",
    "lung_n": "lung_image_sets",
    "lung_scc": "lung_image_sets",
    "colon_aca": "colon_image_sets",
    "colon_n": "colon_image_sets",
}
STEMS = {"lung_aca": "lungaca", "lung_n": "lungn", "lung_scc": "lungscc", "colon_aca": "colonca", "colon_n": "colonn"}


def write_patch_set(
    folder: str | os.PathLike[str],
    *,
    sources: int,
    variants: int,
    size: int,
    seed: int,
    classes: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Write an image set: `lung_image_sets/lung_aca/lungaca1.png` and so on, and `groups.csv` (class, file, group).

    The folder is there whole or not at all. What a stopped run has drawn is kept beside it and taken up again.

    Parameters
    ----------
    folder : path
        New or empty.
    sources, variants : int
        Fields of view per class, and files made of each.
    size : int
        Side of the square images, px; a field is as many µm wide whatever the size.
    seed : int
        The same seed gives the same pixels and names. A field's pixels depend on no other field.
    classes : sequence of str, optional
        Keys of `FOLDERS`; all five by default.

    Returns
    -------
    DataFrame
        A row per image: `file` (POSIX path below `folder`), `label`, `group`; sorted by file.

    Raises
    ------
    ImageSetError
        The folder holds something already.
    ValueError
        A class is unknown, or a count or the size too small.
    """
    names = tuple(FOLDERS if classes is None else classes)
    if unknown := sorted(set(names) - set(FOLDERS)):
        raise ValueError(f"unknown classes {unknown}, expected some of {sorted(FOLDERS)}")
    if min(sources, variants) < 1 or size < 16:
        raise ValueError(f"needs at least 1 source, 1 variant and 16 px, got {sources}, {variants} and {size}")
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ImageSetError(
            "The image set cannot be written: its folder holds something already.",
            where=str(target),
            found="a file" if target.is_file() else "a folder that is not empty",
            mend="Remove it, or name another folder.",
        )
    table = _table(names, sources, variants, seed)
    # Work of other settings, or of code since changed, is never taken up.
    code = fingerprint(Path(__file__), [Path(__file__).parents[2]])
    settings = repr((names, sources, variants, size, seed, code)).encode()
    unfinished = target.with_name(f".{target.name}.{hashlib.sha256(settings).hexdigest()[:12]}.part")
    with progress(len(names) * sources, "drawing patches", "fields") as bar:
        for _, rows in table.groupby("group", sort=False):
            _write_source(unfinished, rows, size, seed)
            bar.update()
    # A run that was killed while it wrote a file left a part of it.
    for part in unfinished.rglob(".*.part.png"):
        part.unlink()
    public = table[["file", "label", "group"]].sort_values("file", ignore_index=True)
    _write_groups(unfinished / "groups.csv", public)
    unfinished.replace(target)
    return public


def draw_source(label: str, source: int, size: int, seed: int) -> NDArray[np.uint8]:
    """Draw one field of view of a class: uint8 RGB, `FINER` times `size` px wide."""
    rng = np.random.default_rng([seed, zlib.crc32(label.encode()), source])
    mpp = rng.uniform(*FIELD_UM) / (FINER * size)
    margin = int(np.ceil(MARGIN_UM / mpp))
    side = FINER * size + 2 * margin
    canvas = Canvas(rng, _plan(rng, side * mpp), (side, side), mpp, _look(rng))
    # A field may show no wall at all: the distance to it is then infinite, as it should be.
    with np.errstate(over="ignore"):
        PAINTERS[label](canvas)
    image = develop(canvas, 0)[margin:-margin, margin:-margin]
    # White balance and focus are the microscope's, of every field its own.
    warm = rng.uniform(-0.7, 1.0)
    lamp = rng.uniform(0.86, 1.03) * np.array([0.99 + 0.03 * warm, 0.985, 1.0 - 0.08 * warm])
    light = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.2, 1.2) * FINER * size / 192).astype(np.float64) * lamp
    return np.clip(light + 0.5, 0, 255).astype(np.uint8)


def vary(rng: np.random.Generator, image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Turn by up to `MAX_TURN` degrees, crop what has no corner outside, mirror either way by even chance.

    That is how LC25000 was made. The crop is the largest upright square within the turned one, so that a turn also
    magnifies, by cos + sin of its angle.

    Parameters
    ----------
    rng : numpy Generator
    image : uint8 (s, s, 3)
    size : int
        Side of the result, px.

    Returns
    -------
    uint8 (size, size, 3)
    """
    degrees = rng.uniform(-MAX_TURN, MAX_TURN)
    turn = np.deg2rad(abs(degrees))
    centre = (image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2
    matrix = cv2.getRotationMatrix2D(centre, degrees, float(np.cos(turn) + np.sin(turn)))
    turned = cv2.warpAffine(image, matrix, image.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    small = cv2.resize(turned, (size, size), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        small = small[:, ::-1]
    if rng.random() < 0.5:
        small = small[::-1]
    return np.ascontiguousarray(small, np.uint8)


def _look(rng: np.random.Generator) -> Look:
    """Stain and cells of one field; the same for all classes, so that colour tells the field and not the class."""
    return Look(
        haematoxylin=rng.uniform(0.60, 1.40),
        eosin=rng.uniform(0.55, 1.35),
        haematoxylin_hue=rng.uniform(-0.3, 1.2),
        eosin_hue=rng.uniform(0.0, 1.2),
        cell=rng.uniform(0.86, 1.14),
        clear=rng.uniform(0.0, 0.4),
        inflamed=rng.uniform(0.3, 2.2),
        fibroblasts=rng.uniform(0.5, 1.3),
        soot=0.0,
    )


def _plan(rng: np.random.Generator, side_um: float) -> Layout:
    """Nothing but stroma, which each class paints over, and a vessel for those that show one."""
    shape = (int(np.ceil(side_um / LAYOUT_MPP)),) * 2
    y, x = rng.uniform(0.1, 0.9, 2) * side_um
    vessel = Vessel(y, x, rng.uniform(14, 34), rng.uniform(0.22, 0.4), rng.uniform(0.5, 0.9), rng.uniform(0, 3.14))
    vessels = (vessel,) if rng.random() < 0.35 else ()
    return Layout(np.full(shape, np.uint8(Kind.STROMA)), np.zeros(shape, bool), vessels, ())


def _table(classes: Sequence[str], sources: int, variants: int, seed: int) -> pd.DataFrame:
    """A row per image, with its source and variant; names are numbered in an order drawn at random."""
    rows = []
    for label in classes:
        rng = np.random.default_rng([seed, zlib.crc32(f"names of {label}".encode())])
        numbers = rng.permutation(sources * variants) + 1
        for index, number in enumerate(numbers.tolist()):
            source, variant = divmod(index, variants)
            file = f"{FOLDERS[label]}/{label}/{STEMS[label]}{number}.png"
            rows.append((file, label, f"{label}_{source + 1}", source, variant))
    return pd.DataFrame(rows, columns=["file", "label", "group", "source", "variant"])


def _write_source(folder: Path, rows: pd.DataFrame, size: int, seed: int) -> None:
    """Write the files of one field of view, unless they are all there."""
    label, source = str(rows["label"].iloc[0]), int(rows["source"].iloc[0])
    paths = [folder / file for file in rows["file"]]
    if all(path.is_file() for path in paths):
        return
    image = draw_source(label, source, size, seed)
    for path, variant in zip(paths, rows["variant"], strict=True):
        rng = np.random.default_rng([seed, zlib.crc32(f"variants of {label}".encode()), source, int(variant)])
        with whole_file(path) as temporary:
            Image.fromarray(vary(rng, image, size)).save(temporary)


def _write_groups(path: Path, table: pd.DataFrame) -> None:
    """Which files share a field of view: class, name of the file, group."""
    groups = pd.DataFrame(
        {"class": table["label"], "file": table["file"].str.rsplit("/", n=1).str[-1], "group": table["group"]}
    )
    with whole_file(path) as temporary:
        groups.to_csv(temporary, index=False, lineterminator="\n")
