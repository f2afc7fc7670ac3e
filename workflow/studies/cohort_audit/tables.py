"""What the audit found, from what was seen of each slide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict

from studies.cohort_audit.chance import as_numbers, association, by_unit, questions
from studies.cohort_audit.traits import COLOURS

# What cannot say whether there is tumour, and, for sites, what may differ between them beside.
FAMILIES = ("file", "glass", "ink")
FOLDS, TREES, SHOWN = 5, 100, 3
_TUMOUR = "tumour or none"


def trait_table(seen: Sequence[Mapping[str, Any]], families: Sequence[str]) -> pd.DataFrame:
    """Traits of slides, `family: trait` in words, a row per slide."""
    return pd.DataFrame([{f"{f}: {_words(k)}": v for f in families for k, v in slide[f].items()} for slide in seen])


def _words(trait: str) -> str:
    colour = trait.removesuffix("_sd")
    return (trait if colour == trait else f"spread of {colour}").replace("_", " ")


def ask(
    seen: Sequence[Mapping[str, Any]], *, alpha: float, permutations: int, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every question that the cohort allows.

    `seen` has per slide: slide, patient, site ("" if not said), tumour (None if not known), file, glass, ink, stain.

    Returns
    -------
    answers : DataFrame
        question, slides, patients, trait, auc, p, told (p ≤ alpha); the most telling traits first, all that are told.
    unasked : DataFrame
        question, why.
    """
    known = [slide for slide in seen if slide["tumour"] is not None]
    several = len({slide["site"] for slide in known if slide["site"]}) > 1
    facts = trait_table(known, FAMILIES)
    if several:
        facts["sheet: cohort"] = [slide["site"] or None for slide in known]
    asked = [(_TUMOUR, known, facts, pd.Series([bool(slide["tumour"]) for slide in known], dtype=bool))]
    sited = [slide for slide in seen if slide["site"]]
    for site, positive in questions(pd.Series([slide["site"] for slide in sited], dtype=str)).items():
        asked.append((f"cohort {site} or another", sited, trait_table(sited, (*FAMILIES, "stain")), positive))
    answers, unasked = [], []
    for question, slides, traits, positive in asked:
        why = None
        if not positive.any() or positive.all():
            # Collections are asked about only where there are several: this is the question of tumour.
            kinds = ("has", "without it") if positive.any() else ("is without", "with it")
            why = f"every annotated slide ({len(slides)}) {kinds[0]} tumour, and none {kinds[1]} is there to compare"
            why = why if slides else "no slide is annotated"
        else:
            patients = pd.Series([slide["patient"] for slide in slides])
            units, ones = by_unit(as_numbers(traits), patients, positive)
            found, perfect = association(units, ones, permutations=permutations, seed=seed)
            if perfect > alpha:
                why = (
                    f"too few patients, {ones.sum()} and {(~ones).sum()}: even what tells all of them apart could be "
                    f"chance, p = {perfect:.2g}"
                )
            else:
                found = found.assign(question=question, slides=len(slides), patients=patients.nunique())
                found["told"] = found["p"] <= alpha
                answers.append(found[found["told"] | (found.index < SHOWN)])
        if why:
            unasked.append((question, why))
    columns = ["question", "slides", "patients", "trait", "auc", "p", "told"]
    none = pd.DataFrame(columns=columns).astype({"told": bool, "auc": float, "p": float})
    return pd.concat([*answers, *([] if answers else [none])])[columns].reset_index(drop=True), pd.DataFrame(
        unasked, columns=["question", "why"]
    )


