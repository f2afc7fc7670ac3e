"""Peak memory and seconds of every rule on a small and on a huge slide, whose tissue differs by a known factor.

    python -m bench.memory [--width 130000] [--height 100000] [--tissue 0.1] [--keep FOLDER]

The slides are written tile by tile: glass, and blocks of tissue with grains of tumour in them, at 0.25 µm/px. Each rule
is run by Snakemake as a user runs it; networks are tiny finished models, so that what is measured is the rest. Memory
is the most that one process held, seconds are the job's own. Asked: 1 GB and the model, whatever the slide's size.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import tifffile
import yaml
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))

import tiny_onnx  # noqa: E402
from bench.machine import flags  # noqa: E402
from bench.planning import folder_of  # noqa: E402

MPP, TILE, BLOCK, LEVELS = 0.25, 256, 2048, 4
GLASS, TISSUE, TUMOUR = (243, 242, 244), (224, 168, 196), (132, 84, 158)
SMALL = 10_000
# What each rule makes of a slide.
MADE = {
    "inspect_slide": "slides/{}/status.json",
    "list_slides": "slides.tsv",
    "extract_tiles": "slides/{}/tiles.parquet",
    "estimate_stains": "slides/{}/stains.json",
    "classify_tiles": "heatmaps/first/{}.tif",
    "refine_heatmap": "runs/whole/{}/refined.tif",
    "postprocess": "runs/whole/{}/segmentation.tif",
    "export_geojson": "runs/whole/{}/segmentation.geojson",
    "export_qupath_tiles": "runs/whole/{}/tiles.geojson.gz",
    "export_ome_tiff": "runs/whole/{}/segmentation.ome.tif",
    "export_dicom_seg": "runs/whole/{}/segmentation.dcm",
    "draw_slide_pictures": "runs/whole/{}/overlay.jpg",
}


def write_slide(path: Path, width: int, height: int, share: float) -> float:
    """Write a pyramid, a tile at a time, and return its tissue in mm²; `share` of its blocks are tissue."""
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    tissue = np.zeros((rows, columns), bool)
    # From the corner by whole rows: sections are pieces, not single blocks.
    tissue.ravel()[: round(share * tissue.size)] = True
    tissue = np.roll(tissue, (1, 1), (0, 1))
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for level in range(LEVELS):
            size = (height >> 2 * level, width >> 2 * level, 3)
            tiff.write(
                _tiles(tissue, size[0], size[1], BLOCK >> 2 * level),
                shape=size,
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="ycbcr",
                subsampling=(1, 1),
                compression="jpeg",
                subfiletype=int(level > 0),
                resolution=(10_000 / (MPP * 4**level),) * 2,
                resolutionunit="CENTIMETER",
                metadata=None,
                software=False,
            )
    return float(tissue.sum()) * (BLOCK * MPP / 1000) ** 2


def _tiles(tissue: NDArray[np.bool_], height: int, width: int, block: int) -> Iterator[bytes]:
    """Encoded tiles of a level, in which a block of the slide has this side."""
    count = max(1, TILE // block)
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            part = np.zeros((count, count), np.uint8)
            found = tissue[top // block :, left // block :][:count, :count]
            part[: found.shape[0], : found.shape[1]] = found
            yield _encoded(part.tobytes(), top % block, left % block, block)


@cache
def _encoded(tissue: bytes, top: int, left: int, block: int) -> bytes:
    """A tile as JPEG: of count x count blocks, which hold tissue or do not, or a part of one from this corner."""
    count = max(1, TILE // block)
    inside = np.frombuffer(tissue, np.uint8).reshape(count, count).repeat(TILE // count, 0).repeat(TILE // count, 1)
    texture = np.tile(_block(block), (count, count, 1))[top : top + TILE, left : left + TILE]
    image = np.where(inside[..., None] > 0, texture, GLASS).astype(np.uint8)
    return bytes(imagecodecs.jpeg8_encode(image, level=85, subsampling="444"))


@cache
def _block(side: int) -> NDArray[np.uint8]:
    """A block of tissue with lumps of tumour, at a level where it has this side."""
    rng = np.random.default_rng(0)
    grain = cv2.GaussianBlur(rng.normal(0, 60, (BLOCK, BLOCK, 3)), (0, 0), 2)
    grain += cv2.GaussianBlur(rng.normal(0, 900, (BLOCK, BLOCK, 1)), (0, 0), 16)[..., None]
    lumps = cv2.GaussianBlur(rng.normal(0, 1, (BLOCK, BLOCK)), (0, 0), 100)
    image = np.where((lumps > 0.5 * lumps.std())[..., None], TUMOUR, TISSUE) + grain
    small = cv2.resize(image.clip(0, 255).astype(np.uint8), (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def lay(folder: Path, slides: list[str]) -> None:
    """Write the configuration, the sheet and two tiny networks."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    config["cohort"].update(sheet="slides.tsv", root="slides")
    config["tiles"].update(size=224, step=224)
    config["inference"].update(provider="cpu", readers=1)
    config["classifiers"] = {"first": {"onnx": "first.onnx"}}
    config["refiners"] = {"second": {"onnx": "second.onnx", "mpp": 8.0}}
    config["runs"] = {"whole": {"classifier": "first", "refiner": "second"}}
    tiny_onnx.colour_model(folder / "first.onnx", size=224)
    tiny_onnx.refiner_model(folder / "second.onnx", size=256)
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    rows = [f"{slide}\t{slide}\t{slide}.tif\t\t\t" for slide in slides]
    head = "slide_id\tpatient_id\tpath\tsplit\tannotation\tannotation_kind"
    (folder / "slides.tsv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")


