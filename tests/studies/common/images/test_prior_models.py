from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import accuracy_score

from drunet.errors import ConfigError
from studies.common.images import prior_models
from studies.common.images.prior_models import (
    build_prior_model,
    class_probabilities,
    edge_histograms,
    fit_prior_model,
    image_features,
)
from studies.common.images.splits import split_of

CLASSES = ["aca", "n", "scc"]
TASK: dict[str, Any] = {"classes": CLASSES, "protocols": ["random", "grouped"], "split": {"folds": 3, "run": [0, 1]}}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stripes: across, along or aslant by class, in colours that belong to a source."""
    folder = tmp_path_factory.mktemp("images")
    rows, columns = np.indices((40, 40))
    for k, label in enumerate(CLASSES):
        (folder / label).mkdir()
        for source in range(8):
            rng = np.random.default_rng([k, source])
            waves = np.sin((rows, columns, rows + columns)[k] * rng.uniform(0.6, 1.0))
            colour = rng.integers(60, 190, 3)
            for copy in range(2):
                noise = np.random.default_rng([k, source, copy]).normal(0, 3, (40, 40, 3))
                pixels = np.clip(colour + 50 * waves[..., None] + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / label / f"{source}_{copy}.png")
    return folder


@pytest.fixture(scope="module")
def images(root: Path) -> pd.DataFrame:
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    return pd.DataFrame(
        {"file": files, "label": [f.split("/")[0] for f in files], "group": [f.split("_")[0] for f in files]}
    )


@pytest.mark.parametrize("kind", ["svm", "random_forest", "knn"])
def test_a_prior_model_leaves_what_a_network_leaves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path, images: pd.DataFrame, kind: str
) -> None:
    monkeypatch.setattr(prior_models, "TREES", 40)
    outcome = fit_prior_model("s, t, m", kind, TASK, images, root, validation_share=0.2, seed=3)
    predictions = outcome.predictions
    assert list(predictions) == ["file", "label", "group", "protocol", "fold", "p_aca", "p_n", "p_scc"]
    p = predictions[["p_aca", "p_n", "p_scc"]].to_numpy()
    assert p.dtype == np.float32 and np.allclose(p.sum(axis=1), 1, atol=1e-5) and p.min() >= 0
    for (protocol, fold), rows in predictions.groupby(["protocol", "fold"], sort=False):
        expected = images["file"].iloc[split_of(images, str(protocol), TASK["split"], fold, 0.2, 3).test]
        assert rows["file"].tolist() == expected.tolist()
    # The direction of the stripes tells the class, whatever the colour: chance is a third.
    called = [CLASSES[k] for k in p.argmax(axis=1)]
    assert accuracy_score(predictions["label"], called) > 0.6
    again = fit_prior_model("s, t, m", kind, TASK, images, root, validation_share=0.2, seed=3)
    pd.testing.assert_frame_equal(again.predictions, predictions, check_exact=True)
    facts = json.loads(json.dumps(outcome.facts))
    assert facts["classic"] == kind and len(facts["trials"]) == 4
    assert [t["leak"] == 0 for t in facts["trials"]] == [False, False, True, True]
    outcome.write(predictions=tmp_path / "p.parquet", facts=tmp_path / "t.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.parquet", "t.json"]


def test_what_is_set_aside_for_validation_is_not_learnt_from(
    monkeypatch: pytest.MonkeyPatch, root: Path, images: pd.DataFrame
) -> None:
    fitted = []

    class Watching:
        def fit(self, features: np.ndarray, labels: np.ndarray) -> None:
            fitted.append(len(labels))

        def predict_proba(self, features: np.ndarray) -> np.ndarray:
            return np.full((len(features), 3), 1 / 3)

        def get_params(self) -> dict[str, Any]:
            return {}

    monkeypatch.setattr(prior_models, "build_prior_model", lambda kind, seed: Watching())
    task = {**TASK, "protocols": ["grouped"]}
    outcome = fit_prior_model("m", "svm", task, images, root, validation_share=0.25, seed=3)
    assert fitted == [sum(t["images"]["training"].values()) for t in outcome.facts["trials"]]
    assert all(sum(t["images"]["validation"].values()) > 0 for t in outcome.facts["trials"])


def test_the_first_features_are_shares_of_colour() -> None:
    # Pure red in the left half, white in the right: hue 0 with full saturation and value, and none with full value.
    image = np.full((20, 20, 3), 255, np.uint8)
    image[:, :10, 1:] = 0
    shares = image_features(image)[:128].reshape(8, 4, 4)
    assert shares[0, 3, 3] == pytest.approx(0.5) and shares[0, 0, 3] == pytest.approx(0.5)
    assert shares.sum() == pytest.approx(1)
    np.testing.assert_allclose(image_features(image[:, ::-1])[:128], shares.ravel())


def test_the_other_features_are_edges_by_angle_in_blocks_of_length_one() -> None:
    rows = np.indices((64, 64))[0]
    across = np.repeat((127 + 120 * np.sin(rows / 3)).astype(np.uint8)[..., None], 3, axis=2)
    features = image_features(across)
    assert features.shape == (452,) and features.dtype == np.float32
    blocks = features[128:].reshape(9, 36)
    np.testing.assert_allclose(np.linalg.norm(blocks, axis=1), 1, atol=1e-5)
    # Stripes across have their gradient at 90 degrees: with 20 degrees a bin, in the middle of the fifth.
    angles = blocks.reshape(-1, 9).sum(axis=0)
    assert angles.argmax() == 4
    turned = image_features(np.ascontiguousarray(np.rot90(across)))[128:].reshape(-1, 9).sum(axis=0)
    assert set(np.argsort(turned)[-2:]) == {0, 8} and turned[0] == pytest.approx(turned[8])
    assert not image_features(np.full((64, 64, 3), 90, np.uint8))[128:].any()


def test_a_single_ramp_is_worked_out_by_hand() -> None:
    # 3 grey levels a px to the right and 3 down: 45 degrees, between the bins at 30 and 50 as one to three.
    rows, columns = np.indices((32, 32))
    grey = (3 * rows + 3 * columns).astype(np.uint8)
    block = edge_histograms(grey)
    assert block.shape == (36,)
    # Inside, a gradient of (6, 6). Cells see one or two edges of the image, where one component is halved.
    inner, edge = np.hypot(6, 6), np.hypot(6, 3)
    angle = np.degrees(np.arctan2(6, 3)), np.degrees(np.arctan2(3, 6))
    cell = np.zeros(9)
    for degrees, weight in ((45.0, 15 * 15 * inner + np.hypot(3, 3)), (angle[0], 15 * edge), (angle[1], 15 * edge)):
        place = degrees / 20 - 0.5
        low = int(place)
        cell[low] += weight * (1 - (place - low))
        cell[low + 1] += weight * (place - low)
    whole = np.tile(cell / np.linalg.norm(cell) / 2, 4)
    clipped = np.minimum(whole, 0.2)
    np.testing.assert_allclose(block, clipped / np.linalg.norm(clipped), rtol=1e-9)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_machines_probabilities_order_images_as_it_does(classes: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % classes
    features = (rng.normal(0, 1, (60, 5)) + labels[:, None]).astype(np.float32)
    model: Any = build_prior_model("svm", 0)
    model.fit(features, labels)
    p = class_probabilities(model, features)
    assert p.shape == (60, classes) and np.allclose(p.sum(axis=1), 1)
    np.testing.assert_array_equal(p.argmax(axis=1), model.predict(features))


# A classifier of facts of files


@pytest.fixture
def file_facts(images: pd.DataFrame) -> pd.DataFrame:
    """Facts as of sources.tsv, in another order: of one class JPEG files whose quality is known, of others PNG."""
    rng = np.random.default_rng(0)
    jpeg = (images["label"] == "aca").to_numpy()
    size = rng.integers(900, 1100, len(images))
    found = pd.DataFrame(
        {
            "file": images["file"],
            "label": images["label"],
            "source": "",
            "part": "",
            "format": np.where(jpeg, "jpeg", "png"),
            "bytes": size,
            "width": 40,
            "height": 40,
            "aspect": 1.0,
            "bits": 8,
            "channels": 3,
            "bits_per_pixel": 8 * size / 1600,
            "jpeg_quality": np.where(jpeg, rng.integers(70, 95, len(images)), np.nan),
            "coloured": 0.0,
        }
    )
    return found.sample(frac=1, random_state=1)


def test_facts_of_files_tell_what_goes_with_a_class_and_nothing_else(
    root: Path, images: pd.DataFrame, file_facts: pd.DataFrame
) -> None:
    outcome = fit_prior_model(
        "s, t, f", "file_statistics", TASK, images, root, validation_share=0.2, seed=3, file_facts=file_facts
    )
    p = outcome.predictions
    for protocol, rows in p.groupby("protocol"):
        found = rows[["p_aca", "p_n", "p_scc"]].to_numpy().argmax(axis=1)
        # Not a JPEG: one of the two others, at random.
        assert ((found == 0) == (rows["label"] == "aca")).all(), protocol
        others = rows["label"] != "aca"
        assert 0.1 < (found[others] == [CLASSES.index(label) for label in rows["label"][others]]).mean() < 0.9
    svm = fit_prior_model("s, t, m", "svm", TASK, images, root, validation_share=0.2, seed=3).predictions
    pd.testing.assert_frame_equal(p[["file", "protocol", "fold"]], svm[["file", "protocol", "fold"]])
    for name in ("jpeg_quality", "bytes", "format jpeg", "format png"):
        assert name in outcome.facts["features"]
    json.dumps(outcome.facts)


def test_without_facts_of_files_there_is_nothing_to_fit(root: Path, images: pd.DataFrame) -> None:
    with pytest.raises(ConfigError, match="no facts of files are known"):
        fit_prior_model("n", "file_statistics", TASK, images, root, validation_share=0.0, seed=3)
