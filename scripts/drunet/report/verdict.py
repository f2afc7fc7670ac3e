"""What the page's first paragraph is made from: usable slides, the split to judge by, and the Dice of each run."""

from typing import Any

import pandas as pd

from drunet.report.tables import SPLITS, STAGES, ordered
from drunet.report.tumour import UNKNOWN, YES, tumour_per_patient
from drunet.uncertainty.appearance import CANNOT_TELL, UNLIKE, false_alarms

# Below this many patients a percentile bootstrap is known to give intervals that are too narrow.
FEW_PATIENTS = 10
# Above this many runs only the best one is put into words.
MANY_RUNS = 1


def verdict(slides: pd.DataFrame, summary: pd.DataFrame) -> dict[str, Any]:
    """What `template.html` says first, from slides.tsv and `summary_table` of the Dice coefficient.

    The dict has slides (how many), causes (status of those left out, to how many), split (None: nothing was measured),
    and, where anything was: runs (how many), best (run of the highest mean Dice at its last stage), finals (the last
    step of each run, best first), best_steps (those of the best), told (runs to put into words: run, slides,
    patients, steps), patients, few_patients (whether they are too few for an interval). A step is a row of `summary`.
    """
    split = judged_split(summary)
    causes = slides.loc[slides["status"] != "ok", "status"].value_counts(sort=False).to_dict()
    view: dict[str, Any] = {"slides": len(slides), "causes": causes, "split": split, "best_steps": []}
    if split is None:
        return view
    judged = summary[summary["split"] == split]
    measured = judged[judged["n"] > 0]
    final = measured[measured["stage"] == final_stage(measured)]
    best = str(final["run"].iloc[int(final["mean"].argmax())])
    runs = dict(list(judged.groupby("run", sort=False)))
    patients = int(judged["groups"].max())
    return view | {
        "runs": len(runs),
        "best": best,
        "finals": final.sort_values("mean", ascending=False, kind="stable").to_dict("records"),
        "best_steps": measured[measured["run"] == best].to_dict("records"),
        "told": [
            {
                "run": run,
                "slides": int(rows["n"].max()),
                "patients": int(rows["groups"].max()),
                "steps": rows.to_dict("records"),
            }
            for run, rows in runs.items()
            if len(runs) <= MANY_RUNS or run == best
        ],
        "many_runs": len(runs) > MANY_RUNS,
        "patients": patients,
        "few_patients": 1 < patients < FEW_PATIENTS,
    }


def problems(slides: pd.DataFrame) -> list[dict[str, Any]]:
    """Slides left out, from slides.tsv, together where the same mends them: status, mend, slides (IDs), reasons."""
    left = slides[slides["status"] != "ok"].reindex(columns=["slide_id", "status", "reason", "mend"]).fillna("")
    return [
        {"status": status, "mend": mend, "slides": list(rows["slide_id"]), "reasons": list(rows["reason"])}
        for (status, mend), rows in left.groupby(["status", "mend"], sort=False)
    ]


def found(run: str, tumour: pd.DataFrame) -> dict[str, Any]:
    """What a run found, from `tumour_per_slide`: counts of slides and patients, with results and with tumour; area."""
    slides, patients = tumour[tumour["tumour"] != UNKNOWN], tumour_per_patient(tumour)
    return {
        "run": run,
        "slides": len(slides),
        "with_tumour": int((slides["tumour"] == YES).sum()),
        "patients": int((patients["tumour"] != UNKNOWN).sum()),
        "patients_with_tumour": int((patients["tumour"] == YES).sum()),
        "patients_unknown": int((patients["tumour"] == UNKNOWN).sum()),
        "share": slides.loc[slides["tumour"] == YES, "share"].median(),
    }


def looks(run: str, classifier: str, table: pd.DataFrame, known: int) -> dict[str, Any]:
    """Quality and likeness of a run's slides, from `drunet.report.collect.read_looks`, beside `known` learnt slides.

    measured (a count), faulty, unlike, untold (IDs), unknown_tiles, known, alarms (share of like slides that may be
    called unlike), withdrawn (IDs without a bound).
    """
    rows = table.reindex(columns=["slide_id", "quality", "appearance", "unknown_tiles", "bound"])
    ids = {kind: list(rows.loc[rows["appearance"] == kind, "slide_id"]) for kind in (UNLIKE, CANNOT_TELL)}
    return {
        "run": run,
        "classifier": classifier,
        "measured": int(rows["quality"].fillna("").ne("").sum()),
        "faulty": list(rows.loc[~rows["quality"].fillna("").isin(["", "good"]), "slide_id"]),
        "unlike": ids[UNLIKE],
        "untold": ids[CANNOT_TELL],
        "unknown_tiles": int(rows["unknown_tiles"].fillna(0).sum()),
        "known": known,
        "alarms": false_alarms(known),
        "withdrawn": list(rows.loc[rows["bound"].fillna("").ne(""), "slide_id"]),
    }


def judged_split(summary: pd.DataFrame) -> str | None:
    """The split to judge by: test where there is one, else the next best."""
    measured = summary[summary["n"] > 0]
    return ordered(measured["split"], SPLITS)[0] if len(measured) else None


def final_stage(rows: pd.DataFrame) -> str:
    """The last stage that a summary has."""
    return [stage for stage in STAGES if stage in set(rows["stage"])][-1]
