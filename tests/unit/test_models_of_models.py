"""Models that are like others, and models that start from others."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from drunet.errors import ConfigError
from drunet.settings.merging import merged, resolve_models
from drunet.settings.references import checked, start_of

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]


@pytest.fixture
def config() -> Json:
    return dict(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")))


def problem_of(config: Json) -> str:
    with pytest.raises(ConfigError) as caught:
        checked(resolve_models(config))
    message = str(caught.value)
    assert "\n" not in message
    return message


# Like another model


def test_a_model_like_another_differs_in_what_it_says_and_nothing_else(config: Json) -> None:
    config["classifiers"]["short"] = {"like": "dr_fused", "training": {"epochs": 2}, "data": {"cohorts": ["here"]}}
    resolved = resolve_models(config)["classifiers"]
    expected = copy.deepcopy(config["classifiers"]["dr_fused"])
    expected["training"]["epochs"] = 2
    expected["data"]["cohorts"] = ["here"]
    assert resolved["short"] == expected
    assert resolved["dr_fused"] == config["classifiers"]["dr_fused"]


def test_likeness_goes_over_several_steps_in_any_order_of_the_file(config: Json) -> None:
    config["classifiers"] = {
        "third": {"like": "second", "freeze_fraction": 0.5},
        "second": {"like": "dr_fused", "weights": "imagenet"},
        **config["classifiers"],
    }
    third = resolve_models(config)["classifiers"]["third"]
    assert (third["freeze_fraction"], third["weights"], third["architecture"]) == (0.5, "imagenet", "dr_fused")


def test_blocks_that_mean_something_only_as_a_whole_are_not_mixed(config: Json) -> None:
    base = config["classifiers"]["dr_fused"]
    base["weights"] = {"densenet201": "d.h5", "resnet101v2": "r.h5"}
    base["loss"] = {"name": "focal", "gamma": 2.0, "class_weights": None}
    config["classifiers"]["other"] = {
        "like": "dr_fused",
        "weights": {"model": "dr_fused"},
        "loss": {"name": "cross_entropy", "class_weights": "balanced"},
        "augment": {"multi_lens": {"lenses": 2, "radius": [3, 5], "strength": [0, 0.1]}},
    }
    other = resolve_models(config)["classifiers"]["other"]
    assert other["weights"] == {"model": "dr_fused"}
    assert other["loss"] == {"name": "cross_entropy", "class_weights": "balanced"}
    assert "probability" not in other["augment"]["multi_lens"]
    assert other["augment"]["flip"] is True


def test_options_of_one_architecture_never_reach_another(config: Json) -> None:
    config["refiners"]["nine"] = {"like": "unet", "architecture": "h2gnet_unet", "options": {"size": 256}}
    config["refiners"]["bare"] = {"like": "unet", "architecture": "h2gnet_unet"}
    resolved = resolve_models(config)["refiners"]
    assert resolved["nine"]["options"] == {"size": 256}
    assert resolved["bare"]["options"] == {}


def test_what_is_like_another_is_a_copy_of_it() -> None:
    base = {"a": {"b": [1]}}
    copied = merged(base, {"a": {"c": 2}})
    copied["a"]["b"].append(3)
    assert base == {"a": {"b": [1]}}


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ({"one": {"like": "dr_fusd"}}, ("classifiers.one.like", "unknown model", "Did you mean dr_fused?")),
        ({"one": {"like": "two"}, "two": {"like": "one"}}, ("circular", "Write one of them out")),
        ({"one": {"like": "one"}}, ("circular",)),
    ],
)
def test_a_likeness_that_leads_nowhere_is_refused(config: Json, models: Json, said: tuple[str, ...]) -> None:
    config["classifiers"].update(models)
    message = problem_of(config)
    assert all(part in message for part in said)


# Starting from another model


def test_a_fine_tuned_model_names_its_start(config: Json) -> None:
    config["classifiers"]["tuned"] = {"like": "dr_fused", "weights": {"model": "dr_fused"}}
    resolved = resolve_models(config)
    checked(resolved)
    assert start_of(resolved["classifiers"]["tuned"]["weights"]) == "dr_fused"
    assert start_of(resolved["classifiers"]["dr_fused"]["weights"]) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architecture": "h2gnet_classifier"}, ("another network", "dr_fused: dr_fused", "here: h2gnet_classifier")),
        ({"options": {"dense_units": 64}}, ("another network", "dense_units")),
        ({"weights": {"model": "dr_fuse"}}, ("weights.model", "unknown classifier", "Did you mean dr_fused?")),
        ({"weights": {"model": "tuned"}}, ("circular",)),
        ({"weights": {"model": "dr_fused", "densenet201": "d.h5"}}, ("one model and nothing else",)),
        ({"weights": {"model": "finished"}}, ("cannot be trained further", "finished", "weights file")),
    ],
)
def test_a_start_that_does_not_fit_is_refused(config: Json, change: Json, said: tuple[str, ...]) -> None:
    config["classifiers"]["finished"] = {"onnx": "finished.onnx"}
    config["classifiers"]["tuned"] = {"like": "dr_fused", "weights": {"model": "dr_fused"}, **change}
    message = problem_of(config)
    assert "classifiers.tuned.weights.model" in message
    assert all(part in message for part in said)


def test_dropout_and_size_may_change_between_a_start_and_what_starts_from_it(config: Json) -> None:
    config["refiners"]["tuned"] = {
        "like": "unet",
        "weights": {"model": "unet"},
        "options": {**config["refiners"]["unet"]["options"], "size": 512, "spatial_dropout": 0.0},
    }
    checked(resolve_models(config))


def test_a_refiner_has_no_imagenet_weights(config: Json) -> None:
    config["refiners"]["unet"]["weights"] = "imagenet"
    assert "a refiner has no ImageNet weights" in problem_of(config)


def test_a_first_model_is_another_one_that_there_is(config: Json) -> None:
    sampling = {"strategy": "induced_imbalance", "first_model": "dr_fuse", "tumour": 40, "non_tumour": 50, "hard": 10}
    config["classifiers"]["second"] = {"like": "dr_fused", "data": {"sampling": sampling}}
    assert "Did you mean dr_fused?" in problem_of(config)
    sampling["first_model"] = "second"
    assert "circular `first_model` reference" in problem_of(config)
