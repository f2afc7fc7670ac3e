"""What the study `histology_distillation` tells its reader: lead, tables, figures and what to know to judge them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from drunet.report.section import Section
from studies.common.class_metrics import classes_in
from studies.common.images.notes import (
    averages_note,
    data_notes,
    engine,
    groups_caption,
    leak_sentence,
    protocol_note,
    protocols_caption,
    splits_caption,
    spread_note,
    training_note,
)
from studies.common.images.tables import (
    ImageArm,
    cost_of,
    honest_protocol,
    honest_table,
    protocols_in,
    signed,
    with_spread,
)
from studies.histology_distillation.tables import DRAWN, TABLES, arms_in, main_task, task_of

STUDENT = "mfstudentlnet"
_UNSAID = (
    "For two classes MCC is the formula that the paper prints; how it extends that to three it does not say. Nor does "
    "it state the width of the pyramid, how its levels are fused, or what the plain CNN and the CNN-RNN look like."
)
_PRIOR = (
    "Prior models see what they always have: a histogram of colours and of oriented gradients. The paper cites figures "
    "of other authors on other data, and names no features."
)
_CONTRADICTIONS = (
    "The paper contradicts itself: it lowers the learning rate by 20 % every 10 epochs, but lists a scheduler gamma of "
    "0.7 in the same table (here the first, unless the settings say otherwise); its Table 3 gives as the student's "
    "precision and MCC 0.9827 and 0.9883, its Table 2 0.9885 and 0.9827 (the F1 of Table 3, 0.9856, is that of the "
    "lower precision); it calls training the plain CNN slower than the student, at 83 against 91 s per epoch; it "
    "counts 250 images per lung class, where LC25000 has 5,000 made from 250. All are shown as printed."
)


def section_of(
    scores: pd.DataFrame,
    leak: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    arms: Sequence[ImageArm],
    cost: pd.DataFrame,
    settings: Mapping[str, Any],
    folder: Path,
    *,
    grouping: Mapping[str, Any],
    unreadable: int,
    picture: bool = True,
) -> Section:
    """The study's section of the report.

    Parameters
    ----------
    scores, leak : DataFrame
        From `summaries` and `leaks`.
    tables : mapping of str to DataFrame
        From `score_tables`.
    arms : list of ImageArm
    cost : DataFrame
        cost.tsv of the first task.
    settings : mapping
        The study's.
    folder : Path
        Of the figures.
    grouping : mapping
        groups.json.
    unreadable : int
        Images that were left out because they cannot be read.
    picture : bool
        Whether attention.png is there: the arm that it shows may have been left out.
    """
    timed = arms[0].task
    return Section(
        title="A small network that learns from a large one, on lung patches",
        lead=_lead(scores, leak, arms, settings),
        tables=[
            (splits_caption(scores), honest_table(scores, leak)),
            *(
                (f"{TABLES[name].words}: {averages_note(_scores_of(name, scores, arms, settings))}", table)
                for name, table in tables.items()
            ),
            (f"What an image costs ({_words(timed)}), {engine(cost)}", cost_of(_of(arms, timed), cost)),
        ],
        figures=[f for f in _figures(scores, arms, settings, folder, grouping) if picture or f[1].stem != "attention"],
        notes=[
            protocol_note(scores),
            *data_notes(settings, grouping, unreadable, protocols_in(scores)),
            training_note(arms),
            *_distillation_notes(arms),
            _UNSAID,
            _CONTRADICTIONS,
            *([_PRIOR] if any(arm.history is None for arm in arms) else []),
            "FLOPs: twice the multiply-accumulates of convolutions and dense layers, counted in the ONNX file. Seconds "
            "per epoch and milliseconds per image are this machine's, at this size of image; the paper's seconds are "
            "those of its own.",
            *_left_out(arms, settings),
        ],
    )


def _lead(scores: pd.DataFrame, leak: pd.DataFrame, arms: Sequence[ImageArm], settings: Mapping[str, Any]) -> str:
    main = main_task(arms)
    there, honest = _of(arms, main), honest_protocol(scores, main)
    hero = next((arm for arm in there if arm.name == STUDENT), None) or next(a for a in there if len(a.of(honest)))
    own = scores[(scores["key"] == hero.key) & (scores["metric"] == "accuracy")]
    here, run = own.set_index("protocol"), protocols_in(own)
    found = {protocol: with_spread(here.loc[protocol]) for protocol in run}
    taught = bool(hero.facts.get("distillation"))
    words = [
        ("Can a small network that learns from a large one tell" if taught else "How well can networks tell")
        + f" patches of tissue apart? {len(there)} classifiers were compared on "
        f"{len(classes_in(hero.predictions))} classes, the networks at {settings['view']['size']} px."
    ]
    if len(found) == 2:
        means = here["mean"].astype(float)
        gap = means["random"] - means["grouped"]
        words.append(
            f"{hero.label} has {found['random']} of the test images right under a random split, as published, and "
            f"{found['grouped']} where images made from one source stay on one side: a difference of {signed(gap)} "
            f"({spread_note(own)})."
        )
    else:
        words.append(
            f"{hero.label} has {found[run[0]]} of the test images right under the {run[0]} split ({spread_note(own)})."
        )
    words.append(leak_sentence(leak, main, run))
    return " ".join(filter(None, words)) + _steps(scores, arms, settings)


def _steps(scores: pd.DataFrame, arms: Sequence[ImageArm], settings: Mapping[str, Any]) -> str:
    """The ablation in words, under the most honest protocol."""
    steps = arms_in("ablation", arms, settings)
    if not steps:
        return ""
    protocol = honest_protocol(scores, steps[0].task)
    here = scores[(scores["metric"] == "accuracy") & (scores["protocol"] == protocol)].set_index("key")
    shown = [f"{arm.label} {with_spread(here.loc[arm.key])}" for arm in steps if arm.key in here.index]
    return f"\n\nStep by step, accuracy under the {protocol} split: {', '.join(shown)}." if len(shown) > 1 else ""


def _figures(
    scores: pd.DataFrame,
    arms: Sequence[ImageArm],
    settings: Mapping[str, Any],
    folder: Path,
    grouping: Mapping[str, Any],
) -> list[tuple[str, Path]]:
    found = [(protocols_caption(scores, main_task(arms)), folder / "protocols.png")]
    for name, number in DRAWN.items():
        if not arms_in(name, arms, settings):
            continue
        words = TABLES[name].words.partition(" (")[0]
        found += [
            (f"{words}: confusion on test images, folds summed (Fig. {number}).", folder / f"confusion_{name}.png"),
            (
                f"{words}: ROC averaged over classes, each against the rest, and over folds (Fig. {number}).",
                folder / f"roc_{name}.png",
            ),
        ]
    shown = settings["attention"]["arm"]
    label = next((arm.label for arm in arms if arm.name == shown), shown)
    answers = " A student's loss on what it learns from counts its teacher's answers too." if _lessons(arms) else ""
    return [
        *found,
        (
            f"Where each stage and each level of the pyramid of {label} sees evidence for the class that it calls "
            "(Grad-CAM; Fig. 7): per class the test image that it is surest of and has right, and its surest mistake. "
            "Blue all over: nothing there speaks for the class.",
            folder / "attention.png",
        ),
        (f"Loss by epoch: the median over folds that were still training.{answers}", folder / "losses.png"),
        (
            f"Accuracy under the {honest_protocol(scores, arms[0].task)} split ({_words(arms[0].task)}) against the "
            "time that an image takes; in brackets million parameters, which are the points' areas.",
            folder / "cost.png",
        ),
        (groups_caption(grouping), folder / "groups.png"),
    ]


def _scores_of(table: str, scores: pd.DataFrame, arms: Sequence[ImageArm], settings: Mapping[str, Any]) -> pd.DataFrame:
    return scores[scores["key"].isin([arm.key for arm in arms_in(table, arms, settings)])]


def _lessons(arms: Sequence[ImageArm]) -> dict[tuple[str, float, float], list[str]]:
    """Labels of the students by teacher, temperature and weight, as they were trained."""
    found: dict[tuple[str, float, float], list[str]] = {}
    for arm in {arm.name: arm for arm in arms}.values():
        if lesson := arm.facts.get("distillation"):
            key = (lesson["teacher"], float(lesson["temperature"]), float(lesson["weight"]))
            found.setdefault(key, []).append(arm.label)
    return found


def _distillation_notes(arms: Sequence[ImageArm]) -> list[str]:
    """Who learnt from whom and how; nothing where no student was trained."""
    labels = {arm.name: arm.label for arm in arms}
    taught = [
        f"{' and '.join(students)} learn{'s' if len(students) == 1 else ''} from {labels.get(teacher, teacher)}, "
        f"trained on the same part of the data: temperature {temperature:g}, weight of the teacher's answers "
        f"{weight:g}, of the labels {1 - weight:g}."
        for (teacher, temperature, weight), students in _lessons(arms).items()
    ]
    return [" ".join([*taught, "The paper states neither temperature nor weight."])] if taught else []


def _left_out(arms: Sequence[ImageArm], settings: Mapping[str, Any]) -> list[str]:
    """Notes on what the paper's tables have and this run has not."""
    lacking, unmade = [], []
    for name, table in TABLES.items():
        there, wanted = {arm.name for arm in arms_in(name, arms, settings)}, settings["tables"].get(name) or []
        missing = [(settings["arms"].get(arm) or {}).get("label", arm) for arm in wanted if arm not in there]
        if not there:
            unmade.append(f"{table.words}: not made, because {_reason(name, arms, wanted)}.")
        elif missing:
            lacking.append(f"{table.words}: {', '.join(missing)}")
    return [*([f"Not trained in this run: {'; '.join(lacking)}."] if lacking else []), *unmade]


def _reason(table: str, arms: Sequence[ImageArm], wanted: Sequence[str]) -> str:
    task = task_of(table, arms)
    if task is None:
        return f"no task is left beside {_words(arms[0].task)}"
    return f"none of its arms was trained on {_words(task)}" if wanted else "the settings name no arm for it"


def _words(task: str) -> str:
    return task.replace("_", " ")


def _of(arms: Sequence[ImageArm], task: str) -> list[ImageArm]:
    return [arm for arm in arms if arm.task == task]
