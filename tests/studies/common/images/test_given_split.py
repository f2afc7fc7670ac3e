"""Images whose parts and sources are told beforehand: the protocol "given", and groups by source."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from studies.common.errors import ImageSetError
from studies.common.images.groups import in_order_of, read_sources, sourced_groups
from studies.common.images.job_settings import NearDuplicates
from studies.common.images.protocols import PROTOCOLS, folds_of
from studies.common.images.settings import Protocol
from studies.common.images.splits import draw_trials, given_parts, leak, split_of

ROOT = Path(__file__).resolve().parents[4]
PARTS = {"parts": {"training": 8, "validation": 1, "test": 1}}
NEAR: dict[str, Any] = {
    "candidates": 5,
    "size": 96,
    "features": 200,
    "ratio": 0.8,
    "tolerance": 3.0,
    "max_scale": 2.5,
    "inliers": 6,
    "check_pairs": None,
}


@pytest.fixture
def images() -> pd.DataFrame:
    """Of each class four patients of three images, the last of which is in the test part but for the fourth patient."""
    rows = [
        (
            f"{label}/{p}{i}.png",
            label,
            f"{label}{p}",
            "test" if i == 2 and p < 3 else ("training", "validation")[i == 1],
        )
        for label in ("Cancer", "Non-cancer")
        for p in range(4)
        for i in range(3)
    ]
    return pd.DataFrame(rows, columns=["file", "label", "group", "part"]).sample(
        frac=1, random_state=1, ignore_index=True
    )


def test_the_given_parts_are_followed_and_nothing_else(images: pd.DataFrame) -> None:
    for split in (PARTS, {"folds": 5, "run": [2, 3]}):
        found = split_of(images, "given", split, 0, 0.3, seed=1)
        for name in ("training", "validation", "test"):
            np.testing.assert_array_equal(getattr(found, name), np.flatnonzero(images["part"] == name))


def test_a_given_split_is_one_fold_whatever_the_others_are() -> None:
    assert folds_of({"folds": 5, "run": [2, 3]}, "given") == [0]
    assert folds_of({"folds": 5, "run": [2, 3]}, "grouped") == [2, 3]
    assert folds_of(PARTS, "given") == [0]


def test_the_leak_of_given_parts_is_counted(images: pd.DataFrame) -> None:
    task = {"classes": ["Non-cancer", "Cancer"], "protocols": ["given", "grouped"], "split": PARTS}
    given, grouped = draw_trials(task, images, validation_share=0.0, seed=2)
    assert (given.key, given.leak, grouped.leak) == ("given.0", 1.0, 0.0)
    # A patient who is in the test part alone leaks nothing.
    alone = images.assign(group=images["group"].where(images["file"] != "Cancer/02.png", "alone"))
    found = split_of(alone, "given", PARTS, 0, 0.0, seed=2)
    assert leak(alone, np.concatenate([found.training, found.validation]), found.test) == pytest.approx(5 / 6)


def test_a_source_that_only_stopped_the_training_leaks_too() -> None:
    # One of four test images is of a source that was learnt from, one of another that was validated on.
    rows = [("training", "a0"), ("validation", "a1"), ("test", "a0"), ("test", "a1")]
    rows += [("training", "b0"), ("test", "b1"), ("test", "b2")]
    images = pd.DataFrame(rows, columns=["part", "group"])
    images["label"] = images["group"].str[0]
    task = {"classes": ["a", "b"], "protocols": ["given"], "split": PARTS}
    (trial,) = draw_trials(task, images, validation_share=0.0, seed=0)
    assert trial.leak == 2 / 4


def test_validation_is_set_aside_where_none_is_given(images: pd.DataFrame) -> None:
    without = images.assign(part=images["part"].replace("validation", "training"))
    found = split_of(without, "given", PARTS, 0, 0.25, seed=2)
    assert len(found.validation) == round(0.25 * 18)
    assert set(without["part"].iloc[found.validation]) == {"training"}
    assert not len(split_of(without, "given", PARTS, 0, 0.0, seed=2).validation)


def test_an_image_without_a_part_is_refused_in_one_line(images: pd.DataFrame) -> None:
    for broken in (images.drop(columns="part"), images.assign(part=["", *images["part"][1:]])):
        with pytest.raises(ImageSetError, match="images lie in no part") as caught:
            given_parts(broken)
        assert "Training, Validation and Testing" in str(caught.value) and "\n" not in str(caught.value)


def test_parts_without_a_class_are_refused(images: pd.DataFrame) -> None:
    broken = images[(images["part"] != "test") | (images["label"] == "Cancer")]
    with pytest.raises(ImageSetError, match=r"Non-cancer: a class is missing from a part .*test"):
        given_parts(broken)


def test_the_settings_know_the_protocols_that_there_are() -> None:
    assert get_args(Protocol) == PROTOCOLS


# Groups by source


def listed(root: Path, sources: list[str]) -> pd.DataFrame:
    """Pictures of blots, different but for the last, a shifted copy of the first, and the last but one, the third."""
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(len(sources) - 2):
        small = rng.integers(0, 256, (16, 16), dtype=np.uint8)
        pictures.append(np.array(Image.fromarray(small).resize((96, 96), Image.Resampling.BICUBIC)))
    pictures += [pictures[2], np.roll(pictures[0], 3, axis=1)]
    for k, pixels in enumerate(pictures):
        Image.fromarray(pixels).convert("RGB").save(root / f"{k}.png")
    return pd.DataFrame(
        {
            "file": [f"{k}.png" for k in range(len(pictures))],
            "label": "Cancer",
            "digest": [str(hash(p.tobytes())) for p in pictures],
            "source": sources,
        }
    )


def test_images_are_grouped_by_source_and_look_alikes_where_it_is_not_known(tmp_path: Path) -> None:
    images = listed(tmp_path, ["", "1", "1", "2", "", "2", ""])
    groups, facts = sourced_groups(
        images, images["source"], tmp_path, {"settings": NearDuplicates.of(NEAR, "near_duplicates"), "seed": 1}
    )
    # 1 and 2 print one picture (the third, and the last but one): nobody may learn from the one and be asked the other.
    assert groups[1] == groups[2] == groups[3] == groups[5]
    assert groups[0] == groups[6] != groups[4] and groups[0] != groups[1]
    assert (facts["groups"], facts["joined"]) == (3, 2)
    assert facts["sourced"] == {"Cancer": {"images": 4, "sources": 2}} and facts["unsourced"] == {"Cancer": 3}
    assert facts["search"]["images"] == 3


def test_nothing_is_searched_where_every_source_is_known(tmp_path: Path) -> None:
    images = pd.DataFrame({"file": ["a", "b", "c"], "label": ["x", "x", "y"], "digest": ["1", "2", "3"]})
    groups, facts = sourced_groups(
        images,
        pd.Series(["7", "7", "8"]),
        tmp_path,
        {"settings": NearDuplicates.of(NEAR, "near_duplicates"), "seed": 1},
    )
    assert groups.tolist() == ["s7", "s7", "s8"] and facts["search"] is None and facts["joined"] == 0


def test_sources_are_read_as_text_and_numbers_as_numbers(tmp_path: Path) -> None:
    path = tmp_path / "sources.tsv"
    path.write_text("file\tlabel\tsource\tpart\tjpeg_quality\nNA/1.png\tNA\t01\t\t\nNA/2.png\tNA\t\ttest\t75\n")
    images = pd.DataFrame({"file": ["NA/2.png", "NA/1.png"]}, index=[5, 9])
    table = in_order_of(images, read_sources(path))
    assert table.index.tolist() == [5, 9] and table["file"].tolist() == images["file"].tolist()
    assert table["source"].tolist() == ["", "01"] and table["part"].tolist() == ["test", ""]
    assert table["label"].tolist() == ["NA", "NA"]
    assert table["jpeg_quality"].tolist()[0] == 75 and np.isnan(table["jpeg_quality"].tolist()[1])
