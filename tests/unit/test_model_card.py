"""Model cards: the front matter is what Hugging Face reads, and what is said of quality is what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from drunet.report.card import write_card, write_finished_card, write_run_card

# Keys of a model card's metadata as huggingface_hub documents them (ModelCardData, and the README of `modelcard.md`),
# with the type that it takes.
DOCUMENTED: dict[str, type | tuple[type, ...]] = {
    "base_model": (str, list),
    "datasets": (str, list),
    "language": (str, list),
    "library_name": str,
    "license": str,
    "license_link": str,
    "license_name": str,
    "metrics": list,
    "model-index": list,
    "pipeline_tag": str,
    "tags": list,
}
SETTINGS = {"architecture": "dr_fused", "weights": "random", "training": {"keep": "best_loss"}}
FACTS = {
    "architecture": "dr_fused",
    "keras": "3.15.1",
    "seed": 7,
    "settings": SETTINGS,
    "training_slides": ["a1", "a2"],
    "validation_slides": ["b1"],
    "annotation_provenance": {"drawn": 2, "corrected": 0, "unedited": 0, "sources": {}, "unedited_slides": []},
}
HISTORY = pd.DataFrame({"epoch": [1, 2], "loss": [0.6, 0.4], "val_loss": [0.7, 0.5], "seconds": [60.0, 60.0]})
SUMMARY = pd.DataFrame(
    [
        ("r", "test", "segmentation", 6, 5, 0.931671, 0.03, 0.92, 0.908792, 0.963811, 1),
        ("r", "val", "segmentation", 3, 3, 0.929985, 0.04, 0.91, 0.892304, 0.984279, 0),
    ],
    columns=["run", "split", "stage", "n", "groups", "mean", "sd", "median", "low", "high", "left_out"],
)


def parts(path: Path) -> tuple[dict[str, Any], str]:
    """Front matter and text, divided as Hugging Face divides them."""
    empty, front, text = path.read_text(encoding="utf-8").split("---\n", 2)
    assert empty == "" and text.startswith("# ")
    found = yaml.safe_load(front)
    for key, value in found.items():
        assert isinstance(value, DOCUMENTED[key]), key
    return found, text


def trained(folder: Path, name: str, **more: Any) -> Path:
    facts = {**FACTS, "settings": {**SETTINGS, **more}}
    write_card(folder / f"{name}.md", name=name, facts=facts, history=HISTORY, weights_sha256="12" * 32)
    return folder / f"{name}.md"


def test_cards_of_trained_models_say_their_task_and_that_the_licence_is_open(tmp_path: Path) -> None:
    front, text = parts(trained(tmp_path, "net"))
    assert (front["license"], front["pipeline_tag"]) == ("unknown", "image-classification")
    assert front["metrics"] == ["f1", "accuracy"] and "drunet" in front["tags"]
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == ["## Data", "## Result", "## Intended use", "## Limits", "## Settings"]
    front, _ = parts(trained(tmp_path, "unet", classifier="net"))
    assert front["pipeline_tag"] == "image-segmentation"


def test_no_folder_of_a_users_weights_is_on_a_card(tmp_path: Path) -> None:
    text = trained(tmp_path, "net", weights="/srv/kari/Kjellfrid/w.h5", like=["../Kjellfrid/x.onnx"]).read_text()
    assert "Kjellfrid" not in text and "kari" not in text
    assert "- Starting weights: w.h5\n" in text and '"weights": "w.h5"' in text and '"x.onnx"' in text


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("", {"license": "unknown"}),
        ("MIT", {"license": "mit"}),
        ("CC BY 4.0", {"license": "cc-by-4.0"}),
        (
            "Our terms: no use\n---\nlicense: mit",
            {"license": "other", "license_name": r"Our terms: no use\n---\nlicense: mit"},
        ),
    ],
)
def test_a_licence_that_hugging_face_does_not_know_keeps_its_name(
    tmp_path: Path, licence: str, expected: dict[str, str]
) -> None:
    decided = {
        "inputs": {"x": "slide"},
        "input_type": "float",
        "batch": None,
        "output": "p",
        "classes": 2,
        "changed": [],
    }
    facts = {"name": "guest", "source_sha256": "a", "sha256": "b", "inputs": {"x": [None, 8, 8, 3]}, "decided": decided}
    write_finished_card(tmp_path / "card.md", "classifier", facts, {"licence": licence} if licence else {})
    written = (tmp_path / "card.md").read_text(encoding="utf-8")
    found = yaml.safe_load(written.removeprefix("---\n").partition("\n---\n")[0])
    assert {key: value for key, value in found.items() if key.startswith("license")} == expected
    assert set(found) <= set(DOCUMENTED)


def test_the_card_of_a_run_says_what_was_measured_with_its_interval(tmp_path: Path) -> None:
    cards = {name: trained(tmp_path, name).read_text(encoding="utf-8") for name in ("net", "other")}
    write_run_card(tmp_path / "run.md", "r", cards, {"net": "ab" * 32, "other": "cd" * 32}, SUMMARY)
    front, text = parts(tmp_path / "run.md")
    (model,) = front["model-index"]
    (result,) = model["results"]
    assert model["name"] == "r" and result["task"]["type"] == front["pipeline_tag"]
    assert [(m["type"], m["value"]) for m in result["metrics"]] == [("dice", 0.9317)]
    assert "| test | after post-processing | 6 | 5 | 0.932 | 0.909 to 0.964 | 1 |" in text
    assert "| validation | after post-processing | 3 | 3 | 0.930 | 0.892 to 0.984 | 0 |" in text
    headings = [line for line in text.splitlines() if line.startswith(("# ", "## "))]
    assert headings == ["# r", "## Quality", "## Intended use", "## Limits", "## Model net", "## Model other"]
    assert f"`{'ab' * 32}`" in text and f"`{'cd' * 32}`" in text
    assert text.count("## Intended use") == 1 and text.count("### Data") == 2 and "library_name" not in text


def test_the_card_of_a_run_says_how_its_probabilities_keep_their_word(tmp_path: Path) -> None:
    judged = {"tiles": 90, "slides": 3, "apart": False, "before": {"ece": 0.1234}, "after": {"ece": 0.0321}}
    facts = {"temperature": 1.75, "bins": 15, "splits": {"val": judged}}
    write_run_card(tmp_path / "run.md", "r", {}, {}, SUMMARY, facts)
    said = "0.123 before and 0.032 after on 90 tiles of 3 validation slides (which fitted it)."
    assert said in parts(tmp_path / "run.md")[1] and "does harm" not in parts(tmp_path / "run.md")[1]
    worse = {"val": judged, "test": {**judged, "after": {"ece": 0.1235}}}
    write_run_card(tmp_path / "run.md", "r", {}, {}, SUMMARY, {**facts, "splits": worse})
    assert "the temperature does harm" in parts(tmp_path / "run.md")[1]
    write_run_card(tmp_path / "run.md", "r", {}, {}, SUMMARY, {**facts, "temperature": None})
    assert "determine no temperature" in parts(tmp_path / "run.md")[1]


def test_a_run_that_was_not_measured_claims_no_quality(tmp_path: Path) -> None:
    write_run_card(tmp_path / "run.md", "r", {}, {}, SUMMARY[:0])
    front, text = parts(tmp_path / "run.md")
    assert "model-index" not in front and "how good it is is not known" in text and "|" not in text
    undefined = SUMMARY.assign(mean=float("nan"), low=float("nan"), high=float("nan"))
    write_run_card(tmp_path / "run.md", "r", {}, {}, undefined)
    front, text = parts(tmp_path / "run.md")
    assert "model-index" not in front and "| 6 | 5 | – | – | 1 |" in text
