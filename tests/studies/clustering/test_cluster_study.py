"""The study of clustered tissue: montage, scores, page."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_blobs

from drunet.errors import ConfigError
from drunet.report.figures import save
from studies.clustering import settings as rules
from studies.clustering import tables as study
from studies.common.classifier_arms import arm_metrics
from studies.common.clustering.figures import choose_examples, montage
from studies.common.clustering.settings import Search
from studies.common.clustering.sharing import cluster_owners
from studies.common.clustering.tiles import cluster_tiles
from studies.common.page import render_section

ARMS = {
    "few_shot": {"classifier": "few", "label": "Few-shot (VIII)"},
    "two": {"classifier": "plain", "label": "Two classes"},
}
DATA = {"annotation_kinds": ["psa"], "cohorts": None, "cross_fit_folds": 2}
CLASSIFIERS: dict[str, Any] = {
    "few": {"architecture": "prototypes", "weights": "random", "data": {**DATA, "clustering": {"tiles": 9}}},
    "many": {"architecture": "clustered", "weights": "random", "data": {**DATA, "clustering": {"shared_with": "few"}}},
    "plain": {"architecture": "dr_fused"},
}
TRAINED = {
    "few": {
        "classes": [
            {"label": "non-tumour", "clusters": [0], "tiles": 40},
            {"label": "tumour", "clusters": [0, 1], "tiles": 50},
        ],
        "merged": ["tumour of cluster 1 has 2 tiles, fewer than 5: learnt with tumour of cluster 0"],
    }
}


@pytest.fixture(scope="module")
def found() -> SimpleNamespace:
    points, _ = make_blobs(90, centers=[[0, 0], [9, 0], [0, 9]], random_state=0)
    table = pd.DataFrame({"split": "training", "slide": "s", "x": range(90), "y": 0, "label": np.arange(90) % 2})
    table["f0"], table["f1"] = points.T
    search = Search(max_clusters=4, components=2, population=20, generations=15, seconds=60, min_tiles=5, tiles=90)
    names = ("table", "clusters", "validity", "facts")
    return SimpleNamespace(**dict(zip(names, cluster_tiles(table, search, seed=1, where="x"), strict=True)))


def metrics() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    label = np.arange(60) % 2
    tiles = pd.DataFrame({"slide": "s", "patient": [str(i % 3) for i in range(60)], "label": label})
    arms = {arm: tiles.assign(p_tumour=np.clip(label + rng.normal(0, 0.4, 60), 0, 1)) for arm in ARMS}
    return arm_metrics(arms, dict.fromkeys(ARMS, 0.5), resamples=50, seed=1)


def test_a_cluster_shows_its_labels_in_their_proportion_and_a_rare_one_too() -> None:
    labels = [1] * 30 + [0] * 10 + [1] + [0] * 59 + [0] * 3
    table = pd.DataFrame({"split": "training", "label": labels, "cluster": [0] * 40 + [1] * 60 + [2] * 3})
    table.loc[len(table)] = ["validation", 1, 2]
    chosen = choose_examples(table, 8, seed=1)
    counts = chosen.groupby(["cluster", "label"]).size().to_dict()
    assert counts == {(0, 1): 6, (0, 0): 2, (1, 1): 1, (1, 0): 7, (2, 0): 3}
    assert not chosen.index.duplicated().any()
    pd.testing.assert_frame_equal(chosen, choose_examples(table, 8, seed=1))
    for _, own in chosen.groupby("cluster"):
        assert own["label"].is_monotonic_decreasing


def test_a_montage_has_a_row_per_cluster_and_names_its_share_of_tumour(found: SimpleNamespace) -> None:
    examples = choose_examples(found.table, 4, seed=1)
    figure = montage(examples, lambda tile: np.full((16, 16, 3), 200, np.uint8), found.facts["members"], 64.0)
    most = examples.groupby("cluster").size().max()
    assert len(figure.axes) == found.facts["clusters"] * most
    words = [axes.get_ylabel() for axes in figure.axes[::most]]
    for k, member in enumerate(found.facts["members"]):
        assert words[k].startswith(f"cluster {k}\n{member['tiles']} tiles\n{100 * member['tumour']:.0f} % tumour")
    assert "64 µm" in words[0]
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    assert titles == ["tumour" if label else "non-tumour" for label in examples["label"]]


def test_the_page_tells_what_was_found_and_how_well_it_does(found: SimpleNamespace, tmp_path: Path) -> None:
    examples = choose_examples(found.table, 4, seed=1)
    picture = montage(examples, lambda tile: np.zeros((9, 9, 3), np.uint8), found.facts["members"], 64.0)
    save(picture, tmp_path / "figures/few_montage.jpg")
    scores = metrics()
    validity = {"few": found.validity}
    view = study.page_view(scores, validity, {"few": {**found.facts, "cut_by_seconds": True}}, TRAINED, ARMS)
    said = render_section(tmp_path, Path(study.__file__).with_name("page.md.j2"), view).text
    f1 = scores[(scores["protocol"] == "pooled") & (scores["metric"] == "f1")].set_index("arm")["value"]
    assert f"For few the search ended with {found.facts['clusters']} clusters after" in said
    assert f"Few-shot (VIII) {f1['few_shot']:.2f}, Two classes {f1['two']:.2f}." in said
    assert "Tumour of cluster 1 has 2 tiles" in said and "reached its time limit" in said
    assert "90 tiles in 2 principal components, which keep 100 % of the variance of the features. Seed 1." in said
    assert view["scores"]["F1"][0].startswith(f"{f1['few_shot']:.3f} (") and view["scores"]["tiles"].tolist() == [
        60,
        60,
    ]
    assert view["classes"]["clusters"].tolist() == ["0", "0, 1"]
    assert view["classes"]["class"].tolist() == ["non-tumour 1", "tumour 2"]
    assert view["classes"]["training_tiles"].tolist() == [40, 50]
    in_time = study.page_view(scores, validity, {"few": found.facts}, TRAINED, ARMS)
    assert "time limit" not in render_section(tmp_path, Path(study.__file__).with_name("page.md.j2"), in_time).text


def test_metrics_hold_the_arms_and_the_validity_of_the_clusters(found: SimpleNamespace) -> None:
    table = study.with_validity(metrics(), {"few": found.validity})
    assert table.columns.tolist() == ["arm", "protocol", "repeat", "metric", "value"]
    own = table[(table["protocol"] == "clusters of few") & (table["arm"] == "evolutionary")]
    values = own.set_index("metric")["value"]
    assert values["clusters"] == found.facts["clusters"] and values["agreement"] == 1


def test_a_study_that_cannot_be_made_says_why() -> None:
    config = {"classifiers": CLASSIFIERS}
    rules.check({"arms": ARMS}, config)
    assert cluster_owners({**ARMS, "m": {"classifier": "many", "label": "m"}}, CLASSIFIERS) == ["few"]
    with pytest.raises(ConfigError, match="no arm learns clusters"):
        rules.check({"arms": {"two": ARMS["two"]}}, config)
    bare = {**CLASSIFIERS, "few": {**CLASSIFIERS["few"], "data": DATA}}
    with pytest.raises(ConfigError, match=r"classifiers\.few\.data\.clustering: a model that learns clusters"):
        cluster_owners(ARMS, bare)
