"""Architectures by name. Keras is imported only once one of them is built."""

import ast
import importlib.util
import inspect
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from drunet.errors import ModelError, spelt_alike
from drunet.files import AnyPath
from drunet.models.legacy_weights import is_legacy, load_legacy
from drunet.models.names import check_backbone
from drunet.models.options import Shared

# Strings and not functions: adding an architecture touches neither the other files nor what they import.
ARCHITECTURES: dict[str, str] = {
    "dr_fused": "drunet.models.dr_fused:build_dr_fused",
    "drunet_unet": "drunet.models.drunet_unet:build_drunet_unet",
    "h2gnet_classifier": "drunet.models.h2gnet_classifier:build_h2gnet_classifier",
    "h2gnet_unet": "drunet.models.h2gnet_unet:build_h2gnet_unet",
    "backbone": "drunet.models.backbone_classifier:build_backbone_classifier",
    "encoder_head": "drunet.models.encoder_head:build_encoder_head",
}

# More than any network's file has: characters in the name of an array, and arrays and groups.
_LONGEST_NAME, _MOST_NAMES = 1000, 50_000
_WORKFLOW = Path(__file__).parents[3] / "workflow"
# The kinds of value that builders' annotations name; of others, such as starting weights, none is known.
_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a word", "None": "null"}


def module_of(architecture: str) -> str:
    """Name the module that holds an architecture, e.g. "drunet.models.dr_fused", without importing it.

    One that is not in `ARCHITECTURES` is looked for below the folder `workflow`: the file `tiny.py` with `build_tiny`.

    Raises ModelError if there is no such architecture, or two files would build it.
    """
    return _entry(architecture).partition(":")[0]


def build(architecture: str, **options: Any) -> Any:
    """Build a keras.Model with fresh weights, by a name that `module_of` knows and arguments of its builder.

    Raises ModelError if the architecture, or an option of it, does not exist, or an option has an impossible value.
    """
    check_options(architecture, options)
    module, _, function = _entry(architecture).partition(":")
    return getattr(importlib.import_module(module), function)(**options)


def check_options(architecture: str, options: Mapping[str, Any], setting: str | None = None) -> None:
    """Refuse options that an architecture lacks, of another kind, a backbone, or too few, without importing it.

    In a `setting` of the configuration those that training adds are not missed. Raises ModelError.
    """
    known, where = _options_of(_entry(architecture)), setting or f"architecture {architecture}"
    for option in (o for o in options if o not in known):
        mend = _closest_and_all(option, list(known), f"Options of {architecture}")
        raise ModelError("unknown option", where=where, found=option, mend=mend)
    for option, value in options.items():
        kinds, own = known[option][1].split(" | "), type(value).__name__.removesuffix("Type")
        if _KINDS.keys() >= set(kinds) and own not in kinds and not (own == "int" and "float" in kinds):
            mend = f"Write {' or '.join(_KINDS[kind] for kind in kinds)}."
            raise ModelError(f"option '{option}' is of another kind", where=where, found=repr(value), mend=mend)
    for option in (o for o, (required, _) in known.items() if required and o not in options):
        if not (setting and option in ("size", "features", "labels")):
            found, mend = ", ".join(options) or "no options", f"Set '{option}'."
            raise ModelError(f"option '{option}' is missing", where=where, found=found, mend=mend)
    if isinstance(backbone := options.get("backbone"), str):
        check_backbone(backbone, where)


@cache
def _options_of(entry: str) -> dict[str, tuple[bool, str]]:
    """A builder's options as its source says, those that it shares with others too: is each needed, and its kind."""
    module, _, function = entry.partition(":")
    source = importlib.util.find_spec(module).origin  # type: ignore[union-attr]
    body = ast.parse(Path(str(source)).read_text(encoding="utf-8")).body
    given = next(n.args for n in body if isinstance(n, ast.FunctionDef) and n.name == function)
    defaults = [None] * (len(given.args) - len(given.defaults)) + [*given.defaults, *given.kw_defaults]
    arguments = zip([*given.args, *given.kwonlyargs], defaults, strict=True)
    own = {a.arg: (default is None, ast.unparse(a.annotation) if a.annotation else "") for a, default in arguments}
    shared = {option: (False, inspect.formatannotation(kind)) for option, kind in Shared.__annotations__.items()}
    return own | shared if given.kwarg else own


