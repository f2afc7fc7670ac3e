"""Which rules and targets there are, what every rule carries, and what each target asks for."""

from __future__ import annotations

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from tiny_cohort import ROOT, Finished, Project

from drunet.cohort import ID_PATTERN
from drunet.settings.resources import Parallel, Serial

TARGETS = {"all", "inspect", "tissue", "tiles", "models", "classify", "heatmaps", "segment", "metrics", "report"}
STUDY_TARGETS = {
    "studies",
    "experiments",
    "study_sampling",
    "study_backbones",
    "study_clustering",
    "study_multi_lens",
    "study_top_skip",
    "study_saliency",
    "scoring_sheet",
    "study_scores",
    "study_histology_distillation",
    "study_histology_resnet50",
    "study_slide_distillation",
    "study_ct_pneumonia",
    "study_ct_boxes",
}
STAGES = {
    "make_demo_slide",
    "inspect_slide",
    "list_slides",
    "detect_tissue",
    "extract_tiles",
    "train_classifier",
    "describe_model",
    "export_onnx",
    "adopt_onnx",
    "classify_tiles",
    "stitch_heatmap",
    "train_refiner",
    "refine_heatmap",
    "postprocess",
    "measure",
    "gather_metrics",
    "report",
    "embed_tiles",
    "cluster_tiles",
    "train_clustered",
}
STUDY_RULES = {
    "compare_runs",
    "compare_sampling",
    "compare_backbones",
    "time_backbones",
    "show_clusters",
    "compare_top_skip",
    "explain_classifier",
    "gather_explanations",
    "draw_case",
    "make_scoring_sheets",
    "read_scores",
    "read_image_set",
    "train_lens_arm",
    "time_lenses",
    "draw_lens_grid",
    "report_multi_lens",
    "make_patch_set",
    "list_images",
    "show_groups",
    "train_image_arm",
    "fit_prior_model",
    "export_image_arm",
    "time_image_arms",
    "draw_attention",
    "draw_confused_pairs",
    "report_histology_distillation",
    "report_histology_resnet50",
    "time_students",
    "report_slide_distillation",
    "make_ct_set",
    "collect_ct_images",
    "map_ct_attention",
    "draw_ct_attention",
    "report_ct_pneumonia",
    "collect_ct_slices",
    "train_box_arm",
    "draw_ct_boxes",
    "report_ct_boxes",
}
WORKING = STAGES | STUDY_RULES
# Jobs of each target once the slides are inspected: three slides can be used, two of them are annotated.
PREPARED = {"detect_tissue": 3, "extract_tiles": 3}
CLASSIFIED = {**PREPARED, "adopt_onnx": 1, "classify_tiles": 3}
SEGMENTED = {**CLASSIFIED, "adopt_onnx": 2, "stitch_heatmap": 3, "refine_heatmap": 3, "postprocess": 3}
MEASURED = {
    "detect_tissue": 2,
    "extract_tiles": 2,
    "adopt_onnx": 2,
    "classify_tiles": 2,
    "stitch_heatmap": 2,
    "refine_heatmap": 2,
    "postprocess": 2,
    "measure": 2,
    "gather_metrics": 1,
}
JOBS: dict[str, dict[str, int]] = {
    "inspect": {},
    "tissue": {"detect_tissue": 3},
    "tiles": PREPARED,
    "models": {"adopt_onnx": 2},
    "classify": CLASSIFIED,
    "heatmaps": {**CLASSIFIED, "stitch_heatmap": 3},
    "segment": SEGMENTED,
    "metrics": MEASURED,
    "report": {**SEGMENTED, "measure": 2, "gather_metrics": 1},
    "all": {**SEGMENTED, "measure": 2, "gather_metrics": 1, "report": 1},
}
# `rule` is a keyword of Snakemake's language, hence `each`.
DUMP = """
include: "Snakefile"

import json

with open("rules.json", "w") as file:
    json.dump(
        {
            each.name: {
                "script": each.script,
                "log": [str(f) for f in each.log],
                "benchmark": str(each.benchmark or ""),
                "conda": str(each._conda_env or ""),
                "resources": {
                    name: "" if value.is_evaluable() else str(value.value) for name, value in each.resources.items()
                },
                "output": {str(f): name for name, f in each.output._allitems()},
            }
            for each in workflow.rules
        },
        file,
    )
"""


