"""What becomes of a finished ONNX model: put into place, tried, and brought into the workflow's form.

In a process of its own, for a stranger's graph may never end: `python -m drunet.export.decide` reads what is asked as
JSON, and writes what was decided or the parts of the message that refuses it.
"""

import json
import resource
import sys
from contextlib import suppress
from typing import Any

import numpy as np

from drunet.errors import DrunetError
from drunet.export.encoder import encoder_form
from drunet.export.standard_form import divided_input, place, standard_form
from drunet.export.trial import trial_tiles, try_classifier, try_refiner
from drunet.inference import EngineOptions, Layout, check_classifier, open_session, probabilities
from drunet.refine import refine, refiner_size
from drunet.settings.encoder import EncoderSettings
from drunet.settings.finished import FinishedModel

# Address space of a trial, bytes: an allocation beyond fails at once, before the machine swaps.
_MEMORY = 24 << 30


def _run_once(target: str, size: int | None, settings: FinishedModel, where: str) -> None:
    """Check that the standard form of a model is one; `size` is None for a refiner."""
    session = open_session(target, EngineOptions(), where=where)
    if size is None:
        picture = trial_tiles(refiner_size(session, where=where))[1]
        refine(session, picture, (picture.mean(axis=2) / 255).astype(np.float32), where=where)
    else:
        layout = Layout(settings.channels_last, settings.scale, settings.tumour_index)
        name = check_classifier(session, layout, size, where=where)
        probabilities(session, name, trial_tiles(size), layout, where)


def decide(asked: dict[str, Any]) -> dict[str, Any]:
    """Put a model into place in its standard form, and say what was decided; raises ModelError if it does not fit."""
    target, where, role = asked["target"], asked["where"], asked["role"]
    changed = place(asked["source"], target, where, whole=asked["beside"])
    if role == "encoder":
        encoder = encoder_form(target, asked["size"], EncoderSettings.of(asked["settings"], where), where)
        return {**encoder, "changed": changed + encoder["changed"]}
    settings = FinishedModel.of(asked["settings"], where)
    if role == "classifier":
        decided = try_classifier(target, asked["size"], settings, where)
    else:
        changed += divided_input(target, where, channels_last=settings.channels_last)
        decided = try_refiner(target, settings, where)
    added = standard_form(target, role, decided, settings, where)
    if added:
        _run_once(target, asked["size"] if role == "classifier" else None, settings, where)
    return {**decided, "changed": changed + added}


def main() -> None:
    """Answer one request: JSON on the standard input and output."""
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    # Where there is no such limit, or a lower one, that is what holds.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, most))
    try:
        said: dict[str, Any] = {"decided": decide(json.load(sys.stdin))}
    except DrunetError as error:
        said = {"refused": [error.what, error.where, str(error.found), error.mend]}
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
