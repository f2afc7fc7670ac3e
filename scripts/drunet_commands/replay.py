"""Make a slide anew from the crate of its run and compare each step: `drunet replay CRATE SLIDE`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from drunet.errors import DrunetError
from drunet.export.digests import slide_digest
from drunet.export.mask_image import read_mask_image
from drunet.export.ro_crate import CONFIG, SLIDES, versions
from drunet.files import is_safe_id, read_json, sha256
from drunet.heatmap import read_field
from drunet.inference import layout_of
from drunet.postprocess import finest_mask
from drunet.segment import segment
from drunet.tiles import read_mask

_SAME = "equal bit by bit"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.add_argument("crate", type=Path, metavar="CRATE", help="ro-crate.zip of a run")
    parser.add_argument(
        "slide", type=Path, metavar="SLIDE", help="file of a slide of that run; its name may be another"
    )


def run(asked: argparse.Namespace) -> int:
    """Make the slide anew, and print which steps are equal bit by bit; 0 if all are, else 1."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        then = _unpack(asked.crate, folder)
        digest, slides = slide_digest(asked.slide), read_json(folder / SLIDES)
        slide_id = next((s for s in slides if slides[s]["sha256"] == digest and is_safe_id(s)), None)
        if slide_id is None:
            what, mend = "the crate's run has no slide of these bytes", "Give another file, or the crate of its run."
            raise DrunetError(what, where="SLIDE", found=f"SHA-256 {digest}", mend=mend)
        config, at = read_json(folder / CONFIG), folder / "slides" / slide_id
        held = {"tissue mask": read_mask(at / "tissue.png"), "heatmap": read_field(at / "heatmap.tif")[0]}
        if config["refined_by"]:
            held["refined heatmap"] = read_field(at / "refined.tif")[0]
        held["segmentation"] = read_mask(at / "segmentation.png")
        held["finest level"] = read_mask_image(at / "segmentation.tif")
        made = _made_anew(folder, config, asked.slide, slide_id, slides[slide_id])
    told = {step: _difference(made[step], field) for step, field in held.items()}
    parted = next((step for step, words in told.items() if words != _SAME), None)
    others = [
        f"{name} {v}, here {versions().get(name, 'none')}" for name, v in then.items() if v != versions().get(name)
    ]
    end = f"Parted first at: {parted}. Other versions: {'; '.join(others) or 'none'}." if parted else "Bit-equal."
    sys.stdout.write("\n".join([f"{slide_id}:", *(f"  {step}: {words}" for step, words in told.items()), end, ""]))
    return int(parted is not None)


def _unpack(crate: Path, folder: Path) -> dict[str, str]:
    """Unpack a crate and hold its files against their digests; returns the versions that it was made with."""
    found: Any
    try:
        with zipfile.ZipFile(crate) as archive:
            archive.extractall(folder)
        graph = {entity["@id"]: entity for entity in read_json(folder / "ro-crate-metadata.json")["@graph"]}
        digests = {name: entity["sha256"] for name, entity in graph.items() if "sha256" in entity and ":" not in name}
        found = next((name for name in {CONFIG, SLIDES, *digests} if sha256(folder / name) != digests[name]), None)
    except (OSError, ValueError, LookupError, TypeError, zipfile.BadZipFile) as error:
        found = type(error).__name__
    if found:
        what, mend = "the file is no crate of a run, or was changed", "Give the ro-crate.zip that `ro_crate` makes."
        raise DrunetError(what, where=crate.name, found=found, mend=mend)
    return {name: graph[f"#{name}"]["softwareVersion"] for name in versions() if f"#{name}" in graph}


def _made_anew(folder: Path, config: Any, slide: Path, slide_id: str, facts: Any) -> dict[str, Any]:
    classifier, refiner = (config["run"][part] for part in ("classifier", "refiner"))
    unknown = [key for key in ("stain_normalisation", "encoder") if config["models"][classifier].get(key)]
    unknown += ["a cascade"] if config["run"].get("cascade") else []
    unknown += ["int8"] if config["inference"]["precision"] == "int8" else []
    unknown += ["clustering"] if config["refined_by"] == "cluster_heatmap" else []
    unknown += ["a region or tissue of the user's own"] if facts.get("own_area") else []
    if unknown:
        what, mend = "the slide cannot be replayed", "Run the workflow on it and compare the files."
        raise DrunetError(what, where=slide_id, found=", ".join(unknown), mend=mend)
    window = config["models"][refiner].get("mpp") if refiner else None
    done = segment(
        slide,
        folder / "models" / classifier / "model.onnx",
        folder / "models" / refiner / "model.onnx" if refiner else None,
        slide_id=slide_id,
        mpp=facts["mpp"],
        layout=layout_of(config["models"][classifier]),
        models={"refiner": {"mpp": window}} if window else None,
        **{block: config[block] for block in ("tissue", "tiles", "inference", "postprocess")},
    )
    fine = finest_mask(done.mask, done.grid, config["postprocess"]["mpp"])[0]
    made = {"tissue mask": done.tissue, "heatmap": done.heatmap, "refined heatmap": done.refined}
    return {**made, "segmentation": done.mask, "finest level": fine}


def _difference(new: np.ndarray, old: np.ndarray) -> str:
    if new.shape != old.shape:
        return f"{new.shape} where the crate has {old.shape}"
    if new.tobytes() == old.tobytes():
        return _SAME
    apart = abs(np.nan_to_num(new.astype(float)) - np.nan_to_num(old.astype(float)))
    tiles = np.count_nonzero(np.isfinite(new) != np.isfinite(old))
    return (
        f"differs in {np.count_nonzero(apart)} of {apart.size} values, by up to {apart.max():.3g}; {tiles} other tiles"
    )
