"""What the full-scale overlays make of trainings: the published values, each with its source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from drunet.settings.merging import merged
from drunet_demo.slides import SLIDES
from studies.common.images.tasks import arm_settings, networks_of, tasks_of
from studies.common.study_settings import Study, load_studies

ROOT = Path(__file__).parents[3]
Json = dict[str, Any]


def resolved(**study_settings: Json) -> tuple[dict[str, Study], Json]:
    config: Json = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    for overlay in ("full_scale", "full_scale_studies"):
        config = merged(config, yaml.safe_load((ROOT / f"resources/{overlay}.yaml").read_text(encoding="utf-8")))
    made = [f"results/demo/{slide}{end}" for slide in SLIDES for end in (".tif", ".geojson")]
    return load_studies(merged(config, {"study_settings": study_settings}), ROOT / "workflow/studies", made)


@pytest.fixture(scope="module")
def full() -> tuple[dict[str, Study], Json]:
    return resolved()


@pytest.fixture(scope="module")
def demo() -> dict[str, Study]:
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    return load_studies(config, ROOT / "workflow/studies")[0]


def test_the_epoch_that_is_kept_is_the_published_one(full: Any, demo: dict[str, Study]) -> None:
    studies, everything = full
    kept = {name: studies[name].settings["training"].get("keep", "best_loss") for name in ("ct_pneumonia", "ct_boxes")}
    # Chu et al., the authors' code: main.py tests the last epoch. Pravdyvets 3.2 and 3.4: so many epochs, no choice.
    assert kept == {"ct_pneumonia": "last", "ct_boxes": "last"}
    assert studies["ct_pneumonia"].settings["training"]["epochs"] == 120
    boxes = studies["ct_boxes"].settings
    assert (boxes["training"]["epochs"], boxes["fine_tuning"]["training"]["epochs"]) == (1000, 100)
    assert boxes["fine_tuning"]["training"]["keep"] == "last"
    # Oskouei et al., Model training: early stopping by the validation loss, of classifiers and refiners.
    for model in (everything["classifiers"]["dr_fused"], everything["refiners"]["unet"]):
        assert model["training"].get("keep", "best_loss") == "best_loss"
    # The demo's numbers come from the lowest loss everywhere.
    assert not [name for name, study in demo.items() if "keep" in study.settings.get("training", {})]


@pytest.mark.parametrize("name", ["histology_distillation", "histology_resnet50"])
def test_no_network_keeps_the_demos_batch_norm_momentum(full: Any, name: str) -> None:
    """Neither Tian et al. nor Adekunle et al. state one: Keras' own, and that of the backbones as they come."""
    settings = full[0][name].settings
    found = {
        arm: arm_settings(settings, arm)["batch_norm_momentum"]
        for task in tasks_of(settings)
        for arm in networks_of(settings, task)
    }
    assert len(found) == (11 if name == "histology_distillation" else 3) and set(found.values()) == {None}


def test_tables_3_and_4_of_tian_start_alike_by_one_key(full: Any) -> None:
    def starts(settings: Json) -> Json:
        return {arm: own.get("weights") for arm, own in settings["arms"].items() if own and "classic" not in own}

    # Tian et al., Model construction: the teacher, ResNet50, is pre-trained on ImageNet.
    own = starts(full[0]["histology_distillation"].settings)
    assert own["resnet50"] == "imagenet" and own["mfstudentlnet"] == "random" and set(own.values()) > {"random"}
    studies, _ = resolved(histology_distillation={"starts": "random"})
    alike = studies["histology_distillation"]
    assert alike.problem is None and starts(alike.settings) == dict.fromkeys(own, "random")


def test_h2g_net_is_fine_tuned_as_in_the_authors_notebook(full: Any) -> None:
    """TrainingOnWSIPatches.ipynb: layers[:-12] fixed, focal loss (Keras' defaults), patience 3, min_delta 0.1."""
    classifiers = full[1]["classifiers"]
    for name in ("h2gnet_wta", "h2gnet_psa"):
        own = classifiers[name]
        assert own["trainable_layers"] == 8 and own["options"] == {}
        assert own["loss"] == {"name": "focal", "gamma": 2.0, "class_weights": [0.25, 0.25]}
        training = own["training"]
        assert (training["patience"], training["min_delta"], training["optimiser"]) == (3, 0.1, "adam")
        assert training["learning_rate"] == 0.0001
    # What the others take over from them is not that.
    for name in ("h2gnet_pretrained", "few_shot", "many_shot", "dr_fused_wta"):
        own = classifiers[name]
        assert own["loss"]["name"] == "cross_entropy" and own["loss"]["class_weights"] is None, name
        assert own["training"].get("min_delta", 0.0) == 0.0 and own.get("trainable_layers") is None, name
    assert classifiers["many_shot"]["training"]["patience"] == 40


def test_every_backbone_sees_pixels_as_its_imagenet_weights(full: Any) -> None:
    """Chosen here: Oskouei et al. do not say what the single backbones saw; the main model is as the authors' code."""
    classifiers = full[1]["classifiers"]
    arms = full[0]["backbones"].settings["arms"].values()
    assert {classifiers[arm["classifier"]]["options"]["normalise"] for arm in arms} == {"own"} and len(arms) == 7
    assert classifiers["dr_fused"]["options"].get("normalise", "none") == "none"
