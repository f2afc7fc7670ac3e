"""Faults and shifts of known extent, made on real tissue: how well quality and drift are told, and what that costs.

python -m bench.quality [SLIDE...] [--mpp MPP] [--patches FOLDER] [--model MODEL.onnx] [--pictures FOLDER]

Slides: faults are made on their tissue tiles. Patches (pictures of tissue at 1 µm/px, some of them laid together as a
slide): shifts of stain, scanner and resolution. A model of 224 px tells which share of its time the measures take.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from bench.machine import flags
from bench.reading import tissue_places
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from drunet.inference import EngineOptions, Layout, open_session, probabilities
from drunet.quality import MEASURES, TileMeasures, faults, focus, measures
from drunet.slide import Slide
from drunet.stains import DENSITY, jitter_hed
from drunet.uncertainty.appearance import TRAITS, UNLIKE, false_alarms, likeness, traits

Pixels = NDArray[np.uint8]
SIDE, SEED = 224, 7
# Tiles of patches, which are small.
SMALL, STEP = 112, 80
# A pen's ink as a filter, R, G, B of 255.
INKS = {
    "blue": (30, 60, 200),
    "thin blue": (110, 150, 235),
    "green": (30, 150, 60),
    "thin green": (130, 210, 150),
    "black": (25, 25, 30),
    "thin black": (120, 120, 125),
    "red": (215, 25, 35),
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slides", nargs="*", type=Path)
    parser.add_argument("--mpp", type=float, help="level-0 µm/px, where the file does not say it")
    parser.add_argument("--patches", type=Path, help="folder of pictures at 1 µm/px")
    parser.add_argument("--model", type=Path, help="ONNX classifier of tiles of 224 px")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of what was made and of the results")
    asked = parser.parse_args()
    print(flags())
    results = []
    for path in asked.slides:
        tiles = tiles_of(path, asked.mpp, 600)
        results.append(fault_table(tiles).assign(slide=path.stem))
        if asked.pictures:
            show_faults(tiles, asked.pictures / f"faults_{path.stem}.png")
        if asked.model:
            print(cost(tiles[:32], asked.model))
    if results:
        print(pd.concat(results).to_string(index=False, float_format="%.3f"))
    if asked.patches:
        # Grouped anew in each draw: what is learnt from, and what is judged.
        table = drift_table(sorted(asked.patches.rglob("img/*.png")) or sorted(asked.patches.rglob("*.png")))
        print(table.to_string(float_format="%.2f"))
    if asked.pictures:
        show_results(results, table if asked.patches else None, asked.pictures / "results.png")


def tiles_of(path: Path, mpp: float | None, count: int) -> Pixels:
    """Tissue tiles of a slide at 1 µm/px, uint8 (n, 224, 224, 3), drawn at random."""
    places = tissue_places(path, mpp, SIDE)
    chosen = np.random.default_rng(SEED).permutation(len(places))[:count]
    with Slide(path, "slide", mpp) as slide:
        return np.stack([slide.read(*places[i], (SIDE, SIDE), 1.0) for i in sorted(chosen)])


def blurred(tile: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """A tile out of focus by `sigma` µm, as a whole."""
    return np.asarray(cv2.GaussianBlur(tile, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.uint8)


def folded(tile: Pixels, width: float, rng: np.random.Generator) -> Pixels:
    """A band of the tile, `width` µm wide, lies over what is beside it, mirrored at its edge: densities add.

    Of eight bands drawn at random, the one with most tissue in it: a fold of glass is none.
    """
    y, x = np.indices((SIDE, SIDE), np.float32)
    stained = DENSITY[tile].sum(axis=2) > 0.15
    bands = []
    for _ in range(8):
        angle, place = rng.uniform(0, np.pi), rng.uniform(0.3, 0.7) * SIDE
        normal = np.array([np.cos(angle), np.sin(angle)], np.float32)
        along = (x - SIDE / 2) * normal[0] + (y - SIDE / 2) * normal[1] + SIDE / 2 - place
        inside = (along > 0) & (along < width)
        bands.append((int((inside & stained).sum()), along, normal, inside))
    _, along, normal, inside = max(bands, key=lambda band: band[0])
    shift = np.where(along > 0, 2 * (width - along), 0).astype(np.float32)
    beside = x + shift * normal[0], y + shift * normal[1]
    # The upper layer lies out of the plane of focus.
    over = cv2.GaussianBlur(cv2.remap(tile, *beside, cv2.INTER_LINEAR, None, cv2.BORDER_REFLECT), (0, 0), 1.0)
    density = DENSITY[tile] + np.where(inside[..., None], DENSITY[over], 0)
    return np.clip(np.rint(255 * 10.0**-density), 0, 255).astype(np.uint8)


def inked(tile: Pixels, colour: str, rng: np.random.Generator) -> Pixels:
    """A pen's stroke over a part of the tile, as a filter over what is below."""
    angle, edge = rng.uniform(0, 2 * np.pi), rng.uniform(-0.3, 0.3) * SIDE
    y, x = np.indices((SIDE, SIDE), np.float32)
    inside = (x - SIDE / 2) * np.cos(angle) + (y - SIDE / 2) * np.sin(angle) > edge
    seen = tile.astype(np.float32) * np.float32(INKS[colour]) / 255
    return np.where(inside[..., None], np.rint(seen), tile).astype(np.uint8)


