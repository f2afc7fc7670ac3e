"""The embedded image set: laid out and made as LC25000 was, no easier by colour, and leaking where that leaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from studies.common.drawing import patches

RANDOM, GROUPED = (
    StratifiedKFold(4, shuffle=True, random_state=0),
    StratifiedGroupKFold(4, shuffle=True, random_state=0),
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame, NDArray[np.uint8]]:
    folder = tmp_path_factory.mktemp("patches") / "set"
    table = patches.write_patch_set(folder, sources=16, variants=4, size=64, seed=20240917)
    return folder, table, np.stack([np.asarray(Image.open(folder / file)) for file in table["file"]])


def accuracy(model: Any, features: Any, table: pd.DataFrame, folds: Any = GROUPED) -> float:
    return float(
        np.mean(
            cross_val_score(
                model, features, table["label"], groups=table["group"] if folds is GROUPED else None, cv=folds
            )
        )
    )


def texture(image: NDArray[np.uint8]) -> list[float]:
    """Moments of band-passed grey and its quantiles: blind to how strong a stain is, and to its colour."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64)
    finer = (grey - grey.mean()) / grey.std()
    found = np.quantile(finer, [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]).tolist()
    for sigma in (0.7, 1.5, 3.0, 6.0, 12.0):
        coarser = cv2.GaussianBlur(grey := finer, (0, 0), sigma)
        band, finer = grey - coarser, coarser
        found += [band.std(), np.mean((band / band.std()) ** 3), np.mean((band / band.std()) ** 4)]
    return found


@pytest.mark.slow
def test_folders_names_and_groups_are_those_of_lc25000(written: Any) -> None:
    folder, table, images = written
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    classes = {"lung_image_sets": {"lung_aca": "lungaca", "lung_n": "lungn", "lung_scc": "lungscc"},
               "colon_image_sets": {"colon_aca": "colonca", "colon_n": "colonn"}}  # fmt: skip
    stems = [f"{top}/{label}/{stem}" for top, labels in classes.items() for label, stem in labels.items()]
    expected = {f"{stem}{number}.png" for stem in stems for number in range(1, 65)}
    assert found == table["file"].tolist() == sorted(expected)
    assert images.shape[1:] == (64, 64, 3)
    groups = pd.read_csv(folder / "groups.csv")
    assert groups.columns.tolist() == ["class", "file", "group"]
    assert groups["file"].tolist() == [Path(file).name for file in table["file"]]
    assert groups["class"].tolist() == [Path(file).parent.name for file in table["file"]] == table["label"].tolist()
    assert (groups.groupby("group").size() == 4).all()
    assert groups["group"].tolist() == table["group"].tolist()
    assert groups[["class", "group"]].drop_duplicates()["group"].is_unique
    assert [path.name for path in folder.parent.iterdir()] == ["set"]


def test_names_do_not_tell_the_field(written: Any) -> None:
    table = written[1].assign(number=written[1]["file"].str.extract(r"(\d+)\.png$")[0].astype(int))
    ordered = table.sort_values(["label", "number"])["group"]
    # By chance 3 of the 63 others are of the same field; in the order of drawing 3 of 4 would follow their like.
    assert (ordered == ordered.shift()).mean() < 0.15


@pytest.mark.slow
def test_pixels_follow_from_the_seed_and_no_field_from_another(tmp_path: Path) -> None:
    sets = {}
    for name, sources, seed in (("one", 1, 5), ("again", 1, 5), ("more", 2, 5), ("other", 1, 6)):
        table = patches.write_patch_set(tmp_path / name, sources=sources, variants=2, size=32, seed=seed)
        first = table[table["group"].str.endswith("_1")]["file"]
        sets[name] = {Image.open(tmp_path / name / file).tobytes() for file in first}
        assert len(sets[name]) == 10
    assert sets["one"] == sets["again"] == sets["more"]
    assert not sets["one"] & sets["other"]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_a_variant_is_turned_up_to_25_degrees_and_has_no_corner_outside(seed: int) -> None:
    side, size = 240, 60
    rows, columns = np.mgrid[:side, :side].astype(np.uint8)
    result = patches.vary(np.random.default_rng(seed), np.dstack([columns, rows, rows]), size).astype(float)
    y, x = np.mgrid[:size, :size] * (side / size)
    at = np.stack([x.ravel(), y.ravel(), np.ones(size * size)], 1)
    # The pixels hold where they came from: were any from outside, no one affine map would explain them all.
    came = result[..., :2].reshape(-1, 2)
    fit, *_ = np.linalg.lstsq(at, came, rcond=None)
    # A pixel of the result is four of the source.
    assert np.abs(at @ fit - came).max() < 2
    degrees = np.degrees(np.arctan2(abs(fit[0, 1]), abs(fit[0, 0])))
    assert degrees <= 25.2
    zoom = 1 / np.sqrt(abs(np.linalg.det(fit[:2])))
    assert zoom == pytest.approx(np.cos(np.radians(degrees)) + np.sin(np.radians(degrees)), abs=0.02)


def test_every_mirroring_occurs() -> None:
    ramp = np.dstack([*np.mgrid[:64, :64], np.zeros((64, 64))]).astype(np.uint8) * 3
    results = [patches.vary(np.random.default_rng(seed), ramp, 32).astype(int) for seed in range(60)]
    assert len({(r[-1, 16, 0] > r[0, 16, 0], r[16, -1, 1] > r[16, 0, 1]) for r in results}) == 4


@pytest.mark.slow
def test_colour_tells_the_field_and_texture_the_class(written: Any) -> None:
    _, table, images = written
    colour = pd.DataFrame(images.mean((1, 2)))
    for _, rows in table.groupby("label"):
        fields = colour.loc[rows.index].groupby(rows["group"])
        assert (fields.mean().var() > 4 * fields.var().mean()).all()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000))
    by_colour, by_texture = accuracy(model, colour, table), accuracy(model, [texture(i) for i in images], table)
    # 0.40 and 0.88 when this was written.
    assert by_colour < 0.58
    assert by_colour + 0.1 < by_texture < 0.99


def test_a_random_split_leaks(written: Any) -> None:
    _, table, images = written
    small = [cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA).ravel().astype(float) for image in images]
    nearest = KNeighborsClassifier(1)
    # 0.62 and 0.47 when this was written.
    assert accuracy(nearest, small, table, RANDOM) > accuracy(nearest, small, table) + 0.1


def test_a_stopped_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"sources": 1, "variants": 1, "size": 24, "seed": 1}
    monkeypatch.setattr(patches, "vary", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        patches.write_patch_set(tmp_path / "set", **wanted)
    assert not list(tmp_path.iterdir())
