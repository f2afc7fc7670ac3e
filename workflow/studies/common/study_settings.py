"""Settings of the studies, and the models and runs that they bring along.

A study is a folder of `workflow/studies` with `settings.yaml`, its defaults; the configuration's
`study_settings.{name}` says what differs. Models and runs that it names are made by the rules of the main chain. The
module `settings` in its folder has the model `Settings`, and may have `completed(name, settings)`, which fills in what
the settings leave to a table, and `check(settings, config)`, which gets the configuration with the models of all
studies; both may raise a DrunetError. The workflow reads this anew for every job: nothing heavy may be imported.
"""

import copy
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from drunet.cohort import SheetRow, check_files, check_joined, read_sheets
from drunet.errors import ConfigError, DrunetError, SheetError, closest
from drunet.settings.merging import merged, read_yaml, resolve_models
from drunet.settings.references import checked
from studies.common.clustering.sharing import check_classifiers
from studies.common.user_paths import is_file

# Settings of studies that name runs or classifiers.
_NAMING = {"labels": "runs", "scored_runs": "runs", "with_run": "runs", "without_run": "runs", "models": "classifiers"}
# Keys of an arm that do.
_ARM_NAMING = {"classifier": "classifiers", "run": "runs", "alone": "runs"}
# Settings of studies of CT that say where a user's files are.
_PATHS = {"collect": ("root", "annotations", "sources"), "slices": ("root", "annotations")}
_PATHS |= {"images": ("root", "groups"), "networks": ("table", "weights")}
MODEL_BLOCKS = ("classifiers", "refiners", "runs")
# Targets that a user types, where they are not `study_{name}`.
TARGETS = {"experiments": ("experiments",), "scores": ("scoring_sheet", "study_scores")}


@dataclass(frozen=True)
class Study:
    """A side-study of this configuration: its settings, and the models, runs and slides that it brings.

    `rows` are slides that its models learn from and that are left alone otherwise. A study with a `problem` cannot be
    made with this configuration: its target ends in this message, and nothing else does.
    """

    name: str
    settings: dict[str, Any]
    blocks: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: dict[str, SheetRow] = field(default_factory=dict)
    problem: str | None = None


def targets_of(name: str) -> tuple[str, ...]:
    """Targets of a study, which a user may ask for."""
    return TARGETS.get(name, (f"study_{name}",))


def load_studies(
    config: Mapping[str, Any], folder: Path, made_by_workflow: Iterable[str] = ()
) -> tuple[dict[str, Study], dict[str, Any]]:
    """Read every study's settings and try them, and its models, against the configuration, checked, with `like`
    resolved.

    Each folder of `folder` that has a `settings.yaml` is a study; files `made_by_workflow` need not be there. Returns
    the studies by name (one that does not fit comes with its problem), and the configuration with the models and runs
    of all that fit. Raises ConfigError for a study that there is not, or one name of two studies for two things.
    """
    names = sorted(path.parent.name for path in folder.glob("*/settings.yaml"))
    given = config.get("study_settings", {})
    for where, wanted in (("study_settings", given), ("studies", config.get("studies", []))):
        for name in wanted:
            if name not in names:
                raise ConfigError("unknown study", where=where, found=name, mend=closest(name, names))
    made = list(made_by_workflow)
    studies: dict[str, Study] = {}
    owners: dict[tuple[str, str], str] = {}
    modules: dict[str, Any] = {}
    for name in names:
        settings = _settings(read_yaml(folder / name / "settings.yaml"), given.get(name, {}))
        blocks = {key: settings.pop(key) or {} for key in MODEL_BLOCKS if key in settings}
        if settings.get("slides", True) is None:
            # Without its part on slides a study wants no model, and the configuration need have no ground for one.
            blocks = {key: {} for key in blocks}
        for kind, model in ((kind, model) for kind, block in blocks.items() for model in block):
            if owners.setdefault((kind, model), name) != name:
                where, mend = f"study_settings.{name}.{kind}", "Rename one of them."
                raise ConfigError("two studies use one name", where=where, found=model, mend=mend)
        try:
            modules[name] = importlib.import_module(f"{folder.name}.{name}.settings")
            modules[name].Settings.of(settings, f"study_settings.{name}")
            # Tasks of a study of images name its arms, and pass over those that are null.
            for key in () if "images" in settings else {"labels", "arms"} & set(settings):
                settings[key] = {label: value for label, value in settings[key].items() if value}
            resolved = _resolved(config, blocks, name)
            rows = _lent(settings, made, name, folder.parents[1])
            if hasattr(modules[name], "completed"):
                settings = modules[name].completed(name, settings) or settings
            studies[name] = Study(name, settings, resolved, rows)
        except DrunetError as error:
            studies[name] = Study(name, settings, problem=str(error))
    studies = _with_known_names(config, studies, owners)
    everything = _with_studies(config, studies)
    for name, study in studies.items():
        try:
            if not study.problem and hasattr(modules[name], "check"):
                modules[name].check(study.settings, everything)
        except DrunetError as error:
            studies[name] = replace(study, problem=str(error))
    return studies, everything