MADE: list[tuple[str, str, Callable[..., Pixels], list[float] | list[str]]] = [
    ("blurred", "sigma, µm", blurred, [1.0, 1.5, 2.0, 3.0]),
    ("folded", "width, µm", folded, [30.0, 50.0, 80.0]),
    ("pen", "ink", inked, list(INKS)),
]


def fault_table(tiles: Pixels) -> pd.DataFrame:
    """Per fault and extent: AUC of the measure, all tiles with it against all without; and, with it on a fifth of the
    slide's tiles, the share of those that is found and of the others that is called so.
    """
    rows, clean = [], _measured(tiles)
    for fault, unit, make, extents in MADE:
        for extent in extents:
            rng = np.random.default_rng(SEED)
            bad = _measured(np.stack([make(tile, extent, rng) for tile in tiles]))
            score = {
                "blurred": lambda t: -_filled(focus(t)),
                "folded": lambda t: t["unbroken"],
                "pen": lambda t: t["ink"],
            }[fault]
            auc = roc_auc_score([0] * len(tiles) + [1] * len(tiles), [*score(clean), *score(bad)])
            found, called = [], []
            for _ in range(20):
                chosen = rng.random(len(tiles)) < 0.2
                told = faults(clean.mask(pd.Series(chosen), bad)) == fault
                found.append(told[chosen].mean())
                called.append(told[~chosen].mean())
            rows.append((fault, f"{extent} ({unit})", len(tiles), auc, np.mean(found), np.mean(called)))
    return pd.DataFrame(rows, columns=["fault", "extent", "tiles", "AUC", "found", "false alarms"])


def _filled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    # What tells no sharpness is in the middle.
    return np.where(np.isfinite(values), values, np.nanmedian(values))


def _measured(tiles: Pixels) -> pd.DataFrame:
    seen = TileMeasures(len(tiles), 1.0)
    seen(np.arange(len(tiles)), tiles, np.ones(len(tiles), bool))
    return seen.table()[list(MEASURES)]


def _scaled(factor: float) -> Callable[[Pixels], Pixels]:
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return lambda image: np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=way), np.uint8)


def _gain(*factors: float) -> Callable[[Pixels], Pixels]:
    return lambda image: np.clip(np.rint(image * np.float32(factors)), 0, 255).astype(np.uint8)


def _stained(haematoxylin: float, eosin: float) -> Callable[[Pixels], Pixels]:
    return lambda image: jitter_hed(image, (haematoxylin, eosin, 1), (0, 0, 0))


