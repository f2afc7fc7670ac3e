"""The outcome of a slide that broke: a small JSON file in the place of its result, which every reader refuses.

So a slide that cannot be used does not stop a cohort: a job on it passes the outcome on to its own outputs, a job on
many slides leaves it out and says so.
"""

import csv
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from drunet.console import say
from drunet.errors import OUTCOME, DrunetError, FailedSlideError, SlideError
from drunet.files import AnyPath, read_json, write_json

# No Parquet, TIFF, PNG or JPEG file begins like this, nor any JSON that this project writes as a result.
_START = f'{{\n  "{OUTCOME}"'.encode()
# The file in which a folder of results says that there are none.
_IN_FOLDER = "outcome.json"
T = TypeVar("T")


def write_outcome(paths: Iterable[AnyPath], failure: FailedSlideError) -> None:
    """Write what became of a slide in the place of each of its results; a folder gets a file `outcome.json`."""
    parts = ("what", "stage", "status", "where", "mend")
    value: dict[str, Any] = {part: getattr(failure, part) for part in parts}
    value["found"] = None if failure.found is None else str(failure.found)
    for path in map(Path, paths):
        if path.is_dir():
            # What a folder holds already is a part of the result, and would be taken for all of it.
            shutil.rmtree(path)
            path /= _IN_FOLDER
        write_json(path, {OUTCOME: value})


def outcome_of(path: AnyPath) -> FailedSlideError | None:
    """What became of the slide whose result should be at `path`; None if the file is not an outcome."""
    with Path(path).open("rb") as file:
        if file.read(len(_START)) != _START:
            return None
    try:
        read_json(path)
    except FailedSlideError as failure:
        return failure
    return None


def require_result(path: AnyPath) -> None:
    """Raise FailedSlideError if an outcome is in the place of a result; a missing file is left to its reader."""
    if Path(path).is_file() and (failure := outcome_of(path)):
        raise failure


@contextmanager
def late_failure(outputs: Iterable[AnyPath], slide_id: str, stage: str, on_bad_slide: str) -> Iterator[None]:
    """Write an outcome to `outputs`, the job's results of one slide, if the block meets a slide that cannot be used.

    `stage` is the job's rule; with `on_bad_slide` "fail", as `cohort.on_bad_slide` in the configuration, the error
    stops the job. What is no fault of a slide (a model, a provider, a setting) stops it in either case.
    """
    try:
        yield
    except SlideError as error:
        if on_bad_slide == "fail":
            raise
        failed = error
        if not isinstance(failed, FailedSlideError):
            # Those that are passed on have been printed by the job that met them.
            values = {"status": error.status, "where": slide_id, "mend": error.mend}
            failed = FailedSlideError(error.what, stage=stage, found=error.found, **values)
            say(f"left out: {describe(failed)}")
        write_outcome(outputs, failed)


def stop_for(failed: Mapping[str, str]) -> None:
    """Stop a cohort for its failed slides (ID to status), if there are any; raises DrunetError."""
    if failed:
        found = ", ".join(f"{slide} ({status})" for slide, status in failed.items())
        mend = "Mend them as said above, take them out of the sheet, or set `cohort.on_bad_slide: skip`."
        raise DrunetError("there are slides that cannot be used", where="cohort", found=found, mend=mend)


def describe(failure: FailedSlideError) -> str:
    """One line: the slide, its status, the rule that failed, the reason, and how to mend it."""
    return f"{failure.where}: {failure.status} at {failure.stage}: {reason_of(failure)}. {failure.mend}"


def reason_of(failure: DrunetError) -> str:
    """What is wrong, and the value found."""
    return failure.what + ("" if failure.found is None else f" (found: {failure.found})")


def without_failed(slides: Sequence[T], *files: Sequence[str]) -> tuple[list[T], list[list[str]]]:
    """Leave out the slides of which any result is an outcome, and say which.

    Each of `files` holds one file per slide, in the slides' order, or several such rounds one after the other (run by
    run, model by model), or none at all. Returns the slides with results, and their files in the same order and number
    of rounds. Raises the first slide's FailedSlideError if none of several remains.
    """
    count = len(slides)
    failures: dict[int, FailedSlideError] = {}
    for group in files:
        if count and len(group) % count:
            raise ValueError(f"{len(group)} files do not come in rounds of {count} slides")
        for place, path in enumerate(group):
            if place % count not in failures and (failure := outcome_of(path)):
                failures[place % count] = failure
    for failure in failures.values():
        say(f"left out: {describe(failure)}")
    if failures and len(failures) == count:
        raise next(iter(failures.values()))
    kept = [[path for place, path in enumerate(group) if place % count not in failures] for group in files]
    return [slide for place, slide in enumerate(slides) if place not in failures], kept


def left_out(results: AnyPath, runs: Iterable[str]) -> list[str]:
    """What a run says last: how many slides are used, and a line for each that is not.

    Read from `slides.tsv` and the `slides.tsv` of each of the runs below `results`; empty where there are none.
    """
    tables = (Path(results, "slides.tsv"), *(Path(results, "runs", run, "slides.tsv") for run in runs))
    listed = [path for path in tables if path.is_file()]
    slides: set[str] = set()
    lines: dict[str, str] = {}
    for path in listed:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                slides.add(row["slide_id"])
                if row["status"] != "ok":
                    line = f"  {row['slide_id']}: {row['status']}: {row['reason']}. {row['mend']}"
                    lines.setdefault(row["slide_id"], line)
    if not slides:
        return []
    head = f"{len(slides) - len(lines)} of {len(slides)} slides are used"
    return [f"{head}. Left out:", *lines.values()] if lines else [f"{head}."]
