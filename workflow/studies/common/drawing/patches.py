"""The embedded set of histology patches, in the layout of LC25000 and made the way it was.

LC25000 (Borkowski et al. 2019) holds some 250 fields of view a class, each turned and mirrored into twenty files whose
names do not tell which field they come from. So does this set: a random split of it leaks, a split by field does not.
"""

import os
import zlib
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from drunet.console import progress
from drunet_demo import canvas as bodies
from drunet_demo.canvas import Body, Canvas, Look
from drunet_demo.fields import Field, Mask, top_share
from drunet_demo.layout import Kind
from drunet_demo.tissues import paint_alveoli, paint_lining, paint_necrosis, paint_stroma, paint_tumour, paint_vessels
from studies.common.user_paths import whole_folder

# Width of a field of view, µm: two or three crypts, some ten cells of a tumour. A margin is drawn and cut away, since
# nuclei at the border of a canvas are left out; all is drawn finer, so that turning blurs no more than a camera does.
FIELD_UM, MARGIN_UM, FINER, MAX_TURN = (106.0, 164.0), 10.0, 2, 25.0
# Stain and cells vary between fields and not between classes, so that colour tells the field.
VARIES = {
    "haematoxylin": (0.50, 1.50), "eosin": (0.45, 1.45), "haematoxylin_hue": (-0.3, 1.2), "eosin_hue": (0.0, 1.2),
    "cell": (0.86, 1.14), "clear": (0.0, 0.4), "inflamed": (0.3, 2.2), "fibroblasts": (0.5, 1.3),
}  # fmt: skip
PENCIL = Body(11.5, 4.9, 0.50, 0.14, rim=0.12, clumps=0.26)
GOBLET = Body(11.5, 6.8, 1.0, rim=0.0, clumps=0.0)
KERATIN_CELL = Body(14.0, 10.5, 0.36, 0.16, 0.07, clumps=0.0)


def write_patch_set(
    folder: str | os.PathLike[str], *, sources: int, variants: int, size: int, seed: int
) -> pd.DataFrame:
    """Write an image set: `lung_image_sets/lung_aca/lungaca1.png` and so on, and `groups.csv` (class, file, group).

    The folder must be new or empty, and is there whole or not at all. Each class has so many fields of view as
    `sources` says, each field `variants` files of `size` px. The same `seed` gives the same pixels and names; a field's
    pixels depend on no other field. Returns file, label and group of each image, sorted by file.
    """
    rows = []
    with whole_folder(folder) as new, progress(len(CLASSES) * sources, "drawing patches", "fields") as bar:
        for label, (stem, _) in CLASSES.items():
            # Names are numbered in an order drawn at random: they do not tell the field.
            numbers = iter(_stream(seed, f"names of {label}").permutation(sources * variants) + 1)
            (new / stem).parent.mkdir(parents=True)
            for source in range(sources):
                image, rng = draw_source(label, source, size, seed), _stream(seed, f"variants of {label}", source)
                for _ in range(variants):
                    rows.append((f"{stem}{next(numbers)}.png", label, f"{label}_{source + 1}"))
                    Image.fromarray(vary(rng, image, size)).save(new / rows[-1][0])
                bar.update()
        table = pd.DataFrame(sorted(rows), columns=["file", "label", "group"])
        groups = {"class": table["label"], "file": table["file"].map(os.path.basename), "group": table["group"]}
        pd.DataFrame(groups).to_csv(new / "groups.csv", index=False, lineterminator="\n")
    return table


def draw_source(label: str, source: int, size: int, seed: int) -> NDArray[np.uint8]:
    """Draw one field of view of a class: uint8 RGB, `FINER` times `size` px wide."""
    rng = _stream(seed, label, source)
    mpp = rng.uniform(*FIELD_UM) / (FINER * size)
    margin = int(np.ceil(MARGIN_UM / mpp))
    own: dict[str, Any] = {key: rng.uniform(*span) for key, span in VARIES.items()}
    kinds = np.full((FINER * size + 2 * margin,) * 2, Kind.STROMA, np.uint8)
    canvas = Canvas(rng, kinds, mpp, replace(Look(), **own))
    CLASSES[label][1](canvas)
    image = canvas.develop()[margin:-margin, margin:-margin]
    # White balance and focus are the microscope's, of every field its own.
    warm = rng.uniform(-0.7, 1.0)
    lamp = rng.uniform(0.86, 1.03) * np.array([0.99 + 0.03 * warm, 0.985, 1.0 - 0.08 * warm])
    light = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.2, 1.2) * FINER * size / 192) * lamp
    return np.clip(light + 0.5, 0, 255).astype(np.uint8)


