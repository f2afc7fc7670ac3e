"""A cohort of small slides and two ready-made networks: the whole workflow runs in a minute, without training."""

from __future__ import annotations

import copy
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pandas as pd
import tifffile
import yaml
from onnx import TensorProto, helper
from started_snakemake import run_snakemake

from drunet.files import write_json
from drunet_demo.pyramid import aperio_description, write_pyramid

ROOT = Path(__file__).resolve().parents[1]
# Apart from the sources, which tests search; without it every job would compile the library anew.
BYTECODE = tempfile.TemporaryDirectory(prefix="bytecode")
PARTS = ("Snakefile", "config.yaml", "workflow", "scripts", "profiles", "resources", "envs")
COLUMNS = ("slide_id", "patient_id", "path", "split", "annotation", "annotation_kind")

WIDTH, HEIGHT = 600, 500
REFINER_SIDE = 128
GLASS, TISSUE, TUMOUR = (243, 242, 244), (224, 168, 196), (132, 84, 158)
LABEL_COLOUR = (0, 255, 0)
# What a scanner writes beside the pixels, and names its files after.
OPERATOR = "Hildegunn-Scannerstad"
PATIENTS = {"tumour_a": "Pat-Kjellaug-0417", "tumour_b": "Pat-Torbjoern-1129", "unlabelled": "Pat-Oddrun-0908"}


def copy_repository(target: Path) -> Path:
    """Copy what the workflow consists of; times are kept, for Snakemake compares a script's with its outputs'."""
    target.mkdir(parents=True)
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, target / part, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copy2(ROOT / part, target / part)
    return target


@dataclass(frozen=True)
class Finished:
    """How a command ended: its exit status and everything that it printed."""

    status: int
    output: str

    def rules(self) -> dict[str, int]:
        """Jobs per rule, from the table that Snakemake prints before it starts."""
        lines = self.output.splitlines()
        start = next((i for i, line in enumerate(lines) if line.split() == ["job", "count"]), None)
        if start is None:
            return {}
        table = [line.split() for line in lines[start + 2 :]]
        end = next(i for i, cells in enumerate(table) if cells and cells[0] == "total")
        return {name: int(count) for name, count in table[:end]}


