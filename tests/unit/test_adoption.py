from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from tiny_onnx import SIZE, colour_model, refiner_model

from drunet.errors import ModelError
from drunet.export.adoption import adopt
from drunet.inference import Layout, layout_of
from drunet.settings.finished import FinishedModel


def take(source: Path, target: Path, role: str = "classifier", size: int = SIZE, **settings: Any) -> dict[str, Any]:
    model = FinishedModel.of({"onnx": str(source), **settings}, "classifiers.guest")
    return adopt(source, target, name="guest", role=role, size=size, settings=model)


def test_a_fitting_classifier_is_copied_as_it_is_and_described(tmp_path: Path) -> None:
    source, target = colour_model(tmp_path / "theirs.onnx"), tmp_path / "results" / "model.onnx"
    facts = take(source, target)
    assert target.read_bytes() == source.read_bytes()
    assert facts["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert facts["inputs"] == {"tiles": [None, SIZE, SIZE, 3]}
    assert facts["name"] == "guest" and facts["architecture"] == "finished classifier"
    # Nothing is claimed that is not known.
    assert facts["training_slides"] == [] and facts["parity"] is None and facts["smallest_tumour_um2"] is None


def test_a_pinned_digest_that_fits_is_no_obstacle(tmp_path: Path) -> None:
    source = colour_model(tmp_path / "theirs.onnx")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert take(source, tmp_path / "model.onnx", sha256=digest)["sha256"] == digest


def test_another_file_than_the_pinned_one_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    source = tmp_path / "theirs.onnx"
    source.write_bytes(b"not even a model")
    digest = hashlib.sha256(b"not even a model").hexdigest()
    with pytest.raises(ModelError, match=rf"classifiers\.guest\.sha256: .*not the one.*pins \(found: {digest}\)"):
        take(source, tmp_path / "model.onnx", sha256="0" * 64)
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize(
    ("made", "options", "message"),
    [
        ({}, {"size": SIZE + 1}, "does not take the tiles"),
        ({"channels_last": False}, {}, "does not take the tiles"),
        ({}, {"tumour_index": 2}, "no class probabilities"),
    ],
)
def test_a_classifier_that_does_not_fit_is_refused_and_not_copied(
    tmp_path: Path, made: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=f"guest: .*{message}"):
        take(colour_model(tmp_path / "theirs.onnx", **made), tmp_path / "model.onnx", **options)
    assert not (tmp_path / "model.onnx").exists()


def test_a_classifier_of_another_layout_is_taken_when_the_configuration_says_so(tmp_path: Path) -> None:
    source = colour_model(tmp_path / "theirs.onnx", channels_last=False, scale=1 / 255, tumour=0)
    facts = take(source, tmp_path / "model.onnx", channels_last=False, scale=1 / 255, tumour_index=0)
    assert facts["inputs"] == {"tiles": [None, 3, SIZE, SIZE]}


def test_a_refiner_is_checked_as_a_refiner(tmp_path: Path) -> None:
    refiner, classifier = refiner_model(tmp_path / "r.onnx", size=32), colour_model(tmp_path / "c.onnx")
    facts = take(refiner, tmp_path / "model.onnx", role="refiner")
    assert facts["inputs"] == {"input_image": [None, 32, 32, 3], "input_pred": [None, 32, 32, 1]}
    with pytest.raises(ModelError, match="does not take what a refiner is given"):
        take(classifier, tmp_path / "other.onnx", role="refiner")
    with pytest.raises(ModelError, match="does not take the tiles"):
        take(refiner, tmp_path / "other.onnx")


def test_the_layout_comes_from_the_configuration_and_defaults_to_that_of_a_trained_model() -> None:
    assert layout_of({}) == Layout(channels_last=True, scale=1.0, tumour=1)
    assert layout_of({"channels_last": False, "scale": 0.5, "tumour_index": 0}) == Layout(False, 0.5, 0)
