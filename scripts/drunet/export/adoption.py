"""Finished ONNX models of anyone's: checked, pinned by digest, and taken into the results."""

from __future__ import annotations

import os
import shutil
from typing import Any

from drunet.errors import ModelError
from drunet.files import sha256, whole_file
from drunet.inference import EngineOptions, Layout, check_classifier, open_session
from drunet.refine import refiner_size
from drunet.settings.finished import FinishedModel


def adopt(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    name: str,
    role: str,
    size: int,
    settings: FinishedModel,
) -> dict[str, Any]:
    """Copy a model into place if it fits its role, ``classifier`` or ``refiner``.

    `size` is the side of a tile in pixels, which a classifier has to take; `settings` its entry in the configuration.
    Returns what `export.json` holds for a trained model, as far as it is known. Raises ModelError if the digest differs
    from the one given, or the shapes do not fit.
    """
    digest, expected = sha256(source), settings.sha256
    if expected and digest != expected:
        what = "the file is not the one that the configuration pins"
        mend = "Get the right file, or correct the digest if the change is wanted."
        raise ModelError(what, where=f"{role}s.{name}.sha256", found=digest, mend=mend)
    session = open_session(source, EngineOptions(), where=name)
    if role == "classifier":
        layout = Layout(settings.channels_last, settings.scale, settings.tumour_index)
        check_classifier(session, layout, size, where=name)
    else:
        refiner_size(session, where=name)
    with whole_file(target) as temporary:
        shutil.copyfile(source, temporary)
    return {
        "name": name,
        "architecture": f"finished {role}",
        "sha256": digest,
        "inputs": {i.name: [d if isinstance(d, int) else None for d in i.shape] for i in session.get_inputs()},
        "parity": None,
        "parameters": None,
        "training_slides": [],
        "smallest_tumour_um2": None,
    }
