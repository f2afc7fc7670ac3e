"""What a study on a folder of images trains: tasks, their arms, and the settings of each.

A task is a set of classes to recognise, under one or several protocols of splitting; its arms are the networks and
prior models that do so. Every arm of a task sees the same images on the same sides.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from drunet.errors import ConfigError, closest
from drunet.models import registry
from drunet.settings.merging import merged
from studies.common.images.protocols import PROTOCOLS, folds_of
from studies.common.images.settings import ImageView
from studies.common.settings import SetTraining
from studies.common.user_paths import is_there

# Neither changes a result, or, of what changes it, `arm_view` tells.
_UNDECISIVE = ("label", "published", "only", "view", "sees")
# Blocks of settings that name an arm to draw a picture of.
_PICTURES = ("attention", "confused")


def tasks_of(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The tasks that are wanted, by name."""
    return {name: dict(task) for name, task in settings["tasks"].items() if task}


def classes_of(settings: Mapping[str, Any]) -> list[str]:
    """The classes of all tasks, each once, in the order in which they are named."""
    return list(dict.fromkeys(label for task in tasks_of(settings).values() for label in task["classes"]))


def arms_of(settings: Mapping[str, Any], task: str) -> list[str]:
    """Names of a task's arms; one that is null in the settings is left out."""
    return [name for name in tasks_of(settings)[task]["arms"] if settings["arms"].get(name)]


def networks_of(settings: Mapping[str, Any], task: str) -> list[str]:
    """Names of a task's arms that are networks."""
    return [name for name in arms_of(settings, task) if "classic" not in settings["arms"][name]]


def explained_networks(settings: Mapping[str, Any], task: str) -> list[str]:
    """Names of a task's networks that see whole images: those of a source probe are left out."""
    return [name for name in networks_of(settings, task) if not settings["arms"][name].get("sees")]


def arm_settings(settings: Mapping[str, Any], arm: str) -> dict[str, Any]:
    """What decides an arm's trainings, with the study's training where it says nothing; but see `arm_view`."""
    own = {key: value for key, value in settings["arms"][arm].items() if key not in _UNDECISIVE}
    return {**own, "training": merged(settings["training"], own.get("training", {}))}


def arm_view(settings: Mapping[str, Any], arm: str) -> dict[str, Any]:
    """How an arm sees images: the study's view with what the arm says of its own, and what is left of an image."""
    own = settings["arms"][arm]
    view = merged(settings["view"], own.get("view") or {})
    return {**view, "sees": dict(own["sees"])} if own.get("sees") else view


def arm_task(settings: Mapping[str, Any], task: str, arm: str) -> dict[str, Any]:
    """A task as one of its arms has it: classes, protocols and split, narrowed down to what the arm's `only` says."""
    block = tasks_of(settings)[task]
    only: Mapping[str, Any] = settings["arms"][arm].get("only") or {}
    protocols = [p for p in block["protocols"] if p in only.get("protocols", block["protocols"])]
    split = dict(block["split"])
    if "run" in split:
        folds = {protocol: folds_of(split, protocol) for protocol in protocols}
        split["run"] = {p: [fold for fold in own if fold in only.get("run", own)] for p, own in folds.items()}
        if len({tuple(own) for own in split["run"].values()}) == 1:
            split["run"] = next(iter(split["run"].values()))
    return {"classes": block["classes"], "protocols": protocols, "split": split}


def external_keys(settings: Mapping[str, Any]) -> list[str]:
    """`task/arm` of the networks that are tested on a second folder: those of the first task, if there is one."""
    task = next(iter(tasks_of(settings)))
    return [f"{task}/{arm}" for arm in networks_of(settings, task)] if settings["images"].get("external") else []


def trials_of(task: Mapping[str, Any]) -> list[str]:
    """`protocol.fold` of each of a task's trainings; parts have one fold, 0."""
    return [f"{protocol}.{fold}" for protocol in task["protocols"] for fold in folds_of(task["split"], protocol)]


def shown_trial(task: Mapping[str, Any]) -> str:
    """The training that pictures and exports are of: the first of the `shown` protocol, or the most honest one."""
    protocol = task.get("shown") or max(task["protocols"], key=PROTOCOLS.index)
    return trials_of({**task, "protocols": [protocol]})[0]


def kept_trials(settings: Mapping[str, Any], task: str, arm: str) -> list[str]:
    """The trainings whose weights are kept: all of a teacher's, else the one that is shown."""
    teaches = any(settings["arms"][other].get("teacher") == arm for other in arms_of(settings, task))
    return trials_of(arm_task(settings, task, arm)) if teaches else [shown_trial(tasks_of(settings)[task])]


def pictured(settings: Mapping[str, Any], key: str) -> str | None:
    """`task/arm` that a study's picture is of: the first task with the arm that `settings[key]` names, or None."""
    arm = settings[key]["arm"]
    return next((f"{task}/{arm}" for task in tasks_of(settings) if arm in networks_of(settings, task)), None)


def trial_of(settings: Mapping[str, Any], key: str) -> str:
    """The training of `task/arm` that its picture is of."""
    return shown_trial(tasks_of(settings)[key.partition("/")[0]])


def module_of(settings: Mapping[str, Any], key: str) -> str:
    """Name of the module that holds the architecture of `task/arm`."""
    return registry.module_of(settings["arms"][key.partition("/")[2]]["architecture"])


