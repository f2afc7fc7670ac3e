"""Which rules and targets the studies have, and what each rule carries."""

from __future__ import annotations

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
from tiny_cohort import ROOT, Project

# By folder below workflow/studies: what a user may ask for, and the rules that work, each with its script.
TARGETS = {
    "common": {"studies"},
    "active_learning": {"study_active_learning"},
    "backbones": {"study_backbones"},
    "clustering": {"study_clustering"},
    "cohort_audit": {"audit_cohort", "study_cohort_audit"},
    "ct_boxes": {"study_ct_boxes"},
    "ct_pneumonia": {"study_ct_pneumonia"},
    "experiments": {"experiments"},
    "histology_distillation": {"study_histology_distillation"},
    "histology_resnet50": {"study_histology_resnet50"},
    "multi_lens": {"study_multi_lens"},
    "saliency": {"study_saliency"},
    "sampling": {"study_sampling"},
    "scores": {"scoring_sheet", "study_scores"},
    "slide_distillation": {"study_slide_distillation"},
    "top_skip": {"study_top_skip"},
}
PAGES = {
    "active_learning": "simulate_annotation",
    "backbones": "compare_backbones",
    "clustering": "show_clusters",
    "cohort_audit": "gather_audit",
    "ct_boxes": "report_ct_boxes",
    "ct_pneumonia": "report_ct_pneumonia",
    "experiments": "compare_runs",
    "histology_distillation": "report_histology_distillation",
    "histology_resnet50": "report_histology_resnet50",
    "multi_lens": "report_multi_lens",
    "saliency": "gather_explanations",
    "sampling": "compare_sampling",
    "scores": "read_scores",
    "slide_distillation": "report_slide_distillation",
    "top_skip": "compare_top_skip",
}
# Beside the rule of the page.
WORK = {
    "common/clustering": {"embed_tiles", "cluster_tiles", "train_clustered"},
    "common/ct": {"make_ct_set"},
    "common/images": {
        "answer_external",
        "list_external",
        "list_images",
        "make_patch_set",
        "train_image_arm",
        "fit_prior_model",
        "export_image_arm",
        "time_image_arms",
    },
    "backbones": {"time_backbones"},
    "cohort_audit": {"look_at_slide", "shift_stains"},
    "ct_boxes": {"collect_ct_slices", "train_box_arm", "draw_ct_boxes"},
    "ct_pneumonia": {"collect_ct_images", "map_ct_attention", "draw_ct_attention"},
    "histology_distillation": {"draw_attention"},
    "histology_resnet50": {"draw_confused_pairs"},
    "multi_lens": {"read_image_set", "train_lens_arm", "time_lenses", "draw_lens_grid"},
    "saliency": {"explain_classifier"},
    "scores": {"draw_case", "make_scoring_sheets"},
    "slide_distillation": {"time_students"},
}
DRAWING = {"make_patch_set", "make_ct_set"}
WORKING = set(PAGES.values()).union(*WORK.values())


@pytest.fixture(scope="module")
def rules(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Described]:
    """All rules but the product's."""
    everything = described_rules(repository, tmp_path_factory.mktemp("described") / "drunet")
    return {name: rule for name, rule in everything.items() if "workflow/studies" in rule["file"]}


def test_the_rules_are_those_of_the_design(rules: dict[str, Described]) -> None:
    assert set(rules) == WORKING.union(*TARGETS.values())


def test_a_rule_has_a_script_in_its_studys_folder(rules: dict[str, Described]) -> None:
    scripts = {rule: f"{folder}/scripts/{rule}.py" for folder, names in WORK.items() for rule in names}
    scripts |= {rule: f"{folder}/scripts/make_page.py" for folder, rule in PAGES.items()}
    timing = ("time_backbones", "time_image_arms", "time_students")
    scripts |= dict.fromkeys(timing, "common/scripts/time_classifiers.py")
    studies = ROOT / "workflow/studies"
    for name, script in scripts.items():
        # Snakemake looks for a script from its rules' file.
        named = Path(rules[name]["file"]).parent / rules[name]["script"]
        assert named.resolve().as_posix().endswith(f"workflow/studies/{script}"), name
    assert {path.relative_to(studies).as_posix() for path in studies.rglob("scripts/*.py")} == set(scripts.values())


def test_every_rule_that_works_has_log_benchmark_environment_and_resources(rules: dict[str, Described]) -> None:
    for name in sorted(WORKING):
        check_whole(name, rules[name])
        check_gpus(name, rules[name])


def test_log_and_benchmark_are_kept_apart_per_output(rules: dict[str, Described]) -> None:
    for name in sorted(WORKING):
        check_kept_apart(name, rules[name])


def test_what_the_configuration_sets_for_a_rule_reaches_it(rules: dict[str, Described]) -> None:
    settable = settable_rules()
    # These take seconds however large the set of images, and what is drawn is the same for everyone.
    fixed = {*DRAWING, "gather_explanations", "draw_lens_grid"}
    # What trains over clusters trains a classifier.
    assert WORKING - settable == {*fixed, "train_clustered"}
    for name in sorted(WORKING - {"train_clustered"}):
        check_settable(rules[name], name in settable)


def test_all_targets_are_listed_for_the_user(finished: Project) -> None:
    done = finished.run("--list-target-rules")
    assert set(done.output.split()) >= set[str]().union(*TARGETS.values())


def test_reading_the_rules_imports_nothing_heavy(new_project: Project) -> None:
    """Every job's process reads them all anew, hundreds of times in a run."""
    imported = imported_while_read(new_project)
    assert "studies.common.study_settings" in imported, imported
    assert not imported & {
        "keras",
        "tensorflow",
        "sklearn",
        "matplotlib",
        "onnxruntime",
        "shapely",
        "scipy.stats",
        "cv2",
    }