@pytest.fixture(scope="module")
def rules(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What Snakemake understood of every rule, by name, with the configuration that ships and all resources set."""
    described = tmp_path_factory.mktemp("described") / "drunet"
    shutil.copytree(repository, described)
    (described / "describe.smk").write_text(DUMP, encoding="utf-8")
    config = yaml.safe_load((described / "config.yaml").read_text(encoding="utf-8"))
    config["resources"] = {name: {"mem_mb": 4321, "runtime": 17} for name in settable_rules()}
    project = Project(described, described, config)
    (described / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    # The last `-s` counts; without the profile its defaults do not stand in for what a rule lacks.
    done = project.run("-s", str(described / "describe.smk"), "--workflow-profile", "none", "--list-rules")
    assert done.status == 0, done.output
    return dict(json.loads((described / "rules.json").read_text(encoding="utf-8")))


def test_reading_the_rules_imports_nothing_heavy(new_project: Project) -> None:
    """Every job's process reads them all anew, hundreds of times in a run."""
    done = new_project.run("--list-rules", environment={"PYTHONPROFILEIMPORTTIME": "1"})
    imported = {line.rpartition("|")[2].strip() for line in done.output.splitlines() if line.startswith("import time:")}
    assert "drunet.study_settings" in imported, done.output[-2000:]
    assert not imported & {"keras", "tensorflow", "sklearn", "matplotlib", "onnxruntime", "shapely", "scipy.stats"}


@pytest.fixture(scope="module")
def asked(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finished]:
    """A dry run of every target where the slides are inspected and nothing else is made."""
    project = finished.copy_to(tmp_path_factory.mktemp("inspected") / "project")
    for folder in ("heatmaps", "models", "runs", "report"):
        shutil.rmtree(project.results / folder)
    for path in project.results.glob("slides/*/ti*"):
        path.unlink()
    with ThreadPoolExecutor(2) as pool:
        # Without the lock two dry runs do not wait for each other.
        return dict(zip(JOBS, pool.map(lambda target: project.dry_run("--nolock", target), JOBS), strict=True))


def test_the_rules_are_those_of_the_design(rules: dict[str, dict[str, Any]]) -> None:
    assert set(rules) == TARGETS | STUDY_TARGETS | WORKING


def test_a_rule_has_a_script_of_its_name(rules: dict[str, dict[str, Any]]) -> None:
    # Few-shot and many-shot models are trained by a rule of their own, but classified, exported and described as any.
    assert {name: Path(rules[name]["script"]).stem for name in WORKING} == {name: name for name in WORKING}
    assert {path.stem for path in (ROOT / "scripts").glob("*.py")} == WORKING


def test_every_rule_that_works_has_log_benchmark_environment_and_resources(rules: dict[str, dict[str, Any]]) -> None:
    for name in sorted(WORKING):
        rule = rules[name]
        assert rule["script"], name
        assert rule["log"], name
        assert rule["benchmark"], name
        assert rule["conda"], name
        assert rule["resources"]["mem_mb"].isdigit(), name
        assert rule["resources"]["runtime"].isdigit(), name
        assert rule["output"], name
        assert all(rule["output"].values()), f"{name} has an output without a name"


def test_log_and_benchmark_are_kept_apart_per_output(rules: dict[str, dict[str, Any]]) -> None:
    for name in sorted(WORKING):
        wanted = set(re.findall(r"{(\w+)", " ".join(rules[name]["output"])))
        for path in [*rules[name]["log"], rules[name]["benchmark"]]:
            assert set(re.findall(r"{(\w+)", path)) == wanted, f"{name}: {path}"


def test_all_targets_are_listed_for_the_user(finished: Project) -> None:
    done = finished.run("--list-target-rules")
    assert set(done.output.split()) >= TARGETS | {"experiments", "studies", "study_multi_lens"}


@pytest.mark.parametrize("target", JOBS)
def test_a_target_asks_for_its_stage_and_what_comes_before(target: str, asked: dict[str, Finished]) -> None:
    done = asked[target]
    assert done.status == 0, done.output
    jobs = done.rules()
    # `report` is a rule and a target at once; the other targets count as a job of their own.
    own = jobs.pop(target, 0)
    assert own == (0 if target == "inspect" else 1)
    assert jobs == JOBS[target]


def test_the_workflow_passes_snakemakes_own_lint(finished: Project) -> None:
    done = finished.run("--lint")
    assert done.status == 0, done.output


def test_what_the_configuration_sets_for_a_rule_reaches_it(rules: dict[str, dict[str, Any]]) -> None:
    settable = settable_rules()
    assert settable <= WORKING
    # Gathering and describing take seconds however large the cohort, and the demo is the same size for everyone.
    fixed = {
        "make_demo_slide",
        "make_patch_set",
        "make_ct_set",
        "show_groups",
        "list_slides",
        "gather_metrics",
        "describe_model",
        "gather_explanations",
        "draw_lens_grid",
    }
    # What trains over clusters trains a classifier.
    assert WORKING - settable == {*fixed, "train_clustered"}
    for name in sorted(WORKING - {"train_clustered"}):
        given = rules[name]["resources"]
        assert (given["mem_mb"] == "4321") == (name in settable), name
        assert (given["runtime"] == "17") == (name in settable), name


def settable_rules() -> set[str]:
    return {rule for kind in (Parallel, Serial) for rule in get_args(kind)}


@pytest.mark.parametrize("value", ["a", "TCGA-05-4244-01Z-00-DX1", "s_1.2", "0", "a.b.c"])
def test_usual_ids_fit_the_wildcards(value: str) -> None:
    assert re.fullmatch(ID_PATTERN, value)


@pytest.mark.parametrize("value", ["", "..", "a..b", ".a", "a.", "-a", "a/b", "../a", "a b", "a\n", "ä"])
def test_ids_that_could_leave_their_folder_do_not_fit_the_wildcards(value: str) -> None:
    assert not re.fullmatch(ID_PATTERN, value)
