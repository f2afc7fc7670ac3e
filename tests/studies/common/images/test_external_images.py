"""A second folder of images: what is left out of it, what networks answer, and what the page says."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pandas as pd
import pytest
from image_answers import LUNG, answers, image_list
from PIL import Image
from sklearn.metrics import accuracy_score

from studies.common.class_metrics import called, truth
from studies.common.errors import ImageSetError
from studies.common.images import tables, training
from studies.common.images.external import external_metrics, external_view, list_external
from studies.common.images.folder import list_images
from studies.common.images.job_settings import NearDuplicates
from studies.common.images.view import View
from studies.common.page import templates

CLASSES = ["aca", "scc"]
NEAR = NearDuplicates(
    ratio=0.8, tolerance=3.0, max_scale=2.5, inliers=6, candidates=4, size=256, features=120, check_pairs=10
)
STUDIES = Path(__file__).parents[4] / "workflow/studies"


def tissue(seed: int) -> np.ndarray:
    """Blots of several sizes on a pale ground, 200 px."""
    rng = np.random.default_rng(seed)
    image = np.full((200, 200, 3), rng.integers(200, 240, 3), np.uint8)
    for _ in range(160):
        centre, axes = rng.integers(0, 200, 2).tolist(), rng.integers(2, 12, 2)
        colour = [int(value) for value in rng.integers(40, 200, 3)]
        cv2.ellipse(image, centre, axes.tolist(), float(rng.integers(180)), 0, 360, colour, -1, cv2.LINE_AA)
    return image


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """The study's images, four a class, and others: two new ones a class, a mirrored part of an old one and a copy."""
    for k, label in enumerate(CLASSES):
        for folder, seeds in (("own", range(4)), ("other", range(10, 12))):
            (tmp_path / folder / label).mkdir(parents=True)
            for seed in seeds:
                Image.fromarray(tissue(100 * k + seed)).save(tmp_path / folder / label / f"{seed}.png")
    Image.fromarray(tissue(1)[20:180, 180:20:-1]).save(tmp_path / "other/aca/part.png")
    shutil.copy(tmp_path / "own/scc/3.png", tmp_path / "other/scc/copy.png")
    return tmp_path / "own", tmp_path / "other"


def listed(own: Path, other: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    images, _ = list_images(own, CLASSES, max_unreadable=0.0, where="images.root")
    return list_external(images, own, other, CLASSES, NEAR, max_unreadable=0.0, seed=0, threads=1)


@pytest.mark.slow
def test_what_shares_a_source_with_the_study_is_left_out(folders: tuple[Path, Path]) -> None:
    images, facts = listed(*folders)
    assert images["file"].tolist() == ["aca/10.png", "aca/11.png", "scc/10.png", "scc/11.png"]
    assert images["label"].tolist() == ["aca", "aca", "scc", "scc"] and images["group"].nunique() == 4
    assert facts == {
        "tested": {"aca": 2, "scc": 2},
        "relatives": 2,
        "first": ["aca/part.png", "aca/1.png"],
        "unreadable": 0,
    }


def test_a_folder_of_old_images_or_of_other_classes_is_refused(folders: tuple[Path, Path]) -> None:
    own, other = folders
    with pytest.raises(ImageSetError, match=r"images\.external: .*shares its source.*aca"):
        listed(own, own)
    (other / "aca").rename(other / "acas")
    with pytest.raises(ImageSetError, match=r"images\.external: there is no folder of this class .*aca.*acas"):
        listed(own, other)


@pytest.mark.slow
def test_answers_are_those_of_the_network_on_the_test_view(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, _ = listed(*folders)
    keras.utils.set_random_seed(1)
    image = keras.Input((48, 48, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(3, 3)(image))
    model = keras.Model(image, keras.layers.Dense(2, activation="softmax")(x))
    monkeypatch.setattr(training, "rebuild", lambda facts, weights: model)
    view = View(size=48, short_side=56, crop_scale=(0.5, 1.0), rotation=10.0)
    facts = {"classes": CLASSES, "view": view.settings(), "seed": 3, "training": {"batch_size": 3}}
    found = training.external_answers(facts, folders[1], images, folders[1])
    seen = np.stack([view.test(np.asarray(Image.open(folders[1] / file))) for file in images["file"]])
    expected = model.predict(seen.astype(np.float32) / 255, verbose=0)
    np.testing.assert_allclose(found[["p_aca", "p_scc"]].to_numpy(), expected, atol=1e-6)
    assert set(found["protocol"]) == {"external"} and set(found["fold"]) == {0}
    assert found["group"].tolist() == images["group"].tolist()


def test_the_page_shows_the_test_beside_the_studys_own() -> None:
    own = answers(image_list(), {"random": 3.0, "grouped": 2.0})
    arms = [tables.ImageArm("lung", name, name.upper(), None, own, None, {}) for name in ("a", "b", "svm")]
    scores = tables.summaries(arms, resamples=20, seed=0)
    tested = {
        f"lung/{name}": answers(image_list(), {"random": skill}, run=[0], seed=3).assign(protocol="external")
        for name, skill in (("a", 1.0), ("b", 4.0))
    }
    facts = {"tested": dict.fromkeys(LUNG, 12), "relatives": 3, "first": ["x.png", "y.png"], "unreadable": 1}
    view = external_view(arms, tested, facts, scores, resamples=50, seed=0)
    assert view["table"]["network"].tolist() == ["A", "B"] and view["images"] == 36
    right = accuracy_score(truth(tested["lung/b"]), called(tested["lung/b"]))
    assert view["table"]["accuracy"].iloc[1].startswith(f"{right:.3f} (")
    home = scores.query("key == 'lung/a' and protocol == 'grouped' and metric == 'accuracy'")["mean"].iloc[0]
    assert view["table"]["accuracy, grouped split"].iloc[0].startswith(f"{home:.3f}")
    environment = templates(STUDIES)
    environment.globals["table"] = lambda frame, caption: caption
    words = " ".join(environment.get_template("common/images/external.md.j2").render({"external": view}).split())
    assert "36 images (95 % confidence interval in brackets), and the accuracy under the grouped split" in words
    assert "12 of lung_aca, 12 of lung_n, 12 of lung_scc." in words
    assert "image of the study: 3 (the first: x.png and y.png)." in words and "could not be read: > 1." in words
    long = pd.concat(external_metrics(tested))
    assert set(long["arm"]) == set(tested) and set(long["protocol"]) == {"external"}
    assert long.query("arm == 'lung/b' and metric == 'accuracy'")["value"].tolist() == [pytest.approx(right)]
    assert external_view(arms, {}, {}, scores, resamples=1, seed=0) == {} and external_metrics({}) == []
