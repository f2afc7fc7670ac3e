"""How much faster a cascade is than its teacher, and int8 than float32, from slide to heatmap, and what each costs.

    python bench/cascade.py RESULTS RUN --sheet slides.tsv --teacher model.onnx --student int8.onnx
        [--int8 teacher_int8.onnx] [--teacher-precision int8] [--tiles 20000] [--provider openvino] [--split test]
        [--larger 16]

RESULTS is the folder of a run with a cascade whose models and `band.json` are made and whose slides have their tiles.
Slide after slide the same tiles are read and judged in turn by the teacher in float32 on ONNX Runtime, the same in
int8, and the cascade with and without its audit. The slides are repeated until there are as many tiles as asked for;
float32 judges them the first time alone. Printed are tiles per second with reading, their ratio to float32's, |Δp| and
sides of the threshold against float32, and Dice of the tiles with the annotated area, where there is one. An audit
takes as many tiles of a small slide as of a large one: `--larger` gives the cascade each slide's tiles so many times,
as a larger slide of such tissue would have them.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

from engine import processor

from drunet.cascade import Band, classify_cascade, judged
from drunet.cohort import read_sheets
from drunet.files import read_json
from drunet.grid import Grid
from drunet.inference import EngineOptions
from drunet.quantisation import differences
from drunet.settings.cascade import CascadeSettings
from drunet.tiles import read_table

THRESHOLD, SEED = 0.5, 1


def main() -> None:
    """Run all variants and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("run")
    parser.add_argument("--sheet", required=True)
    parser.add_argument("--teacher", type=Path, required=True, help="in float32")
    parser.add_argument("--student", type=Path, required=True)
    parser.add_argument("--int8", type=Path, default=None, help="the teacher in int8")
    parser.add_argument("--tiles", type=int, default=20_000)
    parser.add_argument("--larger", type=int, default=1, help="how often a slide has each of its tiles")
    parser.add_argument("--split", default="test")
    parser.add_argument("--provider", default="cpu")
    parser.add_argument("--student-precision", default="int8")
    parser.add_argument("--teacher-precision", default="float32")
    parser.add_argument("--audit", type=int, default=CascadeSettings.model_fields["audit"].default)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    print(processor())

    facts = read_json(given.results / f"runs/{given.run}/band.json")
    band = Band(facts["low"], facts["high"])
    plain = EngineOptions("cpu", batch_size=given.batch, threads=given.threads)
    fast = EngineOptions(given.provider, batch_size=given.batch, threads=given.threads)
    own = {"student": "student", "precision": given.student_precision, "teacher_precision": given.teacher_precision}
    audits = {"cascade": given.audit, "cascade without audit": 0}
    settings = {name: CascadeSettings.of({**own, "audit": n}, "cascade") for name, n in audits.items()}
    rows = [r for r in read_sheets([given.sheet], None).values() if r.split == given.split]
    slides = []
    for row in rows:
        folder = given.results / "slides" / row.slide_id
        if not (folder / "tiles.parquet").is_file():
            continue
        table, grid = read_table(folder / "tiles.parquet")
        files = (row.path, str(folder / "tissue.png"), [], None)
        slide = {"slide_id": row.slide_id, "mpp": row.mpp}
        table = pd.concat([table] * given.larger, ignore_index=True)
        places = table, Grid.from_dict(grid["grid"])
        slides.append((table, slide, partial(judged, layout={}, files=files, slide=slide, tiles=places)))

    banded = given.teacher if given.teacher_precision == "float32" else given.int8
    seconds: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    areas: list[np.ndarray] = []
    certificates = []
    while counts["cascade"] < given.tiles:
        repeat = counts["cascade"] // max(sum(len(table) for table, _, _ in slides), 1)
        for table, slide, judge in slides:
            every = np.arange(len(table))
            once = every[: len(table) // given.larger]
            made = {}
            if repeat == 0:
                made["float32"] = judge(str(given.teacher), options=plain, precision="float32")(once)
                areas.append(table["tumour_fraction"].to_numpy(float))
            if given.int8:
                made["int8"] = judge(str(given.int8), options=fast, precision="int8")(once)
            for name, told in settings.items():
                made[name], certificate = classify_cascade(
                    judge(str(given.student), options=fast, precision=given.student_precision),
                    judge(str(banded), options=fast, precision=given.teacher_precision),
                    None
                    if given.teacher_precision == "float32"
                    else judge(str(given.teacher), options=fast, precision="float32"),
                    len(table),
                    band,
                    told,
                    threshold=THRESHOLD,
                    seed=SEED + repeat,
                    slide_id=slide["slide_id"],
                )
                if told.audit:
                    certificates.append(certificate)
                    print(certificate.sentence(slide["slide_id"], told), flush=True)
            for name, result in made.items():
                seconds[name] += result.seconds
                counts[name] += len(result.p_tumour)
                if repeat == 0:
                    found[name].append(np.resize(result.p_tumour, len(table)))
    truth, exact = np.concatenate(areas), np.concatenate(found["float32"])
    print(f"{'':24}{'tiles':>8}{'tiles/s':>9}{'ratio':>7}{'|Δp|':>8}{'sides':>8}{'Dice':>8}")
    base = counts["float32"] / seconds["float32"]
    for name, spent in seconds.items():
        rate, answer = counts[name] / spent, np.concatenate(found[name])
        apart = differences(exact, answer, THRESHOLD)
        print(
            f"{name:24}{counts[name]:8}{rate:9.1f}{rate / base:7.2f}{apart['mean_difference']:8.4f}"
            f"{apart['sides']:8.4f}{dice(answer, truth):8.4f}"
        )
    shares = [c.by_teacher / c.tiles for c in certificates]
    bounds = [c.bound for c in certificates if c.bound is not None]
    full = sum(c.in_full for c in certificates)
    print(
        f"by the teacher {np.mean(shares):.1%} of the tiles; bound {np.median(bounds):.2%} (median), {max(bounds):.2%} "
        f"(largest); {full} of {len(certificates)} slides in full; band {band.low:.4f} to {band.high:.4f}"
    )


def dice(p_tumour: np.ndarray, area: np.ndarray) -> float:
    """Dice coefficient of the tiles from the threshold on with the annotated area, over all slides with one."""
    judged_, found = np.isfinite(area), p_tumour >= THRESHOLD
    either = area[judged_].sum() + found[judged_].sum()
    return float(2 * area[judged_ & found].sum() / either) if either else float("nan")


if __name__ == "__main__":
    main()
