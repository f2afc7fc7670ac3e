"""How members that are no slides are run: finished models, weights, zips of images and cohort sheets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torture import nets, tables
from torture.corpus import Case, Member
from torture.judge import verdict
from torture.rules import MODEL, SIDE, Named, Rules, Stopped, configuration, read_found, run_rules

from drunet.cohort import check_files, read_sheets
from drunet.errors import DrunetError
from drunet.export.adoption import adopt
from drunet.models.registry import load_weights
from studies.multi_lens.image_sets import read_image_sets

Verdict = tuple[str, str]


def run_model(member: Member, folder: Path, shared: Path, case: Case) -> Verdict:
    """Adopt a model, and hold what it makes of the intact slide against the twin."""
    inputs = folder / "inputs"
    inputs.mkdir()
    case, path, settings = member.make(inputs, case, member.rng())
    adopted = folder / "results" / "models" / MODEL
    output = Named(
        model=str(adopted / "model.onnx"), report=str(adopted / "export.json"), card=str(adopted / "card.md")
    )
    # Minutes are right for a network of others, not for a corpus.
    adopt.__kwdefaults__["seconds"] = 20.0  # type: ignore[index]
    rules = Rules(folder / "results", case, path, configuration())
    try:
        rules.script("adopt_onnx", "adopt.log", Named(model=str(path)), output, role="classifier", size=SIDE,
                     settings={"onnx": str(path), **settings})  # fmt: skip
    except Stopped as ended:
        # A model that is refused stops the cohort, with a message; a defect, too.
        said = (folder / "terminal.txt").read_text(encoding="utf-8", errors="replace")
        if "DEFECT" in said or "ERROR" not in said:
            raise Stopped(f"{ended}: {said.strip()[-200:]}") from None
        return "refused", said.strip()
    layout = {k: v for k, v in settings.items() if k in ("channels_last", "scale", "tumour_index")}
    found = run_rules(case, folder / "results", adopted / "model.onnx", settings=layout)
    return verdict(read_found(shared / member.twin / "results"), found)


def _refused(error: DrunetError) -> Verdict:
    # As a job or Snakemake prints it.
    print(f"ERROR  {error}", flush=True)
    return "refused", str(error)


def run_weights(member: Member, folder: Path, shared: Path) -> Verdict:
    inputs = folder / "inputs"
    inputs.mkdir()
    path = member.make(inputs, None, member.rng())  # type: ignore[arg-type]
    model = nets.network()
    whole = [np.array(w) for w in model.get_weights()]
    model.set_weights([np.zeros_like(w) for w in whole])
    try:
        load_weights(model, path)
    except DrunetError as error:
        return _refused(error)
    far = max(np.abs(np.asarray(a) - b).max() for a, b in zip(model.get_weights(), whole, strict=True))
    return ("identical", "") if far < 1e-3 else ("silent", f"weights differ by {far:.3g}")


def _sets(path: Path) -> list[Any]:
    return [part for found in read_image_sets([path], [path]) for part in (found.images, found.labels)]


def run_zip(member: Member, folder: Path, shared: Path) -> Verdict:
    inputs = folder / "inputs"
    inputs.mkdir()
    path = member.make(inputs, None, member.rng())  # type: ignore[arg-type]
    try:
        found = _sets(path)
    except DrunetError as error:
        return _refused(error)
    (folder / "twin").mkdir()
    whole = _sets(tables.zipped()(folder / "twin", None, member.rng()))  # type: ignore[arg-type]
    same = all(np.array_equal(a, b) for a, b in zip(found, whole, strict=True))
    return ("identical", "") if same else ("silent", f"{[len(part) for part in found]} for {[len(p) for p in whole]}")


def run_sheet(member: Member, folder: Path, shared: Path) -> Verdict:
    inputs = folder / "inputs"
    inputs.mkdir()
    path = member.make(inputs, None, member.rng())  # type: ignore[arg-type]
    try:
        rows = list(read_sheets(str(path)).values())
        check_files(rows)
    except DrunetError as error:
        return _refused(error)
    facts = [[r.slide_id, r.patient_id, r.split, r.annotation_kind, f"{r.mpp or ''}"] for r in rows]
    whole = [[row[0], row[1], row[3], row[5], row[6]] for row in tables.ROWS]
    other = [(a, b) for a, b in zip(facts, whole, strict=False) if a != b and "patient" not in member.name]
    files = [
        Path(r.path).read_bytes() == f"slide {row[0]}".encode() and bool(r.annotation) == bool(row[4])
        for r, row in zip(rows, tables.ROWS, strict=False)
    ]
    if other or len(facts) != len(whole) or not all(files):
        return "silent", f"{other or len(facts)}"
    return "identical", ""
