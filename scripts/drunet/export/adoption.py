"""Finished ONNX models of anyone's: tried, pinned by digest, and taken into the results."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from drunet.errors import ModelError
from drunet.export.digests import external_files, external_names, model_digest
from drunet.files import AnyPath, sha256, whole_file
from drunet.settings.encoder import EncoderSettings
from drunet.settings.finished import FinishedModel

# A graph may never end; the largest networks of the field take some seconds for the tiles of a trial.
TRIAL_SECONDS = 300.0


def adopt(
    source: AnyPath,
    target: AnyPath,
    *,
    name: str,
    role: str,
    size: int,
    settings: FinishedModel | EncoderSettings,
    seconds: float = TRIAL_SECONDS,
) -> dict[str, Any]:
    """Take a model into place if it fits its role, ``classifier``, ``refiner`` or ``encoder``.

    It is tried on tiles made from a seed, in a process of its own that is given up after so many `seconds`. A file in
    the workflow's form is copied byte for byte; another gets the layers that are missing, see
    `drunet.export.standard_form`. `size` is the side of a tile in pixels, which a classifier has to take; `settings`
    are its entry in the configuration. Returns what `export.json` holds for a trained model, as far as it is known, and
    what was `decided`. Raises ModelError if the digest differs from the one given, or the model does not fit.
    """
    digest, expected = model_digest(source), settings.sha256
    if expected and digest != expected:
        what = "the file is not the one that the configuration pins"
        mend = "Get the right file, or correct the digest if the change is wanted."
        raise ModelError(what, where=f"{role}s.{name}.sha256", found=digest, mend=mend)
    beside = external_files(source)
    with whole_file(target) as temporary:
        asked = {
            "source": os.fspath(source),
            "target": os.fspath(temporary),
            "role": role,
            "size": size,
            "settings": settings.model_dump(exclude_unset=True),
            "where": name,
            "beside": bool(beside),
        }
        try:
            decided = _tried(asked, seconds)
        except ModelError:
            lost = [n for n in external_names(source) if Path(source).parent / n not in beside]
            if not lost:
                raise
            what, mend = "weights of the model lie in a file that is not beside it", "Copy that file as well."
            raise ModelError(what, where=name, found=ascii(lost[0])[:160], mend=mend) from None
    return {
        "name": name,
        "architecture": f"finished {role}",
        "sha256": sha256(target),
        "source_sha256": digest,
        "inputs": decided.pop("shapes"),
        "decided": decided,
        "parity": None,
        "parameters": None,
        "training_slides": [],
        "mpp": getattr(settings, "mpp", None),
        "smallest_tumour_um2": None,
    }


def _tried(asked: dict[str, Any], seconds: float) -> dict[str, Any]:
    where = asked["where"]
    roots = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "drunet.export.decide"],
            input=json.dumps(asked),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(roots)},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        what, mend = "the model did not end", "Export it again: a loop in it has no end, or it is far too large."
        raise ModelError(what, where=where, found=f"{seconds:g} s for {asked['role']} tiles", mend=mend) from None
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        found = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:160]
        mend = "Export it again; it may also need more memory than there is."
        raise ModelError("the model ended the process that tried it", where=where, found=found, mend=mend) from None
    if "refused" in answer:
        what, where, found, mend = answer["refused"]
        raise ModelError(what, where=where, found=found, mend=mend)
    decided: dict[str, Any] = answer["decided"]
    return decided