def check_tasks(name: str, settings: Mapping[str, Any]) -> None:
    """Refuse, by a DrunetError, a study whose tasks, arms and paths do not fit each other."""
    where = f"study_settings.{name}"
    _check_paths(where, settings)
    for task, block in tasks_of(settings).items():
        _check_task(f"{where}.tasks.{task}", settings, task, block)
    for name, arm in settings["arms"].items():
        if arm and "classic" not in arm:
            registry.module_of(arm["architecture"])
            SetTraining.of(arm_settings(settings, name)["training"], f"{where}.arms.{name}.training")
            ImageView.of(arm_view(settings, name), f"{where}.arms.{name}.view")
    _check_pictures(where, settings)


def _check_paths(where: str, settings: Mapping[str, Any]) -> None:
    named = {f"images.{key}": settings["images"].get(key) for key in ("root", "groups", "external")}
    if "collect" in settings:
        if taken := [key for key, path in named.items() if path is not None]:
            mend = "Leave it null, and name your files under `collect`."
            raise ConfigError("this study reads what it collects", where=f"{where}.{taken[0]}", mend=mend)
        named = {f"collect.{key}": settings["collect"][key] for key in ("root", "annotations", "sources")}
        beside = [key for key, path in named.items() if path is not None]
        if beside and settings["collect"]["root"] is None:
            mend = "Name `collect.root` too, or leave this null: the embedded set brings its own."
            raise ConfigError("it tells of files that are not named", where=f"{where}.{beside[0]}", mend=mend)
    for key, path in named.items():
        if path is not None and not is_there(path):
            mend = "Correct the path; relative ones start in the working directory."
            # Folders of CT are often named after patients.
            found = None if "collect" in settings else path
            raise ConfigError("there is no such path", where=f"{where}.{key}", found=found, mend=mend)


def _check_known(kind: str, names: Iterable[str], known: Collection[str], where: str) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown {kind}", where=where, found=name, mend=closest(name, known))


def _check_pictures(where: str, settings: Mapping[str, Any]) -> None:
    for key in (name for name in _PICTURES if name in settings):
        block = settings[key]
        named = (
            {"arm": block["arm"]}
            if "arm" in block
            else {f"{by}.{arm}": arm for by in ("layer", "layers_of") for arm in block[by]}
        )
        for place, arm in named.items():
            _check_known("arm", [arm], settings["arms"], f"{where}.{key}.{place}")
    if ("confused" in settings or "positive" in settings) and len(tasks_of(settings)) > 1:
        mend, found = "Set the others to null.", ", ".join(tasks_of(settings))
        raise ConfigError("this study has one task", where=f"{where}.tasks", found=found, mend=mend)
    _check_known(
        "class", settings.get("confused", {}).get("classes", []), classes_of(settings), f"{where}.confused.classes"
    )
    if "positive" in settings:
        _check_known("class", [settings["positive"]], classes_of(settings), f"{where}.positive")
        for task in tasks_of(settings):
            if not explained_networks(settings, task):
                mend = "Leave at least one network in that sees whole images."
                raise ConfigError("there is no network to look into", where=f"{where}.tasks.{task}.arms", mend=mend)


def _check_task(where: str, settings: Mapping[str, Any], task: str, block: Mapping[str, Any]) -> None:
    _check_known("arm", block["arms"], settings["arms"], f"{where}.arms")
    _check_known("protocol of this task", [p for p in [block.get("shown")] if p], block["protocols"], f"{where}.shown")
    split = block["split"]
    count = split.get("folds", 1)
    if wrong := [fold for p in block["protocols"] for fold in folds_of(split, p) if fold >= count]:
        mend = f"Folds are numbered from 0 to {count - 1}."
        raise ConfigError("there is no such fold", where=f"{where}.split.run", found=wrong[0], mend=mend)
    if not networks_of(settings, task):
        mend = "Leave at least one in: pictures and what an image costs are of networks."
        raise ConfigError("no network is left", where=f"{where}.arms", mend=mend)
    shown = shown_trial(block)
    for arm in networks_of(settings, task):
        if shown not in trials_of(arm_task(settings, task, arm)):
            mend = f"Let it take part in {shown}, which pictures, exports and times are taken from."
            raise ConfigError("it leaves out what is shown", where=f"{where}: arm {arm}: only", mend=mend)
        _check_teacher(f"{where}: arm {arm}", settings, task, arm)


def _check_teacher(where: str, settings: Mapping[str, Any], task: str, arm: str) -> None:
    teacher = settings["arms"][arm].get("teacher")
    if teacher is None:
        return
    others = [other for other in networks_of(settings, task) if other != arm]
    if teacher not in others:
        mend = f"A teacher is another network of the same task, or null. {closest(teacher, others)}"
        raise ConfigError("unknown teacher", where=where, found=teacher, mend=mend)
    if settings["arms"][teacher].get("teacher") is not None:
        mend = "Let it learn from a network that has no teacher."
        raise ConfigError("the teacher has a teacher itself", where=where, found=teacher, mend=mend)
    taught, teaching = (trials_of(arm_task(settings, task, name)) for name in (arm, teacher))
    if lacking := [trial for trial in taught if trial not in teaching]:
        mend = f"Widen `only` of {teacher}, or narrow that of {arm}."
        raise ConfigError(
            "its teacher is not trained on the same sides", where=where, found=", ".join(lacking), mend=mend
        )
