"""Compare a classifier with colour statistics alone, on the same labelled tiles.

    PYTHONPATH=scripts:workflow python -m bench.colour_baseline RESULTS SHEET CLASSIFIER [SPLIT]

The baseline is a logistic regression on the mean and standard deviation of red, green and blue over a tile (six
numbers, standardised), fitted to the labelled tiles of the split `train`. A network that does no better has learnt the
stain. Both are scored on the labelled tiles of SPLIT (test). RESULTS is a results folder with the classifier's
heatmaps, SHEET the sample sheet, whose paths start in its folder. Intervals are over 2,000 resamples of slides.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from drunet.slide import Slide
from drunet.tiles import TUMOUR, read_table

RESAMPLES, SEED = 2000, 20240917


def labelled(results: Path, sheet: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """The labelled tiles of slides, with slide and `colours`, float (6,), of each."""
    parts = []
    for row in rows.itertuples():
        tiles, facts = read_table(results / f"slides/{row.slide_id}/tiles.parquet")
        tiles = tiles[tiles["label"] >= 0]
        grid = facts["grid"]
        with Slide(sheet.parent / row.path, row.slide_id, row.mpp) as slide:
            read = [
                slide.read(x, y, (grid["size"],) * 2, grid["tile_mpp"]) for x, y in zip(tiles.x, tiles.y, strict=True)
            ]
        colours = [np.r_[tile.mean((0, 1)), tile.std((0, 1))] for tile in read]
        parts.append(tiles.assign(slide=row.slide_id, colours=colours))
    return pd.concat(parts, ignore_index=True)


def both_scores(tiles: pd.DataFrame) -> dict[str, float]:
    """AUC and F1 (at 0.5) of `p_tumour` and `p_colours`, and what the first gains over the second."""
    truth = tiles["label"] == TUMOUR
    values = {}
    for name in ("p_tumour", "p_colours"):
        values[f"AUC {name}"] = roc_auc_score(truth, tiles[name])
        values[f"F1 {name}"] = f1_score(truth, tiles[name] >= 0.5)
    return values | {f"{m} gain": values[f"{m} p_tumour"] - values[f"{m} p_colours"] for m in ("AUC", "F1")}


def main(results: Path, sheet: Path, classifier: str, split: str = "test") -> None:
    """Print scores with 95 % intervals."""
    slides = pd.read_csv(results / "slides.tsv", sep="\t", dtype={"slide_id": str})
    listed = pd.read_csv(sheet, sep="\t", dtype=str)[["slide_id", "path"]]
    slides = slides[slides["status"] == "ok"].merge(listed, on="slide_id")
    learnt = labelled(results, sheet, slides[slides["split"] == "train"])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    model.fit(np.stack(learnt["colours"]), learnt["label"] == TUMOUR)
    tiles = labelled(results, sheet, slides[slides["split"] == split])
    seen = [
        read_table(results / f"heatmaps/{classifier}/{slide}.parquet")[0].assign(slide=slide)
        for slide in tiles["slide"].unique()
    ]
    tiles = tiles.merge(pd.concat(seen), on=["slide", "column", "row"], validate="1:1").dropna(subset="p_tumour")
    tiles["p_colours"] = model.predict_proba(np.stack(tiles["colours"]))[:, 1]
    whole = both_scores(tiles)
    parts, rng, drawn = [part for _, part in tiles.groupby("slide")], np.random.default_rng(SEED), []
    for _ in range(RESAMPLES):
        sample = pd.concat([parts[i] for i in rng.integers(len(parts), size=len(parts))])
        if sample["label"].nunique() == 2:
            drawn.append(both_scores(sample))
    low, high = pd.DataFrame(drawn).quantile([0.025, 0.975]).to_numpy()
    print(f"{len(tiles)} tiles of {len(parts)} slides, {(tiles['label'] == TUMOUR).mean():.0%} tumour")
    for (name, value), a, b in zip(whole.items(), low, high, strict=True):
        print(f"{name:16} {value:7.3f}   {a:.3f} to {b:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