def load_weights(model: Any, path: AnyPath) -> None:
    """Read the weights of a whole model from a `.weights.h5` file written by `model.save_weights`, or Keras 2's `.h5`.

    Raises ModelError if the file is not there, cannot be read or belongs to another architecture or other options.
    """
    where = f"weights file {os.fspath(path)}"
    if not Path(path).is_file():
        raise ModelError("there is no such file", where=where, mend="Check the path.")
    mend = "Use the weights with the architecture and the options that they were trained with."
    try:
        held = _arrays_in(path)
        if is_legacy(path):
            load_legacy(model, path)
            held = len(model.weights)
        else:
            model.load_weights(path)
    except ModelError:
        raise
    except Exception as error:  # h5py and Keras raise a dozen kinds at damaged files
        raise ModelError(f"does not fit the model '{model.name}', or is damaged", where=where, mend=mend) from error
    # Keras loads what it finds a place for: the weights of a larger network would pass in silence.
    if held != len(model.weights):
        found = f"{held} arrays of weights where the model has {len(model.weights)}"
        raise ModelError(f"does not fit the model '{model.name}'", where=where, found=found, mend=mend)
    import numpy as np

    if broken := [v.path for v in model.weights if not np.isfinite(np.asarray(v)).all()]:
        what = "holds weights that are no numbers"
        raise ModelError(what, where=where, found=broken[0], mend="Export it again, from an earlier epoch.")


def _arrays_in(path: AnyPath) -> int:
    """Count the arrays of weights in a `.weights.h5` file; the states of random draws and optimisers are none."""
    import h5py  # type: ignore[import-untyped]

    names: list[str] = []

    def note(name: str) -> bool | None:
        # Groups in groups without end would be walked for hours; what is not None stops the walk.
        names.append(name)
        return True if len(name) > _LONGEST_NAME or len(names) > _MOST_NAMES else None

    with h5py.File(path) as file:
        if file.visit(note):
            raise ValueError("the file nests its groups deeper than any network")
        held = [name for name in names if name.startswith("layers/") and "seed_generator" not in name]
        return sum(isinstance(file[name], h5py.Dataset) for name in held)


def _entry(architecture: str) -> str:
    if architecture in ARCHITECTURES:
        return ARCHITECTURES[architecture]
    files = _others().get(architecture, [])
    if len(files) > 1:
        found = ", ".join(sorted(str(file.relative_to(_WORKFLOW)) for file in files))
        raise ModelError("two files build one architecture", where=architecture, found=found, mend="Rename either.")
    if not files:
        mend = _closest_and_all(architecture, [*ARCHITECTURES, *sorted(_others())], "Known architectures")
        raise ModelError("unknown architecture", where="architecture", found=architecture, mend=mend)
    return f"{'.'.join(files[0].relative_to(_WORKFLOW).with_suffix('').parts)}:build_{architecture}"


@cache
def _others() -> dict[str, list[Path]]:
    """Files below `workflow` that hold a builder of their own name, by that name."""
    found: dict[str, list[Path]] = {}
    for path in sorted(_WORKFLOW.rglob("*.py")):
        if f"def build_{path.stem}(" in path.read_text(encoding="utf-8"):
            found.setdefault(path.stem, []).append(path)
    return found


def _closest_and_all(name: str, known: list[str], what: str) -> str:
    """The name that is spelt alike, if one is, and all that there are."""
    alike = spelt_alike(name, known)
    return f"{f'Did you mean {alike[0]}? ' if alike else ''}{what}: {', '.join(known)}."
