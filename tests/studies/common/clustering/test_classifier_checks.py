"""Classifiers of the studies' architectures: what they may start from, and what those over clusters need."""

from __future__ import annotations

from typing import Any

import pytest

from drunet.errors import ConfigError
from studies.common.clustering.sharing import check_classifiers

SEARCH = {
    "max_clusters": 4,
    "components": 2,
    "population": 5,
    "generations": 1,
    "seconds": 1,
    "min_tiles": 2,
    "tiles": 9,
}
DATA: dict[str, Any] = {
    "annotation_kinds": ["psa"],
    "cohorts": None,
    "cross_fit_folds": 2,
    "clustering": SEARCH,
    "episodes": {"shots": 2, "queries": 3, "count": 4, "ways": None},
}
OTHERS: dict[str, Any] = {
    "big": {"architecture": "dr_fused", "weights": "random"},
    "h2g": {"architecture": "h2gnet_classifier", "weights": "random"},
    "slim": {"architecture": "mfstudentlnet", "weights": "random"},
    "done": {"onnx": "done.onnx"},
}


def check(**settings: Any) -> None:
    check_classifiers({**OTHERS, "small": {"weights": "random", "data": DATA, **settings}})


def test_what_fits_passes() -> None:
    check_classifiers(OTHERS)
    for architecture in ("clustered", "prototypes"):
        check(architecture=architecture, distillation=None)
        check(architecture=architecture, weights={"model": "h2g"})
    check(architecture="mfstudentlnet", weights={"model": "slim"}, distillation={"teacher": "big"})


def test_the_products_own_architectures_are_left_to_the_product() -> None:
    check(architecture="dr_fused", weights={"model": "slim"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"architecture": "clustered", "distillation": {"teacher": "big"}},
            "classifiers.small.distillation: a model over clusters has no teacher, nor other stains (found: clustered)",
        ),
        ({"architecture": "prototypes", "distillation": {"teacher": "big"}}, "(found: prototypes)"),
        (
            {"architecture": "prototypes", "stain_normalisation": {"method": "macenko"}},
            "classifiers.small.stain_normalisation: a model over clusters",
        ),
        (
            {"architecture": "prototypes", "weights": {"model": "big"}},
            "classifiers.small.weights.model: the model to start from is another network (found: big: dr_fused). "
            "Start from a model of architecture h2gnet_classifier or prototypes",
        ),
        (
            {"architecture": "mfstudentlnet", "weights": {"model": "h2g"}},
            "classifiers.small.weights.model: the model to start from is another network (found: h2g: "
            "h2gnet_classifier). Start from a model of architecture mfstudentlnet",
        ),
        (
            {"architecture": "clustered", "data": {**DATA, "clustering": None}},
            "classifiers.small.data.clustering: a model that learns clusters needs this block",
        ),
        (
            {"architecture": "clustered", "data": {**DATA, "clustering": {"shared_with": "big"}}},
            "classifiers.small.data.clustering.shared_with: no such clusters (found: big)",
        ),
        (
            {"architecture": "clustered", "data": {**DATA, "clustering": {**SEARCH, "population": 4}}},
            "classifiers.small.data.clustering.population: the value does not fit (found: 4). Expected at least 5",
        ),
        (
            {"architecture": "prototypes", "data": {**DATA, "episodes": {"shots": 1}}},
            "classifiers.small.data.episodes: a key is missing (found: count, queries, ways not given)",
        ),
    ],
)
def test_what_cannot_learn_is_refused_in_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(**changes)
    assert said in str(caught.value) and "\n" not in str(caught.value)