def vary(rng: np.random.Generator, image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Turn by up to `MAX_TURN` degrees, crop what has no corner outside, mirror either way by even chance.

    That is how LC25000 was made. The crop is the largest upright square within the turned one, so that a turn also
    magnifies, by cos + sin of its angle. `image` is uint8 (s, s, 3), the result (size, size, 3).
    """
    degrees, middle = rng.uniform(-MAX_TURN, MAX_TURN), (image.shape[1] - 1) / 2
    zoom = float(np.cos(np.deg2rad(degrees)) + abs(np.sin(np.deg2rad(degrees))))
    matrix = cv2.getRotationMatrix2D((middle, middle), degrees, zoom)
    turned = cv2.warpAffine(image, matrix, image.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    down, right = rng.choice([-1, 1], 2)
    return np.ascontiguousarray(cv2.resize(turned, (size, size), interpolation=cv2.INTER_AREA)[::down, ::right])


def _stream(seed: int, name: str, *numbers: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode()), *numbers])


def _acini(canvas: Canvas, pitch: float, gap: float, height: float) -> tuple[Mask, Field, Mask]:
    """Irregular glands of tumour, or alveolar walls lined by it: the lining, depth in the glands, and their lumens."""
    depth = np.asarray(canvas.rooms(pitch, 10, missing=0.1)[0] - gap - 1.5 * canvas.noise(60), np.float32)
    thick = height + 2 * canvas.noise(22)
    basophil = 0.125 * (1 - 0.6 * canvas.look.clear)
    return paint_lining(canvas, np.ones(canvas.shape, bool), depth, thick, basophil), depth, depth > thick + 3


def _sheets(canvas: Canvas, lumens: float) -> Mask:
    """Solid nests with septa of stroma; return where they are. The whole field lies within the tumour."""
    septa = canvas.rng.choice([0.5, 3.0, 7.0]) * (1 + 0.4 * canvas.noise(60))
    nests = canvas.rooms(canvas.rng.uniform(80, 130), 16, missing=0.2)[0] > np.maximum(septa, 0.4)
    canvas.look = replace(canvas.look, lumens=lumens)
    paint_stroma(canvas, ~nests)
    paint_tumour(canvas, nests, np.full(canvas.shape, 500, np.float32))
    return nests


def _lung_adenocarcinoma(canvas: Canvas) -> None:
    """Acini lined by large vesicular nuclei, mucin in some; now and then lepidic or solid growth."""
    rng, nucleus = canvas.rng, canvas.look.nucleus
    growth = rng.choice(["acinar", "lepidic", "solid"], p=[0.6, 0.25, 0.15])
    if growth == "solid":
        _sheets(canvas, rng.uniform(0.06, 0.16))
        return
    acinar = growth == "acinar"
    lining, depth, lumen = _acini(canvas, rng.uniform(52, 76), rng.uniform(3, 8) if acinar else 3, 15 if acinar else 9)
    nucleus = nucleus._replace(length=11.2 * canvas.look.cell, width=8.8 * canvas.look.cell)
    canvas.row(lining, nucleus, 1.1 * nucleus.width, 0.92, depth, 5.5)
    canvas.row(lining, nucleus, 1.4 * nucleus.width, rng.uniform(0.0, 0.5), depth, 12.0)
    canvas.lay(0.5 * lumen * (rng.random() < 0.4), np.clip(0.07 + 0.07 * canvas.noise(14), 0, 1), 0.03)


def _squamous_carcinoma(canvas: Canvas) -> None:
    """Sheets of pink polygonal cells, keratin pearls with flat nuclei round them, and single keratinised cells."""
    rng, nests = canvas.rng, _sheets(canvas, 0.0)
    canvas.e *= np.where(nests, np.float32(rng.uniform(1.0, 1.3)), np.float32(1))
    rows, columns = np.ogrid[: canvas.shape[0], : canvas.shape[1]]
    for y, x in rng.choice(np.argwhere(canvas.inside(nests) > 8), rng.choice([0, 1, 2, 3], p=[0.15, 0.35, 0.3, 0.2])):
        far = np.hypot(rows - y, columns - x) * canvas.mpp * (1 + 0.1 * canvas.noise(45)) + 1.2 * canvas.noise(18)
        depth = np.asarray(rng.uniform(11, 26) - far, np.float32)
        cover = canvas.edge(depth)
        canvas.nuclear *= 1 - cover
        canvas.cover *= 1 - cover
        canvas.lay(cover, 0.02, 0.33 + 0.07 * np.sin(far * 1.5 + 0.8 * canvas.noise(14)))
        for at, chance in ((-1.5, 0.85), (-5.5, 0.55), (3.5, 0.30)):
            canvas.row(nests, bodies.SPINDLE, 9.0, chance, depth, at, along=True)
    single = canvas.scatter(nests, KERATIN_CELL, 24.0, rng.uniform(0.05, 0.35), layer=canvas.e)
    canvas.place(single, rng.uniform(0, np.pi, len(single)), bodies.LYMPHOCYTE)


def _benign_lung(canvas: Canvas) -> None:
    """Alveoli with capillaries in their walls; a scar or a vessel in some fields, and fresh blood."""
    rng, kinds = canvas.rng, canvas.kinds
    kinds[~top_share(canvas.noise(110), kinds > 0, rng.uniform(-0.3, 0.8))] = Kind.ALVEOLI
    if rng.random() < 0.35:
        rows, columns = ((np.arange(side) - side * rng.uniform(0.1, 0.9)) * canvas.mpp for side in canvas.shape)
        kinds[np.hypot(rows[:, None], columns * rng.uniform(0.6, 1)) < rng.uniform(14, 34)] = Kind.VESSEL
    paint_stroma(canvas, kinds == Kind.STROMA)
    paint_alveoli(canvas, kinds == Kind.ALVEOLI)
    bled = np.clip(0.5 * canvas.noise(70) - rng.uniform(0.1, 1.2), 0, 0.8)
    canvas.scatter((kinds == Kind.ALVEOLI) & (canvas.e < 0.05), bodies.RED_CELL, 7.0, bled, layer=canvas.red)
    paint_vessels(canvas, kinds == Kind.VESSEL)


def _colon_adenocarcinoma(canvas: Canvas) -> None:
    """Crowded irregular glands: long dark nuclei in several rows, lumens full of pink dirt and nuclear dust."""
    rng = canvas.rng
    lining, depth, lumen = _acini(canvas, rng.uniform(54, 78), rng.uniform(2, 5), rng.uniform(15, 20))
    paint_necrosis(canvas, lumen & (canvas.noise(90) > rng.uniform(-2.0, -0.4)))
    stratified = rng.uniform(0.3, 0.9)
    for at, chance in ((5.5, 0.95), (10.0, stratified), (14.0, 0.5 * stratified)):
        canvas.row(lining, PENCIL, 5.6, chance, depth, at)


def _benign_colon(canvas: Canvas) -> None:
    """Round crypts of one size in a lattice: basal nuclei in a row, goblet cells above them, a small lumen."""
    rng, pitch = canvas.rng, canvas.rng.uniform(58, 72)
    wall, seed = canvas.rooms(pitch, 2.0, jitter=0.10)
    depth = np.minimum(wall - rng.uniform(2, 4), rng.uniform(0.42, 0.48) * pitch - seed).astype(np.float32)
    lining = paint_lining(canvas, np.ones(canvas.shape, bool), depth, 20 + 1.5 * canvas.noise(30), 0.085)
    mucin, rich = np.zeros(canvas.shape, np.float32), rng.uniform(0.3, 0.95)
    for at in (11.0, 16.5):
        canvas.row(lining, GOBLET, 7.6, rich, depth, at, layer=mucin)
    canvas.lay(np.clip(mucin, 0, 1) * (depth > 7.0), rng.uniform(0.03, 0.07), 0.025)
    canvas.row(lining, bodies.COLUMNAR, 5.6, 0.96, depth, 4.4)


# Files of each class, without their number, and how it is painted.
CLASSES = {
    "lung_aca": ("lung_image_sets/lung_aca/lungaca", _lung_adenocarcinoma),
    "lung_n": ("lung_image_sets/lung_n/lungn", _benign_lung),
    "lung_scc": ("lung_image_sets/lung_scc/lungscc", _squamous_carcinoma),
    "colon_aca": ("colon_image_sets/colon_aca/colonca", _colon_adenocarcinoma),
    "colon_n": ("colon_image_sets/colon_n/colonn", _benign_colon),
}
