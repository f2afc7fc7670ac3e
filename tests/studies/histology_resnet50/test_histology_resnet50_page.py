"""The page of the study of a fine-tuned ResNet50, from made-up predictions: it shows what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from image_answers import GROUPING, LUNG, answers, image_list, write_study

from drunet.files import read_published
from studies.common.class_metrics import confusion
from studies.common.images import tables as study
from studies.common.images.examples import confused, count_confused
from studies.histology_resnet50 import section as histology_resnet50_section
from studies.histology_resnet50 import tables as histology_resnet50

FOLDER = Path(__file__).parents[3] / "workflow/studies/histology_resnet50"
PUBLISHED = read_published(FOLDER / "published.tsv")
MALIGNANT = ("lung_aca", "lung_scc")


def shipped() -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / "settings.yaml").read_text(encoding="utf-8")))


def read(found: dict[str, Any], settings: dict[str, Any]) -> list[study.ImageArm]:
    keys = ("arms", "predictions", "facts", "networks", "histories")
    return study.read_arms(settings["arms"], *(found[key] for key in keys))


def make_resnet(folder: Path) -> dict[str, Any]:
    settings = shipped()
    found = write_study(folder, settings, {arm: {"random": 4.0, "grouped": 1.5} for arm in settings["arms"]})
    arms = read(found, settings)
    leak = study.leaks(arms, pd.read_csv(found["images"], sep="\t"))
    return {"arms": arms, "scores": study.summaries(arms, resamples=50, seed=0), "settings": settings, "leak": leak}


def test_the_page_of_resnet50_counts_confused_cancers_beside_the_published_17(tmp_path: Path) -> None:
    made = make_resnet(tmp_path / "study")
    scores, leak, arms, settings = (made[k] for k in ("scores", "leak", "arms", "settings"))
    facts = histology_resnet50.published_facts(PUBLISHED)
    table = histology_resnet50.fine_tuning_table(scores, arms, facts, MALIGNANT)
    assert table.loc[0, "malignant confused"] == "17 of 2,250 (0.8 %)" and table.loc[0, "accuracy"] == "0.988"
    counts = confusion(arms[0].of("grouped"))
    expected, tested = counts[0, 2] + counts[2, 0], counts.sum()
    row = table[(table["arm"] == "frozen backbone") & (table["split"] == "grouped")].iloc[0]
    assert row["malignant confused"] == f"{expected} of {tested} ({100 * expected / tested:.1f} %)"
    section = histology_resnet50_section.section_of(
        scores, leak, table, arms, settings, tmp_path, grouping=GROUPING, unreadable=1
    )
    learning = dict(section.tables)["How much of the network learns"]
    assert set(learning["million parameters"]) == {23.6} and set(learning["of which learn"]) == {1.2}
    assert any("nothing here is about CT" in note for note in section.notes)
    assert any("1 image could not be read and was left out" in note for note in section.notes)
    # Formulas and teachers are the other paper's.
    assert not any("formula that the paper prints" in note or "learns from" in note for note in section.notes)
    assert "in brackets the 95 % interval, one fold was run" in section.lead
    drawn = histology_resnet50.figures(scores, leak, arms)
    assert {path.stem for _, path in section.figures} == set(drawn) | {"confused", "groups"}
    extra = histology_resnet50.confused_metrics(arms, MALIGNANT)
    assert list(extra.columns) == ["arm", "protocol", "repeat", "metric", "value"] and len(extra) == 12


def test_confused_images_are_the_surest_one_per_source_and_few_per_pair() -> None:
    frame = answers(image_list(), {"random": 0.0}, run=range(5))
    chosen = confused(frame, MALIGNANT, pairs=2, at_most=3)
    assert len(chosen) == 3 and chosen["group"].is_unique and chosen["p"].is_monotonic_decreasing
    assert chosen.groupby(["label", "called"]).size().max() <= 2
    assert set(chosen["label"]) | set(chosen["called"]) <= set(MALIGNANT)
    counts = confusion(frame)
    assert count_confused(frame, MALIGNANT) == (counts[0, 2] + counts[2, 0], counts.sum())


def test_resnet50_under_the_random_split_alone_tells_of_the_leak(tmp_path: Path) -> None:
    settings = shipped()
    settings["tasks"]["lung"]["protocols"] = ["random"]
    found = write_study(tmp_path, settings, {arm: {"random": 4.0} for arm in settings["arms"]})
    arms = read(found, settings)
    scores = study.summaries(arms, resamples=20, seed=0)
    leak = study.leaks(arms, pd.read_csv(found["images"], sep="\t"))
    facts = histology_resnet50.published_facts(PUBLISHED)
    table = histology_resnet50.fine_tuning_table(scores, arms, facts, MALIGNANT)
    section = histology_resnet50_section.section_of(
        scores, leak, table, arms, settings, tmp_path, grouping=GROUPING, unreadable=0
    )
    assert "100 % of the random split's test images" in section.lead and "not of new ones" in section.lead
    assert not any("both ways" in caption for caption, _ in section.figures)


def test_the_classes_that_ship_are_those_of_the_published_set() -> None:
    assert tuple(shipped()["tasks"]["lung"]["classes"]) == LUNG
