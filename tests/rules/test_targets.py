"""Which rules and targets there are, what every rule carries, and what each target asks for."""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rule_facts import (
    Described,
    check_gpus,
    check_kept_apart,
    check_settable,
    check_whole,
    described_rules,
    imported_while_read,
    settable_rules,
)
from tiny_cohort import ROOT, Finished, Project

from drunet.files import ID_PATTERN

SLIDE_TARGETS = {"inspect", "tissue", "tiles", "classify", "heatmaps", "outlines", "segment", "exports", "uncertainty"}
TARGETS = {"all", *SLIDE_TARGETS, "models", "next_regions", "metrics", "report"}
STAGES = {
    "make_demo_slide",
    "inspect_slide",
    "list_slides",
    "extract_tiles",
    "estimate_stains",
    "train_classifier",
    "describe_model",
    "export_onnx",
    "fetch_model",
    "adopt_onnx",
    "draw_classified_tiles",
    "calibrate_classifier",
    "learn_appearance",
    "export_calibrated",
    "choose_bound",
    "export_bound",
    "classify_tiles",
    "adopt_encoder",
    "encode_tiles",
    "train_head",
    "join_encoder",
    "classify_features",
    "cluster_heatmap",
    "map_uncertainty",
    "describe_tiles",
    "choose_regions",
    "quantise_classifier",
    "choose_band",
    "classify_cascade",
    "train_refiner",
    "refine_heatmap",
    "postprocess",
    "list_outcomes",
    "export_geojson",
    "export_ome_tiff",
    "export_dicom_seg",
    "digest_slide",
    "export_ro_crate",
    "export_model_card",
    "export_geojson_gz",
    "export_qupath_tiles",
    "export_qupath",
    "export_fastpathology",
    "draw_slide_pictures",
    "measure",
    "gather_metrics",
    "report",
}
MODEL_MAKERS = {
    "train_classifier",
    "train_refiner",
    "train_head",
    "export_onnx",
    "join_encoder",
    "fetch_model",
    "adopt_onnx",
    "adopt_encoder",
    "quantise_classifier",
    "choose_band",
}
# Jobs of each target once the slides are inspected: three slides can be used, two of them are annotated.
PREPARED = {"extract_tiles": 3}
CLASSIFIED = {**PREPARED, "adopt_onnx": 1, "classify_tiles": 3}
SEGMENTED = {**CLASSIFIED, "adopt_onnx": 2, "refine_heatmap": 3, "postprocess": 3}
EXPORTED = {**SEGMENTED, "export_geojson": 3, "draw_slide_pictures": 3}
REPORTED = {**SEGMENTED, "list_outcomes": 1, "draw_slide_pictures": 3, "measure": 2, "gather_metrics": 1}
MEASURED = {
    "extract_tiles": 2,
    "adopt_onnx": 2,
    "classify_tiles": 2,
    "refine_heatmap": 2,
    "postprocess": 2,
    "measure": 2,
    "gather_metrics": 1,
}
JOBS: dict[str, dict[str, int]] = {
    "inspect": {},
    "tissue": {},
    "tiles": PREPARED,
    "models": {"adopt_onnx": 2},
    "classify": CLASSIFIED,
    "heatmaps": CLASSIFIED,
    "uncertainty": {**PREPARED, "adopt_onnx": 1, "map_uncertainty": 3},
    # A slide without annotation is the only one that has something left to annotate.
    "next_regions": {**PREPARED, "adopt_onnx": 1, "map_uncertainty": 1, "describe_tiles": 3, "choose_regions": 1},
    "outlines": {**SEGMENTED, "export_geojson": 3},
    "segment": {**SEGMENTED, "list_outcomes": 1, "export_geojson": 3},
    "exports": EXPORTED,
    "metrics": MEASURED,
    "report": REPORTED,
    "all": {**REPORTED, "export_geojson": 3, "report": 1, "draw_classified_tiles": 1},
}


@pytest.fixture(scope="module")
def rules(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Described]:
    """The product's own rules."""
    everything = described_rules(repository, tmp_path_factory.mktemp("described") / "drunet")
    return {name: rule for name, rule in everything.items() if "workflow/studies" not in rule["file"]}


def test_reading_the_rules_imports_nothing_heavy(new_project: Project) -> None:
    """Every job's process reads them all anew, hundreds of times in a run."""
    imported = imported_while_read(new_project)
    assert "drunet.settings.config" in imported, imported
    assert not imported & {"keras", "tensorflow", "sklearn", "matplotlib", "onnxruntime", "shapely", "scipy.stats"}


@pytest.mark.parametrize(("own", "seen"), [({"LANG": "C"}, "1"), ({"MALLOC_ARENA_MAX": "4"}, "4")])
def test_threads_of_a_job_share_one_heap_unless_the_user_says_otherwise(
    new_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: dict[str, str], seen: str
) -> None:
    """Trainings take a third less of processor time so."""
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    shown = shutil.copytree(new_project.repository, tmp_path / "repository") / "shown.smk"
    rule = 'rule shown:\n    output:\n        "heaps"\n    shell:\n        "printenv MALLOC_ARENA_MAX > {output}"\n'
    shown.write_text(f'include: "Snakefile"\n\n\n{rule}', encoding="utf-8")
    done = new_project.run("-s", str(shown), "--", "heaps", environment=own)
    assert done.status == 0, done.output
    assert (new_project.folder / "heaps").read_text(encoding="utf-8").strip() == seen


