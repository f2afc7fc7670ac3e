"""The quick way with a certificate: a small student judges every tile, its teacher those that the student is unsure of.

What unsure is, a band of the student's probability, is chosen on validation slides. On every slide the exact teacher
audits random tiles, and more where it may differ on too many of all; if it still may, the teacher does the slide in
full: in int8 if it has that and the same audit bears it, else in float32.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import beta, hypergeom

from drunet.grid import Grid
from drunet.inference import Classified, EngineOptions, classify, layout_of, open_session
from drunet.settings.cascade import CascadeSettings
from drunet.slide import Slide
from drunet.stains import density_change
from drunet.tiles import read_mask

# Of slides like the worst validation slide so many pass their audit.
_PASSING = 0.95
# Shares that are tried, each half of the one before, and last none at all.
_HALVINGS = 8
# A slide's audits: the second has four times the tiles, those of the first among them.
_AUDITS = (1, 4)
# Of the misses that are allowed, the share of the bound after either audit, and that of a slide done in full in int8:
# together they are all (Bonferroni). The last has 1,200 tiles to tell with, and can do with less.
_EITHER, _INT8 = 0.45, 0.1
Judge = Callable[[np.ndarray], Classified]


@dataclass(frozen=True)
class Band:
    """From `low` to `high` the student is unsure; nowhere if `low` is above `high`."""

    low: float
    high: float

    def unsure(self, p_student: np.ndarray) -> np.ndarray:
        """Which tiles the teacher judges, bool (n,)."""
        return (p_student >= self.low) & (p_student <= self.high)


@dataclass(frozen=True)
class Certificate:
    """What the audit of a slide says: of its `tiles` with a result the teacher judged `by_teacher`; of `audited` ones
    `differing` lie on the other side of the threshold by the exact teacher, so that at most the share `before` of all
    tiles does (None: no audit). `in_full`: that was too high, and the teacher judged all. At most the share `bound` of
    what came out of it differs: `before`; in full in int8 that of the teacher, in full in float32 none.
    """

    tiles: int
    by_teacher: int
    audited: int
    differing: int
    before: float | None
    bound: float | None
    in_full: bool

    def sentence(self, slide_id: str, settings: CascadeSettings) -> str:
        """What a log says of it."""
        said = f"{slide_id}: {self.by_teacher} of {self.tiles} tiles by the teacher"
        if self.before is None:
            return f"{said}; not audited"
        said += f"; {self.differing} of {self.audited} audited tiles differ, so at most {self.before:.2%} of all"
        over = f": above {settings.max_differing:.2%}, done in full by the teacher" if self.in_full else ""
        left = f" in int8, which differs on at most {self.bound:.2%}" if self.in_full and self.bound else ""
        return f"{said} ({settings.confidence:.0%} confidence){over}{left}"


def judged(
    model: str,
    layout: Mapping[str, Any],
    options: EngineOptions,
    precision: str,
    files: tuple[str, str, Sequence[str], Mapping[str, Any] | None],
    slide: Mapping[str, Any],
    tiles: tuple[pd.DataFrame, Grid],
) -> Judge:
    """What a classifier says of any tiles of a slide.

    `files` are the slide's, its tissue mask's and its stains', with what normalises these; `slide` has slide_id and
    mpp. Raises as `drunet.inference.open_session`.
    """
    session = open_session(model, replace(options, precision=precision), where=Path(model).parent.name)
    path, mask, stains, normalisation = files
    tissue, density = read_mask(mask), density_change(stains, normalisation)
    table, grid = tiles
    x, y = table["x"].to_numpy(), table["y"].to_numpy()
    opening = partial(Slide, path, slide["slide_id"], slide["mpp"], tissue, density)
    how: dict[str, Any] = {"size": grid.size, "mpp": grid.tile_mpp, "options": options, "layout": layout_of(layout)}
    return lambda index: classify(session, opening, x[index], y[index], **how, where=slide["slide_id"])


def most_differing(population: int, audited: int, differing: int, confidence: float) -> int:
    """Upper confidence bound of how many of a population differ, from a sample without replacement.

    The largest D for which so few in the sample are still to be expected: the largest with P(X ≤ differing) > 1 -
    confidence, X hypergeometric of `audited` drawn from `population` of which D differ. It is the exact interval of
    Clopper and Pearson (1934, Biometrika 26:404) by inversion of the test, for a finite population: Buonaccorsi (1987,
    The American Statistician 41:215). Whatever D is, the bound is below it with a probability of 1 - confidence at
    most.

    >>> most_differing(1000, 300, 0, 0.95), most_differing(10, 10, 2, 0.95)
    (8, 2)
    """
    low, high = differing, population - (audited - differing)
    while low < high:
        middle = (low + high + 1) // 2
        if hypergeom.cdf(differing, population, middle, audited) > 1 - confidence:
            low = middle
        else:
            high = middle - 1
    return low


def passing_share(settings: CascadeSettings) -> float:
    """The largest share of differing tiles with which 95 of 100 large slides pass their first audit; 0 if none can.

    Without an audit it is `max_differing`. The second audit is for slides unlike those of validation.

    >>> round(passing_share(CascadeSettings(student="light", audit=300, max_differing=0.03)), 4)
    0.0046
    """
    if not settings.audit:
        return settings.max_differing
    seen, confidence = np.arange(settings.audit), 1 - (1 - settings.confidence) * _EITHER
    # Clopper and Pearson, for a population without end, which is the least favourable.
    passing = np.count_nonzero(beta.ppf(confidence, seen + 1, settings.audit - seen) <= settings.max_differing)
    return float(beta.ppf(1 - _PASSING, passing, settings.audit - passing + 1)) if passing else 0.0


def choose_band(
    slides: Sequence[pd.DataFrame], *, threshold: float, most: float, max_dice_loss: float
) -> tuple[Band, dict[str, Any]]:
    """Choose the narrowest band that keeps the cascade with its exact teacher, and say what was measured.

    Of a share of tiles that may differ, half lies below the band (the teacher says tumour) and half above it. It begins
    at `most` and is halved until no slide has more than `most`, and the mean Dice over slides is within `max_dice_loss`
    of the teacher's; with a share of 0 both agree on every tile. `slides` has each validation slide's tiles: student,
    teacher and exact (probabilities, no NaN; exact is the teacher in float32), tumour (the share that is annotated as
    tumour; NaN where nothing is known). Where nothing is annotated, Dice is with the teacher.
    """
    joined = pd.concat(slides, ignore_index=True)
    student, teacher = joined["student"].to_numpy(), joined["exact"].to_numpy() >= threshold
    known = any(frame["tumour"].notna().any() for frame in slides)
    exact = [f["exact"].to_numpy() >= threshold for f in slides]
    dice_exact = _mean_dice(slides, exact, known, threshold)
    for halving in range(_HALVINGS + 1):
        share = 0.0 if halving == _HALVINGS else most / 2**halving
        each = int(share / 2 * len(joined))
        # The student's tumour values below which so many of the teacher's tumour tiles lie, and the other way round.
        below, above = np.sort(student[teacher]), np.sort(student[~teacher])[::-1]
        low = below[each] if each < len(below) else np.inf
        high = above[each] if each < len(above) else -np.inf
        # A tile on the student's own side is never left to it by a band that ends beyond the threshold.
        band = Band(float(min(low, threshold)), float(max(high, np.nextafter(threshold, 0))))
        mixed = [
            np.where(band.unsure(f["student"].to_numpy()), f["teacher"], f["student"]) >= threshold for f in slides
        ]
        dice = _mean_dice(slides, mixed, known, threshold)
        worst = max(float((one != other).mean()) for one, other in zip(mixed, exact, strict=True) if len(one))
        if dice >= dice_exact - max_dice_loss and worst <= most:
            break
    by_student = [f["student"].to_numpy() >= threshold for f in slides]
    return band, {
        **asdict(band),
        "tiles": len(joined),
        "slides": len(slides),
        "by_teacher": float(band.unsure(student).mean()),
        "differing": float((np.concatenate(mixed) != teacher).mean()),
        "differing_worst": worst,
        "dice_with": "annotation" if known else "teacher",
        "dice_teacher": dice_exact,
        "dice_cascade": dice,
        "dice_student": _mean_dice(slides, by_student, known, threshold),
    }


def classify_cascade(
    student: Judge,
    teacher: Judge,
    exact: Judge | None,
    count: int,
    band: Band,
    settings: CascadeSettings,
    *,
    threshold: float,
    seed: int,
    slide_id: str,
) -> tuple[Classified, Certificate]:
    """Classify a slide's `count` tiles by student and teacher, and audit what is not exact.

    `student`, `teacher` and `exact` (the teacher in float32; None: `teacher` is) say what `drunet.inference.classify`
    does of tiles by their indices, int (n,). `seed` and the slide's ID decide which tiles are audited.
    """
    seconds = 0.0

    def ask(judge: Judge, index: np.ndarray) -> np.ndarray:
        nonlocal seconds
        answer = judge(index)
        seconds += answer.seconds
        return answer.p_tumour

    p_tumour = ask(student, np.arange(count)).copy()
    unsure = np.flatnonzero(band.unsure(p_tumour))
    p_tumour[unsure] = ask(teacher, unsure)
    readable = np.isfinite(p_tumour)
    # What the exact teacher has judged needs no audit.
    judge, done = (teacher, unsure) if exact is None else (exact, unsure[:0])
    digest = hashlib.sha256(slide_id.encode()).digest()
    rng = np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])
    population = rng.permutation(np.setdiff1d(np.flatnonzero(readable), done))
    exactly, sample, differing, before, in_full = np.full(count, np.nan, np.float32), population[:0], 0, None, False

    def apart(answer: np.ndarray, share: float) -> tuple[int, float]:
        # A tile that cannot be read a second time is counted as one that differs.
        one, other = exactly[sample], answer[sample]
        found = len(sample) - int((((one >= threshold) == (other >= threshold)) & np.isfinite(one + other)).sum())
        most = most_differing(len(population), len(sample), found, 1 - (1 - settings.confidence) * share)
        return found, most / max(int(readable.sum()), 1)

    for times in _AUDITS if settings.audit else ():
        more, sample = np.sort(population[len(sample) : times * settings.audit]), population[: times * settings.audit]
        exactly[more] = ask(judge, more)
        differing, before = apart(p_tumour, _EITHER)
        if not (in_full := before > settings.max_differing):
            break
    bound = before
    if in_full and exact is not None:
        left = np.setdiff1d(population, unsure)
        p_tumour[left] = ask(teacher, left)
        bound = apart(p_tumour, _INT8)[1]
    if bound is not None and bound > settings.max_differing:
        rest = np.sort(population[len(sample) :])
        exactly[rest], exactly[done] = ask(judge, rest), p_tumour[done]
        p_tumour, bound = exactly, 0.0
    result = Classified(p_tumour, int(np.isnan(p_tumour).sum()), seconds)
    return result, Certificate(int(readable.sum()), len(unsure), len(sample), differing, before, bound, in_full)


def _mean_dice(slides: Sequence[pd.DataFrame], predicted: Sequence[np.ndarray], known: bool, threshold: float) -> float:
    """Mean over slides of the Dice coefficient of tiles with the annotated area, or with the teacher's tiles."""
    scores = []
    for frame, found in zip(slides, predicted, strict=True):
        truth = frame["tumour"].to_numpy(float) if known else (frame["exact"].to_numpy() >= threshold).astype(float)
        judged = np.isfinite(truth)
        if not judged.any():
            continue
        both, either = truth[judged & found].sum(), truth[judged].sum() + found[judged].sum()
        scores.append(2 * both / either if either else 1.0)
    return float(np.mean(scores))
