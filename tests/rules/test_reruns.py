"""What a change runs again, and what it leaves alone."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import onnx
import pytest
from tiny_cohort import PATIENTS, Finished, Project, feature_collection, paint_slide, sheet_row

from drunet.files import write_json

EXPORTS = ("export_geojson", "draw_slide_pictures")
# What follows the slides, whichever of them changed.
GATHERED = ("list_outcomes", "gather_metrics", "report", "all")
AREA_RULE = """

rule export_area:
    input:
        mask="<results>/runs/{run}/{slide}/segmentation.png",
    output:
        area="<results>/runs/{run}/{slide}/area.txt",
    log:
        "<logs>/export_area/{run}/{slide}.log",
    script:
        "../../scripts/export_area.py"
"""
AREA_SCRIPT = """
from drunet.files import write_text
from drunet.tiles import read_mask

write_text(snakemake.output.area, str(read_mask(snakemake.input.mask).sum()))
"""


@pytest.fixture
def own_workflow(own_copy: Project, tmp_path: Path) -> Project:
    """A finished project whose workflow a test may change too."""
    own_copy.repository = shutil.copytree(own_copy.repository, tmp_path / "workflow")
    return own_copy


def test_after_a_finished_run_nothing_is_left_to_do(own_copy: Project) -> None:
    done = own_copy.dry_run()
    assert done.status == 0
    assert "Nothing to be done" in done.output


def test_a_lost_heatmap_is_made_again_with_what_follows_it(own_copy: Project) -> None:
    (own_copy.results / "heatmaps/tone/tumour_b.tif").unlink()
    # Snakemake asks for a lost file in the middle only when it is a target: `all` names the heatmaps.
    done = own_copy.dry_run()
    tail = ("classify_tiles", "refine_heatmap", "postprocess", "measure", *EXPORTS, "draw_classified_tiles")
    assert done.rules() == dict.fromkeys((*tail, *GATHERED), 1)
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
    chain = ("extract_tiles", "classify_tiles", "refine_heatmap", "postprocess", "measure", *EXPORTS)
    assert done.rules() == dict.fromkeys((*chain, *GATHERED), 1)
    assert slides_of(done) == {"later"}


def test_editing_the_postprocessing_trains_and_classifies_nothing(own_workflow: Project) -> None:
    edit(own_workflow.repository / "scripts/drunet/postprocess.py", "\nMARGIN = 3\n")
    done = own_workflow.dry_run()
    tail = {"postprocess": 3, "measure": 2, **dict.fromkeys(EXPORTS, 3)}
    assert done.rules() == {**tail, **dict.fromkeys(GATHERED, 1)}


def test_editing_the_heatmap_reaches_what_is_made_of_it_and_lists_no_tile_anew(own_workflow: Project) -> None:
    edit(own_workflow.repository / "scripts/drunet/heatmap.py", "\nMARGIN = 3\n")
    done = own_workflow.dry_run()
    tail = dict.fromkeys(("classify_tiles", "refine_heatmap", "postprocess", *EXPORTS), 3)
    assert done.rules() == {**tail, "measure": 2, **dict.fromkeys((*GATHERED, "draw_classified_tiles"), 1)}


def test_editing_an_export_makes_its_files_again_and_nothing_before(own_workflow: Project) -> None:
    edit(own_workflow.repository / "scripts/drunet/report/slide_pictures.py", "\nMARGIN = 3\n")
    done = own_workflow.dry_run()
    assert done.rules() == {"draw_slide_pictures": 3, "report": 1, "all": 1}


def test_an_export_that_is_added_makes_its_files_and_nothing_else(own_workflow: Project) -> None:
    rules = own_workflow.repository / "workflow/rules/exports.smk"
    text = rules.read_text(encoding="utf-8").replace('"heatmap.jpg"]', '"heatmap.jpg", "area.txt"]')
    rules.write_text(text + AREA_RULE, encoding="utf-8")
    (own_workflow.repository / "scripts/export_area.py").write_text(AREA_SCRIPT, encoding="utf-8")
    done = own_workflow.run("exports")
    assert done.status == 0, done.output
    assert done.rules() == {"export_area": 3, "exports": 1}
    assert int((own_workflow.results / "runs/by_colour/tumour_a/area.txt").read_text()) > 0


def test_another_split_lists_the_slide_anew_and_looks_at_no_pixel(own_copy: Project) -> None:
    own_copy.row("tumour_b")["split"] = "val"
    assert own_copy.write().dry_run("inspect").rules() == {"list_slides": 1, "inspect": 1}


def test_editing_a_comment_or_a_docstring_runs_nothing(own_workflow: Project) -> None:
    library = own_workflow.repository / "scripts/drunet"
    sentence = '"""From a refined probability to a clean outline'
    # The page lists tables that lie in the workflow's own folder, which is another one here.
    moved = own_workflow.dry_run().rules()
    assert moved == {"report": 1, "all": 1}
    edit(library / "grid.py", "\n# A remark.\n")
    edit(library / "postprocess.py", '"""Said otherwise.', instead_of=sentence)
    done = own_workflow.dry_run()
    assert done.rules() == moved