def test_models_are_made_before_slides_go_through_them(rules: dict[str, Described]) -> None:
    """Whatever waits for a model waits longest: a fold's training held up the refiner while slides were classified."""
    first = {name: rules[name]["priority"] for name in MODEL_MAKERS}
    later = {name: rule["priority"] for name, rule in rules.items() if name not in MODEL_MAKERS}
    assert min(first.values()) > max(later.values()), (first, later)


@pytest.fixture(scope="module")
def inspected(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Where the slides are inspected and nothing else is made."""
    project = finished.copy_to(tmp_path_factory.mktemp("inspected") / "project")
    for folder in ("heatmaps", "models", "runs", "report"):
        shutil.rmtree(project.results / folder)
    for path in project.results.glob("slides/*/tiles.parquet"):
        path.unlink()
    return project


@pytest.fixture(scope="module")
def asked(inspected: Project) -> dict[str, Finished]:
    """A dry run of every target."""
    with ThreadPoolExecutor(2) as pool:
        # Without the lock two dry runs do not wait for each other.
        return dict(zip(JOBS, pool.map(lambda target: inspected.dry_run("--nolock", target), JOBS), strict=True))


def test_the_rules_are_those_of_the_design(rules: dict[str, Described]) -> None:
    assert set(rules) == TARGETS | STAGES


def test_a_rule_has_a_script_of_its_name(rules: dict[str, Described]) -> None:
    assert {name: Path(rules[name]["script"]).stem for name in STAGES} == {name: name for name in STAGES}
    assert {path.stem for path in (ROOT / "scripts").glob("*.py")} == STAGES


def test_every_rule_that_works_has_log_benchmark_environment_and_resources(rules: dict[str, Described]) -> None:
    for name in sorted(STAGES):
        check_whole(name, rules[name])
        check_gpus(name, rules[name])


def test_log_and_benchmark_are_kept_apart_per_output(rules: dict[str, Described]) -> None:
    for name in sorted(STAGES):
        check_kept_apart(name, rules[name])


def test_all_targets_are_listed_for_the_user(finished: Project) -> None:
    done = finished.run("--list-target-rules")
    assert set(done.output.split()) >= TARGETS


@pytest.mark.parametrize("target", JOBS)
def test_a_target_asks_for_its_stage_and_what_comes_before(target: str, asked: dict[str, Finished]) -> None:
    done = asked[target]
    assert done.status == 0, done.output
    jobs = done.rules()
    # `report` is a rule and a target at once; the other targets count as a job of their own.
    own = jobs.pop(target, 0)
    # Inspection makes the tissue masks, too.
    assert own == (0 if target in ("inspect", "tissue") else 1)
    assert jobs == JOBS[target]


def test_a_part_by_batch_plans_its_share_of_the_slides_alone(inspected: Project) -> None:
    done = inspected.dry_run("--batch", "outlines=1/3", "--", "outlines")
    assert done.status == 0, done.output
    assert done.rules() == {**dict.fromkeys(JOBS["outlines"], 1), "adopt_onnx": 2}


def test_a_part_is_not_planned_from_a_table_that_lacks_slides(inspected: Project, tmp_path: Path) -> None:
    project = inspected.copy_to(tmp_path / "grown")
    project.rows.append({**project.row("cut"), "slide_id": "later", "patient_id": "Pat-later", "path": "later.tif"})
    (project.folder / "slides/later.tif").write_bytes(b"not inspected yet")
    done = project.write().dry_run("--batch", "outlines=1/3", "--", "outlines")
    assert done.status != 0
    assert "1 slides of the sheet are not in it (the first: later)" in done.output


def test_the_workflow_passes_snakemakes_own_lint(finished: Project) -> None:
    done = finished.run("--lint")
    assert done.status == 0, done.output


def test_what_the_configuration_sets_for_a_rule_reaches_it(rules: dict[str, Described]) -> None:
    # Gathering and describing take seconds however large the cohort, and the demo is the same size for everyone.
    fixed = {"make_demo_slide", "list_slides", "list_outcomes", "gather_metrics", "describe_model"}
    fixed.add("export_model_card")
    assert STAGES - settable_rules() == fixed
    for name in sorted(STAGES):
        check_settable(rules[name], name not in fixed)


@pytest.mark.parametrize("value", ["a", "TCGA-05-4244-01Z-00-DX1", "s_1.2", "0", "a.b.c"])
def test_usual_ids_fit_the_wildcards(value: str) -> None:
    assert re.fullmatch(ID_PATTERN, value)


@pytest.mark.parametrize("value", ["", "..", "a..b", ".a", "a.", "-a", "a/b", "../a", "a b", "a\n", "ä"])
def test_ids_that_could_leave_their_folder_do_not_fit_the_wildcards(value: str) -> None:
    assert not re.fullmatch(ID_PATTERN, value)
