"""The corpus of broken files: a few of each kind come out as they may, and a faulty product would be seen."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torture.__main__ import line_of, run, sample, table_of, wrong
from torture.all_members import ALL
from torture.corpus import KINDS, OUTCOMES, REFUSED, Member
from torture.intact import NAME
from torture.judge import differences, leaks, verdict
from torture.rules import Found
from torture.runners import Result, prepare, results

from drunet import inspection, outcome
from drunet.slide import Slide

CORES = min(2, len(os.sched_getaffinity(0)))
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process of its own saw: forked from one that others have used, a library's threads would be lacking."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_look, tmp_path_factory.mktemp("torture")).result()


def _look(folder: Path) -> dict[str, Any]:
    ended = run(sample(2), folder / "few", cores=CORES, keep=folder / "kept", quiet=True)
    said = "\n".join(f"{line_of(r)}" for r in wrong(ended))
    found: dict[str, Any] = {"few": said and f"{said}\n{table_of(ended)}", "kinds": {r.member.kind for r in ended}}
    found |= {"names": [r.member.name for r in ended], "kept": folder / "kept"}
    shared = folder / "few/intact"
    needed = {member.twin for member in ALL if member.name in [name for name, *_ in FAULTS.values()]} | {"generic"}
    assert not prepare(shared, [twin for twin in sorted(needed) if not (shared / twin / "results").exists()])
    for fault, (name, plant, _) in FAULTS.items():
        with pytest.MonkeyPatch.context() as patch:
            plant(patch)
            # The intact ones are as they are without the fault.
            result = next(results([m for m in ALL if m.name == name], folder / fault, shared, cores=1))
        found[fault] = result.outcome, bool(wrong([result])), result.said
    for name, (make, seconds) in HARMFUL.items():
        member = Member(name=name, kind="names", twin="generic", make=make, allowed=REFUSED)
        result = next(results([member], folder / name, shared, cores=1, seconds=seconds))
        found[name] = result.outcome, result.leaked, result.right
    return found


@pytest.mark.timeout(600)
def test_a_few_of_each_kind_come_out_as_they_may(seen: dict[str, Any]) -> None:
    assert not seen["few"], seen["few"]
    assert seen["kinds"] == set(KINDS) and len(seen["names"]) == 2 * len(KINDS)
    # What readers of other tools get.
    assert len((seen["kept"] / "corpus.tsv").read_text().splitlines()) == len(seen["names"]) + 1
    for name in seen["names"]:
        assert any((seen["kept"] / name).rglob("*")), name
    assert not list(seen["kept"].rglob("result.json")) and (seen["kept"] / "intact").is_dir()


def test_the_corpus_is_as_large_as_it_says() -> None:
    count = Counter(member.kind for member in ALL)
    assert set(count) == set(KINDS) and min(count.values()) >= 20
    slides = ("missing", "border", "odd", "inside", "names", "levels", "resolution")
    assert sum(count[kind] for kind in slides) >= 400
    assert len({member.name for member in ALL}) == len(ALL)
    # A column of its own must not become a place where faults are put away.
    argued = [member for member in ALL if member.undetectable]
    assert len(argued) < 0.05 * len(ALL) and all(len(member.undetectable) > 20 for member in argued)


# It must be able to fail

FAULTS: dict[str, tuple[str, Callable[[pytest.MonkeyPatch], Any], str]] = {
    "missing tiles painted white": (
        "missing/ome-in-tumour",
        lambda patch: (
            patch.setattr(Slide, "_refuse_lost", lambda *_: None),
            patch.setattr(inspection, "lost_at_full_resolution", lambda slide, image, tissue: np.zeros_like(tissue)),
            patch.setattr(inspection, "missing_tissue", lambda *_: None),
        ),
        "silent",
    ),
    "tiles of lost tissue taken for glass": (
        "missing/sparse-in-tumour",
        lambda patch: (patch.setattr(Slide, "_refuse_lost", lambda *_: None), patch.setattr(inspection, "compare_levels", lambda *_: [])),
        "silent",
    ),
    "a resolution that is not held against the levels": (
        "resolution/generic-level-0-alone-times-4",
        lambda patch: patch.setattr(inspection, "check_resolution", lambda slide: None),
        "silent",
    ),
    "a late failure that is not caught": (
        "inside/ome-all-zeroed",
        lambda patch: patch.setattr(outcome, "write_outcome", lambda *_: 1 / 0),
        "crash",
    ),
    "a series that is opened at once": (
        "odd/dicom-full-stated-sparse",
        lambda patch: patch.setattr("drunet.opening.try_apart", lambda *_: None),
        "crash",
    ),
}  # fmt: skip


def _talks(folder: Path, case: Any, rng: Any) -> None:
    print(f"reading {NAME}.tif", flush=True)


def _never_ends(folder: Path, case: Any, rng: Any) -> None:
    while True:
        pass


def _eats(folder: Path, case: Any, rng: Any) -> None:
    np.ones(300_000_000)


HARMFUL: dict[str, tuple[Any, float]] = {"talks": (_talks, 60), "never-ends": (_never_ends, 1), "eats": (_eats, 60)}
HARMFUL["does-nothing"] = lambda *_: None, 60


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_product_is_seen(seen: dict[str, Any], fault: str) -> None:
    outcome, is_wrong, said = seen[fault]
    assert outcome == FAULTS[fault][2] and is_wrong, said


def test_a_name_a_hang_and_a_glutton_are_seen(seen: dict[str, Any]) -> None:
    assert seen["talks"] == ("identical", ("name in terminal",), False)
    assert seen["never-ends"][0] == "hang" and seen["eats"][0] == "memory"
    # An outcome that is not allowed is wrong, good as it may be.
    assert seen["does-nothing"] == ("identical", (), False)


# The judge


def found(**change: Any) -> Found:
    from shapely.geometry import box

    tissue = np.zeros((40, 50), bool)
    tissue[5:35, 5:45] = True
    tiles = {(c, r): 0.35 for c in range(20) for r in range(20)}
    drawn = {"tumour": box(100, 100, 300, 300), "non_tumour": box(0, 0, 0, 0), "ignore": box(0, 0, 0, 0)}
    values = {
        "mpp": 0.5,
        "size": (500, 400),
        "tissue": tissue,
        "tiles": tiles,
        "tumour": box(100, 100, 300, 300),
        "drawn": drawn,
    }
    return Found(**{**values, **change})


def test_differences_are_shares_of_the_twins_tissue() -> None:
    twin = found()
    assert verdict(twin, found()) == ("identical", "")
    assert tuple(differences(twin, found()).values()) == (0,) * 6
    less = twin.tissue.copy() if twin.tissue is not None else np.zeros(0)
    less[5:8] = False
    assert differences(twin, found(tissue=less))["tissue"] == pytest.approx(0.1)
    assert verdict(twin, found(tissue=less))[0] == "silent"
    assert verdict(twin, found(tissue=less, words="level 2 is not read"))[0] == "counted"
    # A number counts for as much as it says, and no more.
    area = 0.1 * 1200 * 100 * 0.25e-6
    assert verdict(twin, found(tissue=less, unread_mm2=area))[0] == "counted"
    assert verdict(twin, found(tissue=less, unread_mm2=area / 10))[0] == "silent"


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({"mpp": 0.6}, "silent"),
        ({"tiles": {}}, "silent"),
        ({"tiles": {(c, r): 0.35 if c else 0.0 for c in range(20) for r in range(20)}}, "silent"),
        ({"tiles": {(c, r): 0.35 if c + r else 0.0 for c in range(20) for r in range(20)}}, "identical"),
        ({"tiles": {(c, r): 0.4 for c in range(20) for r in range(20)}}, "identical"),
        ({"tiles": {(c, r): 0.35 if c else float("nan") for c in range(20) for r in range(20)}, "unreadable": 20}, "counted"),
        ({"refused": "unreadable"}, "refused"),
    ],
)  # fmt: skip
def test_what_is_silent(change: dict[str, Any], outcome: str) -> None:
    assert verdict(found(), found(**change))[0] == outcome


def test_an_annotation_that_moved_is_silent_and_lost_tissue_in_it_is_not() -> None:
    from shapely.geometry import box

    empty = box(0, 0, 0, 0)
    moved = {"tumour": box(120, 100, 320, 300), "non_tumour": empty, "ignore": empty}
    assert verdict(found(), found(drawn=moved))[0] == "silent"
    lost = {"tumour": box(100, 100, 300, 260), "non_tumour": empty, "ignore": box(100, 260, 300, 300)}
    assert verdict(found(), found(drawn=lost, unread_mm2=0.002, tumour=box(100, 100, 300, 260)))[0] == "counted"
    assert verdict(found(), found(drawn=lost, tumour=box(100, 100, 300, 260)))[0] == "silent"


@pytest.mark.parametrize(
    "data",
    [
        NAME.encode(), NAME.upper().encode(), NAME.encode("utf-16-le"), NAME.encode("utf-16"),
        __import__("base64").b64encode(f"x{NAME}y".encode()), __import__("base64").b64encode(f"xy{NAME}".encode()),
        __import__("base64").b64encode(f"{NAME} was".encode()),
    ],
)  # fmt: skip
def test_a_name_is_found_however_it_is_written(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.bin").write_bytes(b"before " + data + b" behind")
    assert leaks(tmp_path, b"") == ["name in a.bin"]
    assert leaks(tmp_path / "none", b"before " + data)[0] == "name in terminal"


def test_names_in_tables_escapes_and_endless_lines_are_found(tmp_path: Path) -> None:
    import pandas as pd

    pd.DataFrame({"a": [NAME] * 3}).to_parquet(tmp_path / "a.parquet", compression="zstd")
    assert "name in a.parquet, opened" in leaks(tmp_path, b"")
    assert leaks(tmp_path / "none", b"a\x1b[2J")[0].startswith("control")
    assert leaks(tmp_path / "none", b"x" * 20_000)[0].startswith("a line")
    assert leaks(tmp_path / "none", "plain µm² – text\n\tof two lines".encode()) == []


def test_the_table_has_a_row_per_kind_and_a_column_per_outcome() -> None:
    member = ALL[0]
    text = table_of([Result(member, "silent", "", ("x",), 1.0, 1), Result(member, "refused", "", (), 1.0, 1)])
    head, row, whole = text.splitlines()
    assert head.split()[2:] == [*OUTCOMES, "leaked"]
    assert row.split()[-10:] == ["2", "1", "0", "0", "1", "0", "0", "0", "0", "1"] and whole.split()[0] == "all"