@dataclass
class Project:
    """A user's folder: configuration, sheet, slides, and whatever the workflow made of them.

    Attributes
    ----------
    repository : Path
        Copy of the workflow that is run on it.
    """

    folder: Path
    repository: Path
    config: dict[str, Any]
    rows: list[dict[str, str]] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path, repository: Path) -> Project:
        """The project that `write` wrote."""
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        table = pd.read_csv(folder / "slides.tsv", sep="\t", dtype=str, keep_default_na=False)
        return cls(
            folder, repository, config, [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
        )

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def copy_to(self, folder: Path) -> Project:
        """Copy the folder with the times of its files and Snakemake's notes, so that what is done stays done."""
        shutil.copytree(self.folder, folder)
        return Project(folder, self.repository, copy.deepcopy(self.config), copy.deepcopy(self.rows))

    def row(self, slide_id: str) -> dict[str, str]:
        return next(r for r in self.rows if r["slide_id"] == slide_id)

    def write(self) -> Project:
        """Write configuration and sheet."""
        (self.folder / "config.yaml").write_text(yaml.safe_dump(self.config), encoding="utf-8")
        table = pd.DataFrame(self.rows, columns=list(dict.fromkeys(c for r in self.rows for c in r)))
        table.to_csv(self.folder / "slides.tsv", sep="\t", index=False)
        return self

    def command(self, *arguments: str) -> list[str]:
        base = [sys.executable, "-m", "snakemake", "-s", str(self.repository / "Snakefile")]
        return [*base, "--directory", str(self.folder), "--cores", "2", *arguments]

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Finished:
        """Run Snakemake to its end; with more in the environment, in processes of its own."""
        command, asked = self.command(*arguments), clean_environment(environment)
        if environment is None:
            return Finished(*run_snakemake(command[3:], self.folder, asked))
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=asked,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=280,
            check=False,
        )
        return Finished(done.returncode, done.stdout)

    def dry_run(self, *targets: str) -> Finished:
        return self.run("--dry-run", *targets)

    def start(self) -> subprocess.Popen[bytes]:
        """Start Snakemake in a process group of its own."""
        return subprocess.Popen(
            self.command(),
            cwd=self.folder,
            env=clean_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def leftovers(self) -> list[Path]:
        """Temporary files of writers that did not get to their end."""
        return sorted(p for p in self.folder.rglob("*.part*") if ".snakemake" not in p.parts)


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without what a user's own settings of Snakemake would change."""
    # Where the environment forbids compiled modules, each job would compile all libraries: three times a start.
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SNAKEMAKE") and k != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": BYTECODE.name, "COLUMNS": "200", **(more or {})}


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and all its children at once, as a power cut would."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def make_project(folder: Path, repository: Path) -> Project:
    """Three slides that can be used, four that cannot, and networks that look at colour alone."""
    slides = folder / "slides"
    slides.mkdir(parents=True)
    project = Project(folder, repository, tiny_config(), [])
    for number, (slide_id, patient) in enumerate(PATIENTS.items()):
        # Files are called after patients, as hospitals do.
        file = f"{patient}.tif"
        outline = paint_slide(slides / file, seed=number, aperio=slide_id == "tumour_a")
        labelled = slide_id != "unlabelled"
        if labelled:
            write_json(slides / f"{patient}.geojson", feature_collection(outline))
        project.rows.append(sheet_row(slide_id, patient, file, split="test" if labelled else "", labelled=labelled))
    bad = np.random.default_rng(7)
    whole = (slides / f"{PATIENTS['tumour_b']}.tif").read_bytes()
    (slides / "cut.tif").write_bytes(whole[: len(whole) // 2])
    write_pyramid(slides / "unscaled.tif", picture(bad)[0], None)
    write_pyramid(slides / "white.tif", np.full((300, 320, 3), 244, np.uint8), 1.0)
    write_pyramid(slides / "dark.tif", fluorescence(bad), 1.0)
    for slide_id in ("cut", "unscaled", "white", "dark"):
        project.rows.append(sheet_row(slide_id, f"Pat-{slide_id}-77", f"{slide_id}.tif"))
    save_classifier(folder / "tone.onnx", project.config["tiles"]["size"])
    save_refiner(folder / "through.onnx")
    return project.write()


def tiny_config() -> dict[str, Any]:
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    config["cohort"].update(sheet="slides.tsv", root="slides")
    config["tiles"].update(size=64, step=32)
    config["classifiers"] = {"tone": {"onnx": "tone.onnx"}}
    config["refiners"] = {"through": {"onnx": "through.onnx"}}
    config["runs"] = {"by_colour": {"classifier": "tone", "refiner": "through"}}
    config["inference"].update(provider="cpu", batch_size=64, readers=1)
    config["postprocess"].update(opening_px=3, median_px=5)
    config["measure"]["bootstrap"] = 100
    return config


def sheet_row(slide_id: str, patient: str, file: str, split: str = "", labelled: bool = False) -> dict[str, str]:
    annotation = str(Path(file).with_suffix(".geojson")) if labelled else ""
    return dict(zip(COLUMNS, (slide_id, patient, file, split, annotation, "wta" if labelled else ""), strict=True))


def paint_slide(path: Path, seed: int, aperio: bool = False) -> np.ndarray:
    """Write a slide with one tumour and return the tumour's outline, float (n, 2) in level-0 px."""
    image, outline = picture(np.random.default_rng(seed))
    description = aperio_description(WIDTH, HEIGHT, 1.0, 10) + f"|User = {OPERATOR}" if aperio else None
    write_pyramid(path, image, 1.0, description)
    if aperio:
        with tifffile.TiffWriter(path, append=True) as tiff:
            # OpenSlide tells them by their place and by the subfile type.
            for name, kind in (("thumbnail", 0), ("label", 1), ("macro", 9)):
                page = np.full((80, 120, 3), LABEL_COLOUR, np.uint8)
                text = f"Aperio Image Library v12.0.15\r\n{name} 120x80"
                tiff.write(page, description=text, subfiletype=kind, photometric="rgb", metadata=None, contiguous=False)
    return outline


def labelled_slide(folder: Path, slide_id: str, patient: str, split: str, seed: int) -> dict[str, str]:
    """Write a slide with the outline of its tumour, and return its row of the sheet."""
    outline = paint_slide(folder / f"{slide_id}.tif", seed)
    write_json(folder / f"{slide_id}.geojson", feature_collection(outline))
    return sheet_row(slide_id, patient, f"{slide_id}.tif", split=split, labelled=True)


def lose_tiles(path: Path, numbers: Sequence[int]) -> None:
    """Take tiles of the finest level out of a TIFF, as a lost block of a disk does: OpenSlide reads them as glass."""
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages.first.tags["TileByteCounts"]
    with path.open("r+b") as file:
        for number in numbers:
            size = tag.valuebytecount // tag.count
            file.seek(tag.valueoffset + number * size)
            file.write(bytes(size))


def picture(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Glass, an oval of tissue and a round tumour in it, uint8 (h, w, 3), and the tumour's outline."""
    image = np.full((HEIGHT, WIDTH, 3), GLASS, np.uint8)
    centre = np.array([300.0, 250.0]) + rng.uniform(-30, 30, 2)
    radius = rng.uniform(95, 115)
    cv2.ellipse(image, (WIDTH // 2, HEIGHT // 2), (260, 210), 0, 0, 360, TISSUE, -1)
    cv2.circle(image, centre.round().astype(int).tolist(), round(radius), TUMOUR, -1)
    grain = cv2.GaussianBlur(rng.normal(0, 60, image.shape), (0, 0), 1.5)
    grain[(image == GLASS).all(axis=2)] = 0
    turn = np.linspace(0, 2 * np.pi, 65)
    outline = centre + radius * np.stack([np.cos(turn), np.sin(turn)], 1)
    outline[-1] = outline[0]
    return np.clip(image + grain, 0, 255).astype(np.uint8), outline.round(2)


def fluorescence(rng: np.random.Generator) -> np.ndarray:
    """Coloured cells on black, uint8 (h, w, 3)."""
    image = np.zeros((300, 320, 3), np.uint8)
    for x, y in rng.integers(20, 280, (40, 2)):
        cv2.circle(image, (int(x), int(y)), 6, (20, 90, 160), -1)
    return image


def feature_collection(outline: np.ndarray, name: str = "Tumor") -> dict[str, Any]:
    """One annotation as QuPath exports it."""
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "id": "0f9d0a5e-1c57-4a3d-9f55-3c8d4f0a7c11",
                "geometry": {"type": "Polygon", "coordinates": [np.asarray(outline).tolist()]},
                "properties": {"objectType": "annotation", "classification": {"name": name, "color": [200, 0, 0]}},
            }
        ],
    }


def save_classifier(path: Path, side: int, classes: int = 2) -> None:
    """Write a network that calls a tile tumour by its mean green: [n, side, side, 3] in 0..255 to [n, classes]."""
    # Half way between the greens of tissue and tumour is undecided; ten grey levels from it are nearly sure.
    green = np.zeros((3, classes), np.float32)
    green[1, 0] = 0.3
    bias = np.zeros(classes, np.float32)
    bias[0] = -0.3 * (TISSUE[1] + TUMOUR[1]) / 2
    nodes = [
        helper.make_node("ReduceMean", ["input_image"], ["colour"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["colour", "green"], ["scaled"]),
        helper.make_node("Add", ["scaled", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["p"], axis=-1),
    ]
    constants = [onnx.numpy_helper.from_array(green, "green"), onnx.numpy_helper.from_array(bias, "bias")]
    _save(path, nodes, {"input_image": ["n", side, side, 3]}, {"p": ["n", classes]}, constants)


def save_refiner(path: Path, side: int = REFINER_SIDE) -> None:
    """Write a network that hands the heatmap through as [background, tumour]."""
    nodes = [
        helper.make_node("Sub", ["one", "input_pred"], ["background"]),
        helper.make_node("Concat", ["background", "input_pred"], ["p"], axis=-1),
    ]
    inputs: dict[str, list[str | int]] = {"input_image": ["n", side, side, 3], "input_pred": ["n", side, side, 1]}
    one = onnx.numpy_helper.from_array(np.float32(1.0).reshape(1), "one")
    _save(path, nodes, inputs, {"p": ["n", side, side, 2]}, [one])


def without_softmax(model: Path, path: Path) -> Path:
    """A copy of a classifier that ends in logits."""
    copied = onnx.load(model)
    softmax = copied.graph.node.pop()
    assert softmax.op_type == "Softmax"
    copied.graph.output[0].name = softmax.input[0]
    onnx.save(copied, path)
    return path


def with_open_side(model: Path, path: Path) -> Path:
    """A copy of a refiner whose file does not say the side of its square."""
    copied = onnx.load(model)
    for value in (*copied.graph.input, *copied.graph.output):
        value.type.tensor_type.shape.dim[1].dim_param = value.type.tensor_type.shape.dim[2].dim_param = "side"
    onnx.save(copied, path)
    return path


def _save(
    path: Path,
    nodes: Sequence[Any],
    inputs: Mapping[str, Sequence[str | int]],
    outputs: Mapping[str, Sequence[str | int]],
    constants: Sequence[Any],
) -> None:
    def values(shapes: Mapping[str, Sequence[str | int]]) -> list[Any]:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(s)) for name, s in shapes.items()]

    graph = helper.make_graph(list(nodes), path.stem, values(inputs), values(outputs), list(constants))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