def _settings(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A study's settings; a finished model takes the place of one to be trained, whatever is said of that."""
    settings = merged(defaults, given, whole=("options", "weights", "split"))
    for kind in ("classifiers", "refiners"):
        for name, model in (given.get(kind) or {}).items():
            if isinstance(model, Mapping) and "onnx" in model:
                settings[kind][name] = dict(model)
    return settings


def _lent(settings: Mapping[str, Any], made: Iterable[str], name: str, folder: Path) -> dict[str, SheetRow]:
    """Slides of a study's own sheet: its models learn from them, and they are left alone otherwise."""
    sheet = settings.get("learning_sheet")
    if not sheet:
        return {}
    try:
        # A sheet that ships is found wherever the workflow is run.
        rows = read_sheets(str(folder / sheet) if is_file(folder / sheet) else sheet, settings["learning_root"])
        check_files(rows.values(), made)
    except SheetError as error:
        where = f"study_settings.{name}.learning_sheet"
        raise SheetError(error.what, where=where, found=error.found, mend="Name another sheet, or null.") from error
    return rows


def join_sheets(rows: Mapping[str, SheetRow], more: Mapping[str, SheetRow], where: str) -> dict[str, SheetRow]:
    """Rows of two sheets in one; SheetError for a slide ID or file in both, or a patient in two splits."""
    if twice := sorted(set(rows) & set(more)):
        mend = "Give every slide its own slide_id."
        raise SheetError("a slide_id is given twice", where=where, found=", ".join(twice[:3]), mend=mend)
    joined = {**rows, **more}
    check_joined(joined.values(), where)
    return joined


def without_paths(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the page of a study of CT may know of its settings: no path, as folders are often named after patients.

    Snakemake copies a report rule's parameters into the file that `--report` writes. `embedded` tells whether the
    images are those that are drawn in code.
    """
    read = next(settings[key] for key in ("collect", "slices") if key in settings)
    kept = {
        key: {name: value for name, value in settings[key].items() if name not in paths}
        for key, paths in _PATHS.items()
        if key in settings
    }
    arms = {name: arm and {k: v for k, v in arm.items() if k != "weights"} for name, arm in settings["arms"].items()}
    return {**settings, **kept, "arms": arms, "embedded": read["root"] is None}


def _with_studies(config: Mapping[str, Any], studies: Mapping[str, Study]) -> dict[str, Any]:
    """The configuration with the models and runs of all studies that fit."""
    added = {
        key: {name: model for study in studies.values() for name, model in study.blocks.get(key, {}).items()}
        for key in MODEL_BLOCKS
    }
    return {**config, **{key: {**config[key], **block} for key, block in added.items()}}


def _resolved(config: Mapping[str, Any], blocks: Mapping[str, dict[str, Any]], name: str) -> dict[str, dict[str, Any]]:
    """A study's models in full, checked as if they stood in the configuration."""
    trial: dict[str, Any] = {**config}
    for key, block in blocks.items():
        # A model of the configuration may be varied by a study but never replaced in silence.
        if taken := sorted(set(block) & set(config[key])):
            where, mend = f"study_settings.{name}.{key}", "Rename it in the study's settings."
            what = "a study would replace what the configuration has"
            raise ConfigError(what, where=where, found=", ".join(taken), mend=mend)
        trial[key] = {**config[key], **copy.deepcopy(block)}
    trial = resolve_models(trial)
    checked(trial)
    check_classifiers(trial["classifiers"])
    return {key: {model: trial[key][model] for model in block} for key, block in blocks.items()}


def _with_known_names(
    config: Mapping[str, Any], studies: Mapping[str, Study], owners: Mapping[tuple[str, str], str]
) -> dict[str, Study]:
    """The studies, those with a problem whose settings name what there is not.

    In rounds: one may name another's models and runs (`owners`), which are not there if that one has a problem.
    """
    known = dict(studies)
    while True:
        everything = _with_studies(config, known)
        # What a study with a problem would have brought.
        absent = {key: known[owner] for key, owner in owners.items() if known[owner].problem}
        problems = {name: found for name, study in known.items() if (found := _misnamed(study, everything, absent))}
        if not problems:
            return known
        known |= {name: Study(name, known[name].settings, problem=problem) for name, problem in problems.items()}


def _misnamed(study: Study, everything: Mapping[str, Any], absent: Mapping[tuple[str, str], Study]) -> str | None:
    if study.problem:
        return None
    where = f"study_settings.{study.name}"
    try:
        _check_arms(study.settings, everything["runs"], where)
        for kind, key, wanted in _named(study.settings):
            if wanted not in everything[kind]:
                if other := absent.get((kind, wanted)):
                    return f"{where}.{key}: {wanted} needs study `{other.name}`, which cannot be made: {other.problem}"
                mend = closest(wanted, everything[kind])
                raise ConfigError(f"unknown {kind[:-1]}", where=f"{where}.{key}", found=wanted, mend=mend)
    except ConfigError as error:
        return str(error)
    return None


def _named(settings: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Names of runs and classifiers in a study's settings: what is named, the key it stands under, the name."""
    named: list[tuple[str, str, str]] = []
    for key, kind in _NAMING.items():
        value = settings.get(key, [])
        if isinstance(value, Mapping):
            named += [(kind, f"{key}.{label}", name) for label, name in value.items()]
        else:
            named += [(kind, key, name) for name in ([value] if isinstance(value, str) else value)]
    for name, arm in settings.get("arms", {}).items():
        named += [(kind, f"arms.{name}.{key}", arm[key]) for key, kind in _ARM_NAMING.items() if (arm or {}).get(key)]
    return named


def _check_arms(settings: Mapping[str, Any], runs: Mapping[str, Any], where: str) -> None:
    """Refuse no arms, a reference that is none, and a run (with a refiner), or one `alone`, that is not the arm's."""
    arms, reference = settings.get("arms", {}), settings.get("reference")
    if "arms" in settings and not arms:
        raise ConfigError("no arm is left", where=f"{where}.arms", mend="Leave at least one in.")
    if reference is not None and reference not in arms:
        raise ConfigError("unknown arm", where=f"{where}.reference", found=reference, mend=closest(reference, arms))
    for name, arm in ((name, arm) for name, arm in arms.items() if arm):
        for key, refined in (("run", True), ("alone", False)):
            run = runs.get(arm.get(key))
            if run and (run["classifier"] != arm["classifier"] or (run["refiner"] is not None) != refined):
                found = f"{arm[key]}: {run['classifier']}, {run['refiner'] or 'no refiner'}"
                mend = f"Name a run of {arm['classifier']} {'with a' if refined else 'without'} refiner, or null."
                place = f"{where}.arms.{name}.{key}"
                raise ConfigError("the run is not this arm's", where=place, found=found, mend=mend)