def _jpeg(quality: int) -> Callable[[Pixels], Pixels]:
    def change(image: Pixels) -> Pixels:
        _, stream = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        return np.ascontiguousarray(np.asarray(cv2.imdecode(stream, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])

    return change


SHIFTS: dict[str, Callable[[Pixels], Pixels]] = {
    "none": lambda image: image,
    "haematoxylin + 20 %": _stained(1.2, 1),
    "haematoxylin + 50 %": _stained(1.5, 1),
    "haematoxylin - 20 %": _stained(0.8, 1),
    "eosin + 20 %": _stained(1, 1.2),
    "eosin - 20 %": _stained(1, 0.8),
    "eosin - 40 %": _stained(1, 0.6),
    "darker by 10 %": _gain(0.9, 0.9, 0.9),
    "warmer (red + 5 %, blue - 5 %)": _gain(1.05, 1.0, 0.95),
    "bluer (red - 15 %, green - 8 %)": _gain(0.85, 0.92, 1.0),
    "out of focus, sigma 1 µm": lambda image: np.asarray(cv2.GaussianBlur(image, (0, 0), 1.0), np.uint8),
    "µm/px wrong: 1.5 times as large": _scaled(1.5),
    "µm/px wrong: 2 times as large": _scaled(2.0),
    "µm/px wrong: half as large": _scaled(0.5),
    "JPEG quality 50": _jpeg(50),
    "JPEG quality 20": _jpeg(20),
}


def drift_table(patches: Sequence[Path], draws: int = 40) -> pd.DataFrame:
    """Share of held-out slides called unlike, per shift and for references of several sizes."""
    seen = {path: cv2.imread(str(path))[..., ::-1] for path in patches}
    rows = {
        (path, name): np.array([measures(tile, 1.0) for tile in _cut(change(np.ascontiguousarray(image)))])
        for path, image in seen.items()
        for name, change in SHIFTS.items()
    }
    columns = {}
    # Patches a slide, slides learnt from: what 65 patches allow.
    for each, learnt in ((6, 7), (4, 12), (3, 17)):
        rng = np.random.default_rng(SEED)
        called: dict[str, list[bool]] = {name: [] for name in SHIFTS}
        for _ in range(draws):
            order = rng.permutation(len(patches))
            slides = [[patches[i] for i in order[k : k + each]] for k in range(0, len(order) - each + 1, each)]
            known = {
                "traits": list(TRAITS),
                "slides": [traits(_joined(rows, slide, "none")) for slide in slides[:learnt]],
            }
            for slide in slides[learnt:]:
                for name in SHIFTS:
                    told = likeness(_joined(rows, slide, name), known)
                    called[name].append(told["appearance"] == UNLIKE)
        head = f"{learnt} learnt, by chance <= {false_alarms(learnt):.2f}, {len(called['none'])} judged"
        columns[head] = {name: float(np.mean(values)) for name, values in called.items()}
    return pd.DataFrame(columns)


def _cut(image: Pixels) -> list[Pixels]:
    height, width = image.shape[:2]
    places = [(y, x) for y in range(0, height - SMALL + 1, STEP) for x in range(0, width - SMALL + 1, STEP)]
    return [np.ascontiguousarray(image[y : y + SMALL, x : x + SMALL]) for y, x in places]


def _joined(rows: dict[tuple[Path, str], NDArray[np.float64]], slide: Sequence[Path], shift: str) -> pd.DataFrame:
    parts = [rows[path, shift].reshape(-1, len(MEASURES)) for path in slide]
    return pd.DataFrame(np.concatenate(parts), columns=list(MEASURES))


def cost(tiles: Pixels, model: Path) -> str:
    """Processor time of the measures beside that of the network, on the same tiles in one run."""
    session = open_session(model, EngineOptions(threads=1), where="model")
    name = session.get_inputs()[0].name
    spent = {"network": 0.0, "measures": 0.0}
    for turn in range(4):
        start = time.process_time()
        probabilities(session, name, tiles, Layout(), "tiles")
        middle = time.process_time()
        for tile in tiles:
            measures(tile, 1.0)
        # The first turn warms up.
        if turn:
            spent["network"] += (middle - start) / 3 / len(tiles)
            spent["measures"] += (time.process_time() - middle) / 3 / len(tiles)
    each = {part: 1000 * seconds for part, seconds in spent.items()}
    share = each["measures"] / each["network"]
    return f"a tile: network {each['network']:.1f} ms, measures {each['measures']:.2f} ms ({share:.1%})"


def show_faults(tiles: Pixels, path: Path) -> None:
    """A picture of a tile with each fault."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    tile = max(tiles, key=lambda each: int((DENSITY[each].sum(axis=2) > 0.15).sum()))
    lines = [np.hstack([tile, *(make(tile, e, rng) for e in extents)]) for _, _, make, extents in MADE]
    widest = max(line.shape[1] for line in lines)
    padded = [np.pad(line, ((0, 8), (0, widest - line.shape[1]), (0, 0)), constant_values=255) for line in lines]
    cv2.imwrite(str(path), np.vstack(padded)[..., ::-1])


def show_results(results: Sequence[pd.DataFrame], drift: pd.DataFrame | None, path: Path) -> None:
    """A picture of the tables: shares found and false alarms."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(14, 8), layout="constrained")
    for table in results:
        label = table["fault"] + " " + table["extent"]
        left.plot(table["AUC"], label, "o", label=f"{table['slide'].iloc[0]}: AUC")
        left.plot(table["found"], label, "x", label=f"{table['slide'].iloc[0]}: found")
        left.plot(table["false alarms"], label, "|", label=f"{table['slide'].iloc[0]}: false alarms")
    left.set(title="Faults made on real tissue", xlim=(-0.02, 1.02))
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=2)
    if drift is not None:
        for head in drift:
            right.plot(drift[head], drift.index, "o", label=head)
    right.set(title="Share of slides called unlike", xlim=(-0.02, 1.02))
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.06))
    for axes in (left, right):
        axes.invert_yaxis()
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
