"""Classifiers that learn clusters of tiles: checks, and which model's clusters each of them uses."""

import re
from collections.abc import Mapping
from typing import Any

from drunet.errors import ConfigError
from drunet.models import registry
from drunet.settings.references import start_of
from studies.common.clustering.settings import EpisodePlan, Search

ARCHITECTURES = ("prototypes", "clustered")
# Architectures whose backbone they take over from a trained model; the rest is built anew.
STARTS = ("h2gnet_classifier",)
# What decides which tiles are seen and how they look: models that share clusters agree in it.
_DECISIVE = (("weights",), ("data", "annotation_kinds"), ("data", "cohorts"), ("data", "cross_fit_folds"))
_FOLD = re.compile(r"(?P<base>.+?)(?P<fold>\.fold\d+of\d+)?")


def clustered_models(classifiers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of the classifiers that learn clusters."""
    return [name for name, settings in classifiers.items() if settings.get("architecture") in ARCHITECTURES]


def check_classifiers(classifiers: Mapping[str, Mapping[str, Any]]) -> None:
    """Check classifiers of the studies' architectures: their starts, and whether those over clusters can learn.

    Raises ConfigError.
    """
    over_clusters = clustered_models(classifiers)
    for name, settings in classifiers.items():
        where, own, start = f"classifiers.{name}", settings.get("architecture", ""), start_of(settings.get("weights"))
        if name in over_clusters and (key := next(filter(settings.get, ("distillation", "stain_normalisation")), None)):
            what, mend = "a model over clusters has no teacher, nor other stains", "Use null, or another architecture."
            raise ConfigError(what, where=f"{where}.{key}", found=own, mend=mend)
        fitting = (*STARTS, own) if name in over_clusters else (own,)
        if start and own not in registry.ARCHITECTURES and classifiers[start]["architecture"] not in fitting:
            what, found = "the model to start from is another network", classifiers[start]["architecture"]
            mend = f"Start from a model of architecture {' or '.join(fitting)}, or from random weights."
            raise ConfigError(what, where=f"{where}.weights.model", found=f"{start}: {found}", mend=mend)
        if name in over_clusters:
            data = settings["data"]
            if clusters_of(name, classifiers) == name:
                Search.of(data["clustering"], f"{where}.data.clustering")
            if own == "prototypes":
                EpisodePlan.of(data.get("episodes") or {}, f"{where}.data.episodes")


def clusters_of(model: str, classifiers: Mapping[str, Mapping[str, Any]]) -> str:
    """The model, or fold of one, under whose name a model's clusters are kept.

    `model`: a classifier that learns clusters, or a fold of one, `NAME.fold0of2`. `classifiers`: as in the
    configuration. Raises ConfigError if `data.clustering` is missing, or shares with a model that has no clusters of
    its own or learns from other tiles.
    """
    parts = _FOLD.fullmatch(model)
    base, fold = (parts["base"], parts["fold"] or "") if parts else (model, "")
    settings, where = classifiers[base], f"classifiers.{base}.data.clustering"
    block = settings["data"].get("clustering")
    if block is None:
        mend = "Say how tiles are clustered, or {shared_with: NAME} for another model's clusters."
        raise ConfigError("a model that learns clusters needs this block", where=where, mend=mend)
    if "shared_with" not in block:
        return model
    other = block["shared_with"]
    if set(block) != {"shared_with"}:
        found = ", ".join(sorted(set(block) - {"shared_with"}))
        raise ConfigError("shared clusters have no settings of their own", where=where, found=found, mend="Remove it.")
    blocks = {n: classifiers[n]["data"].get("clustering") for n in clustered_models(classifiers)}
    owners = [n for n, own in blocks.items() if own and "shared_with" not in own]
    if other not in owners:
        known = f"Models with clusters of their own: {', '.join(owners)}." if owners else "No model has its own."
        raise ConfigError("no such clusters", where=f"{where}.shared_with", found=other, mend=known)
    for keys in _DECISIVE:
        own, their = settings, classifiers[other]
        for key in keys:
            own, their = own[key], their[key]
        if own != their:
            what = f"{base} and {other} do not learn from the same tiles, so that they cannot share clusters"
            where, mend = f"classifiers.{base}.{'.'.join(keys)}", f"Use {their}, or give {base} clusters of its own."
            raise ConfigError(what, where=where, found=own, mend=mend)
    return f"{other}{fold}"


def cluster_owners(arms: Mapping[str, Mapping[str, Any]], classifiers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The models whose clusters the arms learn, each once.

    Raises ConfigError as `clusters_of`.
    """
    models = [arm["classifier"] for arm in arms.values()]
    learners = [m for m in models if classifiers[m].get("architecture") in ARCHITECTURES]
    return list(dict.fromkeys(clusters_of(m, classifiers) for m in learners))