def test_a_setting_runs_again_what_it_governs(own_copy: Project) -> None:
    own_copy.config["postprocess"]["threshold"] = 0.6
    done = own_copy.write().dry_run()
    tail = {"postprocess": 3, "measure": 2, **dict.fromkeys(EXPORTS, 3)}
    assert done.rules() == {**tail, **dict.fromkeys(GATHERED, 1)}


def test_a_setting_of_speed_or_tolerance_alone_runs_nothing(own_copy: Project) -> None:
    own_copy.config["inference"].update(batch_size=8, readers=3, max_unreadable=0.1)
    assert "Nothing to be done" in own_copy.write().dry_run().output


@pytest.mark.parametrize(
    ("file", "first"),
    [
        (f"slides/{PATIENTS['tumour_a']}.geojson", "inspect_slide"),
        (f"slides/{PATIENTS['unlabelled']}.tif", "inspect_slide"),
        ("tone.onnx", "adopt_onnx"),
        ("through.onnx", "adopt_onnx"),
    ],
)
def test_a_file_that_is_replaced_by_an_older_one_is_seen(own_copy: Project, file: str, first: str) -> None:
    path = own_copy.folder / file
    if file.endswith(".onnx"):
        model = onnx.load(path)
        model.doc_string = "another"
        onnx.save(model, path)
    else:
        with path.open("ab") as opened:
            opened.write(b"\n")
    # As `cp -p` and archives leave it.
    os.utime(path, (1e9, 1e9))
    assert own_copy.dry_run().rules()[first] == 1


def test_the_date_of_a_file_alone_runs_nothing_if_it_is_older(own_copy: Project) -> None:
    for path in (own_copy.folder / "tone.onnx", own_copy.folder / f"slides/{PATIENTS['tumour_a']}.geojson"):
        os.utime(path, (1e9, 1e9))
    assert "Nothing to be done" in own_copy.dry_run().output


def edit(path: Path, text: str, instead_of: str | None = None) -> None:
    """Add text to a file, or put it in the place of a sentence."""
    before = path.read_text(encoding="utf-8")
    assert instead_of is None or instead_of in before
    path.write_text(before + text if instead_of is None else before.replace(instead_of, text), encoding="utf-8")


def slides_of(done: Finished) -> set[str]:
    """Slides that the listed jobs name in what they say."""
    named = re.findall(r"(?:(?:tissue|tiles|heatmap|tumour) of|Measuring) (\S+)", done.output)
    return set(named)


def test_what_is_done_stays_done_when_snakemakes_notes_are_forgotten(own_copy: Project) -> None:
    for folder in (own_copy.folder / ".snakemake").iterdir():
        if folder.is_dir() and folder.name not in ("incomplete", "locks"):
            shutil.rmtree(folder)
    kept = {p: p.read_bytes() for p in (own_copy.folder / ".snakemake").rglob("*") if p.is_file()}
    assert [p for p, held in kept.items() if any(row["path"].encode() in held for row in own_copy.rows)] == []
    done = own_copy.dry_run()
    assert done.status == 0 and "Nothing to be done" in done.output, done.output


def test_jobs_are_chosen_once_for_each_that_ends(own_copy: Project) -> None:
    """Not once a second besides, for each job that ever ended, as Snakemake does by itself."""
    done = own_copy.run("--verbose", "--forcerun", "refine_heatmap", "--until", "postprocess")
    assert done.status == 0, done.output
    assert sum(done.rules().values()) >= 6
    assert done.output.count("Ready jobs:") <= sum(done.rules().values())
