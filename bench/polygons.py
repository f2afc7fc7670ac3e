"""Annotations by the ten thousand: seconds to read, unite and rasterise them, and how that grows with their number.

    python -m bench.polygons [--side 78]

There are `side` x `side` regions (6,084 by default), and four times as many: lobes of tumour that lie apart or overlap,
each with a smaller region of non-tumour in it, and now and then one that is to be ignored. The growth is how many times
longer four times the regions take: 4 is in proportion, 16 is quadratic.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

from bench.machine import flags

from drunet.annotation import Source, rasterise
from drunet.annotation.geojson import read_geojson
from drunet.annotation.region import Annotation

CLASSES = {"tumour": ["Tumor"], "non_tumour": ["Other"], "ignore": ["Ignore*"]}
GAP, CORNERS = 200.0, 24


def features(side: int, pattern: str) -> bytes:
    """A GeoJSON file of side x side regions, every other one non-tumour inside of the one before it."""
    rng = np.random.default_rng(0)
    turn = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    # Lobes reach into their neighbours where they overlap; apart they keep a distance.
    radius = {"apart": 0.3, "overlapping": 0.7}[pattern] * GAP
    found = []
    for number in range(side * side):
        row, column = divmod(number // 2, side)
        inner = number % 2
        name = "Other" if inner else "Ignore*" if number % 20 == 0 else "Tumor"
        middle = np.array([column + 1.0, row + 1.0]) * GAP
        reach = radius * (0.4 if inner else 1.0) * rng.uniform(0.8, 1.2, CORNERS)
        ring = middle + reach[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1)
        ring = np.vstack([ring, ring[:1]]).round(1)
        found.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [ring.tolist()]},
                "properties": {"classification": {"name": name}},
            }
        )
    return json.dumps({"type": "FeatureCollection", "features": found}).encode()


def seconds(data: bytes, size: int) -> dict[str, float]:
    """Time of each step."""
    source = Source("bench", "bench.geojson", size, size, CLASSES)
    taken, begun = {}, time.process_time()

    def done(step: str) -> None:
        nonlocal begun
        taken[step] = time.process_time() - begun
        begun = time.process_time()

    regions = read_geojson(data, source)
    source.check_overlaps(regions)
    done("read")
    annotation = Annotation("wta", regions)
    tumour = annotation.tumour
    done("tumour")
    annotation.non_tumour  # noqa: B018
    done("non-tumour")
    annotation.smallest_tumour_px2  # noqa: B018
    done("smallest")
    rasterise(tumour, (size // 8, size // 8), slide_size=(size, size))
    done("rasterise")
    return taken


def main() -> None:
    """Print a row per pattern and step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--side", type=int, default=78, help="regions are its square, and four times that")
    side = parser.parse_args().side
    print(flags())
    for pattern in ("apart", "overlapping"):
        few, many = (seconds(features(s, pattern), int(GAP * (s + 2))) for s in (side, 2 * side))
        print(f"\n{pattern:14}{side**2:>10} regions{4 * side**2:>10} regions{'growth':>9}")
        for step, before in few.items():
            print(f"{step:14}{before:>16.2f} s{many[step]:>16.2f} s{many[step] / max(before, 1e-3):>9.1f}", flush=True)


if __name__ == "__main__":
    main()