def measured(folder: Path, rule: str, slide: str) -> tuple[float, float]:
    """Make what a rule makes; seconds of its job, and the MB that the largest process of the run held."""
    target = "results/" + MADE[rule].format(slide)
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--directory", str(folder)]
    command += ["--cores", "2", "--quiet", "all", "--", target]
    with (folder / "said.txt").open("w") as said:
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or not (folder / target).exists():
        raise SystemExit(f"{rule} of {slide} failed:\n" + (folder / "said.txt").read_text())
    # A slide that is refused goes through all that follows, and says nothing of what it takes.
    if rule == "inspect_slide" and (found := json.loads((folder / target).read_text())["status"]) != "ok":
        raise SystemExit(f"{slide} was refused: {found}")
    where = {"classify_tiles": f"first/{slide}", "list_slides": ""}
    kept = where.get(rule, f"whole/{slide}" if MADE[rule].startswith("runs") else slide)
    lines = (folder / "results/benchmarks" / (f"{rule}/{kept}.tsv" if kept else f"{rule}.tsv")).read_text().splitlines()
    return float(lines[1].split("\t")[0]), used.ru_maxrss / 1000


def main() -> None:
    """Print a row per rule."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--width", type=int, default=130_000)
    parser.add_argument("--height", type=int, default=100_000)
    parser.add_argument("--tissue", type=float, default=0.1, help="share of the slide that is tissue")
    parser.add_argument("--keep", type=Path, help="a new folder to work in, which stays")
    options = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    print(flags())
    with folder_of(options.keep) as folder:
        (folder / "slides").mkdir(parents=True)
        sizes = {"small": (SMALL, SMALL), "large": (options.width, options.height)}
        # In a process of its own: what this one held at most would count as its children's.
        with ProcessPoolExecutor(1) as pool:
            written = {
                s: pool.submit(write_slide, folder / f"slides/{s}.tif", *size, options.tissue)
                for s, size in sizes.items()
            }
            area = {slide: each.result() for slide, each in written.items()}
        lay(folder, list(sizes))
        for slide, (width, height) in sizes.items():
            print(f"{slide}: {width:,} x {height:,} px, {area[slide]:.1f} mm² of tissue")
        print(f"{area['large'] / area['small']:.0f} times the tissue\n")
        print(f"{'rule':22}{'small, s':>10}{'large, s':>10}{'times':>8}{'small, MB':>12}{'large, MB':>12}")
        for rule in MADE:
            (one, held), (other, most) = (measured(folder, rule, slide) for slide in sizes)
            print(f"{rule:22}{one:>10.1f}{other:>10.1f}{other / one:>8.1f}{held:>12.0f}{most:>12.0f}", flush=True)


if __name__ == "__main__":
    main()
