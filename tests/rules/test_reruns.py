"""What a change runs again, and what it leaves alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tiny_cohort import Finished, Project, feature_collection, paint_slide, sheet_row

from drunet.files import write_json


def test_after_a_finished_run_nothing_is_left_to_do(own_copy: Project) -> None:
    done = own_copy.dry_run()
    assert done.status == 0
    assert "Nothing to be done" in done.output


def test_a_lost_heatmap_is_made_again_with_what_follows_it(own_copy: Project) -> None:
    (own_copy.results / "heatmaps/tone/tumour_b.tif").unlink()
    # Snakemake asks for a lost file in the middle only when it is a target: `all` names the heatmaps.
    done = own_copy.dry_run()
    tail = {"stitch_heatmap": 1, "refine_heatmap": 1, "postprocess": 1, "measure": 1}
    assert done.rules() == {**tail, "gather_metrics": 1, "report": 1, "all": 1}
    assert slides_of(done) == {"tumour_b"}


def test_a_slide_that_is_added_runs_its_own_chain_and_the_gathering(own_copy: Project) -> None:
    outline = paint_slide(own_copy.folder / "slides/later.tif", seed=11)
    write_json(own_copy.folder / "slides/later.geojson", feature_collection(outline))
    own_copy.rows.append(sheet_row("later", "Pat-Later-1", "later.tif", split="test", labelled=True))
    own_copy.write()
    looked = own_copy.run("inspect")
    assert looked.status == 0, looked.output
    assert looked.rules() == {"inspect_slide": 1, "list_slides": 1, "inspect": 1}
    done = own_copy.dry_run()
    chain = (
        "detect_tissue",
        "extract_tiles",
        "classify_tiles",
        "stitch_heatmap",
        "refine_heatmap",
        "postprocess",
        "measure",
        "gather_metrics",
        "report",
        "all",
    )
    assert done.rules() == dict.fromkeys(chain, 1)
    assert slides_of(done) == {"later"}


def test_editing_the_postprocessing_trains_and_classifies_nothing(own_copy: Project) -> None:
    with edited(own_copy.repository / "scripts/drunet/postprocess.py", "\nMARGIN = 3\n"):
        done = own_copy.dry_run()
    assert done.rules() == {"postprocess": 3, "measure": 2, "gather_metrics": 1, "report": 1, "all": 1}


def test_editing_the_heatmap_reaches_what_is_made_of_it_and_classifies_nothing(own_copy: Project) -> None:
    with edited(own_copy.repository / "scripts/drunet/heatmap.py", "\nMARGIN = 3\n"):
        done = own_copy.dry_run()
    tail = {"stitch_heatmap": 3, "refine_heatmap": 3, "postprocess": 3, "measure": 2}
    assert done.rules() == {**tail, "gather_metrics": 1, "report": 1, "all": 1}


def test_editing_a_comment_or_a_docstring_runs_nothing(own_copy: Project) -> None:
    library = own_copy.repository / "scripts/drunet"
    sentence = '"""From a refined probability to a clean outline.'
    with (
        edited(library / "grid.py", "\n# A remark.\n"),
        edited(library / "postprocess.py", '"""Said otherwise.', instead_of=sentence),
    ):
        done = own_copy.dry_run()
    assert "Nothing to be done" in done.output


def test_a_setting_runs_again_what_it_governs(own_copy: Project) -> None:
    own_copy.config["postprocess"]["threshold"] = 0.6
    done = own_copy.write().dry_run()
    assert done.rules() == {"postprocess": 3, "measure": 2, "gather_metrics": 1, "report": 1, "all": 1}


def test_a_setting_of_speed_or_tolerance_alone_runs_nothing(own_copy: Project) -> None:
    own_copy.config["inference"].update(batch_size=8, readers=3, max_unreadable=0.1)
    assert "Nothing to be done" in own_copy.write().dry_run().output


@contextmanager
def edited(path: Path, text: str, instead_of: str | None = None) -> Iterator[None]:
    """Edit a file of the copied repository, and put it back."""
    before = path.read_text(encoding="utf-8")
    if instead_of is not None:
        assert instead_of in before
    after = before + text if instead_of is None else before.replace(instead_of, text)
    path.write_text(after, encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(before, encoding="utf-8")


def slides_of(done: Finished) -> set[str]:
    """Slides that the listed jobs name in what they say."""
    named = re.findall(r"(?:(?:tissue|tiles|heatmap|tumour) of|Measuring) (\S+)", done.output)
    return set(named)