def split_gap(tiles: pd.DataFrame, seed: int) -> dict[str, Any] | None:
    """What a split by tile makes of colours alone, and what a split by patient does.

    A forest of trees learns six numbers of a tile (mean and sd per channel): tumour or not, with tiles of one patient
    on both sides (`by_tile`, leaking) and on one (`by_patient`), as AUC; and which patient a tile is of, as accuracy
    (`patient`) beside that of always naming the commonest (`chance`). None where a class has fewer than five patients.
    """
    if tiles.groupby("label")["patient"].nunique().reindex([0, 1], fill_value=0).min() < FOLDS:
        return None
    x, y, patient = tiles[list(COLOURS)].to_numpy(), tiles["label"].to_numpy(), tiles["patient"].to_numpy()
    forest = RandomForestClassifier(TREES, random_state=seed)
    by_tile = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    by_patient = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    leaking = cross_val_predict(forest, x, y, cv=by_tile, method="predict_proba")[:, 1]
    honest = cross_val_predict(forest, x, y, cv=by_patient, groups=patient, method="predict_proba")[:, 1]
    kept = pd.Series(patient).map(pd.Series(patient).value_counts()).to_numpy() >= FOLDS
    named = cross_val_predict(forest, x[kept], patient[kept], cv=by_tile)
    return {
        "tiles": len(tiles),
        "patients": len(np.unique(patient)),
        "by_tile": float(roc_auc_score(y, leaking)),
        "by_patient": float(roc_auc_score(y, honest)),
        "patient": float(accuracy_score(patient[kept], named)),
        "chance": float(pd.Series(patient[kept]).value_counts(normalize=True).max()),
    }


def leaking(copies: pd.DataFrame, seen: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The pairs of copies, with whether they are of different splits, and of different patients."""
    by_id = {slide["slide"]: slide for slide in seen}
    pairs = [(by_id[a], by_id[b]) for a, b in zip(copies["slide"], copies["other"], strict=True)]
    splits = [" and ".join(sorted({a["split"] or "none", b["split"] or "none"})) for a, b in pairs]
    return copies.assign(
        splits=splits, one_patient=pd.Series([a["patient"] == b["patient"] for a, b in pairs], dtype=bool)
    )


def across(pairs: pd.DataFrame) -> pd.DataFrame:
    """The copies that stand in two splits, or under two patients."""
    return pairs[pairs["splits"].astype(str).str.contains(" and ") | ~pairs["one_patient"]]


def long_metrics(answers: pd.DataFrame, gap: Mapping[str, Any] | None, moved: pd.DataFrame | None) -> pd.DataFrame:
    """What was measured as rows of metrics.tsv: arm, protocol, repeat, metric, value."""
    parts = [
        answers.melt(["trait", "question"], ["auc", "p"], var_name="metric").rename(
            columns={"trait": "arm", "question": "protocol"}
        )
    ]
    if gap is not None:
        aucs = {"protocol": ["by_tile", "by_patient"], "value": [gap["by_tile"], gap["by_patient"]]}
        parts.append(pd.DataFrame(aucs).assign(arm="colours", metric="auc"))
    if moved is not None:
        parts.append(moved.melt("change", var_name="metric").rename(columns={"change": "arm"}).assign(protocol="shift"))
    return pd.concat(parts).assign(repeat=0)[["arm", "protocol", "repeat", "metric", "value"]]


def page_view(
    answers: pd.DataFrame,
    unasked: pd.DataFrame,
    gap: Mapping[str, Any] | None,
    pairs: pd.DataFrame,
    moved: pd.DataFrame | None,
    seen: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Numbers, words and tables of the page."""
    told = answers[answers["told"]]
    divided = across(pairs)
    return {
        "shortcuts": list(told.loc[told["question"] == _TUMOUR, "trait"]),
        "tumour_asked": bool((answers["question"] == _TUMOUR).any()),
        "sites": sorted(told.loc[told["question"] != _TUMOUR, "question"].unique()),
        "answers": answers,
        "why_not": next(iter(unasked.loc[unasked["question"] == _TUMOUR, "why"]), ""),
        "unasked": unasked[unasked["question"] != _TUMOUR],
        "gap": gap,
        "copies": pairs.drop(columns="one_patient").assign(patients=np.where(pairs["one_patient"], "one", "two")),
        "divided": len(divided),
        "moved": moved,
        "worst": None if moved is None else moved.iloc[moved["tiles that change sides, %"].argmax()].to_dict(),
        "slides": len(seen),
        "patients": len({slide["patient"] for slide in seen}),
        "settings": settings,
    }
