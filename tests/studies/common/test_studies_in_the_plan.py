"""Studies in the plan: what is said where the configuration has no ground for one, or a mistake in its settings."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tiny_cohort import Project


@pytest.mark.slow
def test_a_study_without_ground_says_so_and_keeps_nothing_else_from_running(finished: Project) -> None:
    # The tiny cohort has no dr_fused for the study's models to be like.
    refused = finished.dry_run("experiments")
    assert refused.status != 0
    said = [
        line for line in refused.output.splitlines() if "experiments cannot be made with this configuration" in line
    ]
    assert len(said) == 1, refused.output
    assert "unknown model" in said[0] and "dr_fused" in said[0]
    assert "Traceback (most recent call last)" not in refused.output
    assert finished.dry_run("all").status == 0


@pytest.mark.parametrize("target", ["scoring_sheet", "study_scores"])
def test_both_targets_of_the_scores_say_why_they_cannot_be_made(finished: Project, target: str) -> None:
    # The tiny cohort has no run of the name that the study's settings hold.
    refused = finished.dry_run(target)
    assert refused.status != 0
    assert "scoring_sheet and study_scores cannot be made with this configuration" in refused.output
    assert "unknown run" in refused.output
    assert "MissingRuleException" not in refused.output


@pytest.mark.slow
def test_studies_makes_those_that_have_ground_and_says_which_it_leaves_out(finished: Project) -> None:
    done = finished.dry_run("studies")
    assert done.status == 0, done.output
    said = [line for line in done.output.splitlines() if line.startswith("left out: ")]
    left_out = [line.split(": ")[1] for line in said]
    assert len(left_out) == len(set(left_out)), "each once"
    assert {"experiments", "scoring_sheet and study_scores", "study_slide_distillation"} <= set(left_out)
    assert "study_ct_boxes" not in left_out
    assert "unknown model" in next(line for line in said if line.startswith("left out: experiments: "))
    assert "left out" not in finished.dry_run("study_ct_boxes").output


@pytest.mark.slow
def test_a_study_whose_part_on_slides_is_left_out_needs_no_models(finished: Project, tmp_path: Path) -> None:
    # The tiny cohort has no dr_fused for the models of that part to be like.
    project = finished.copy_to(tmp_path / "project")
    assert "study_multi_lens cannot be made with this configuration" in project.dry_run("study_multi_lens").output
    project.config["study_settings"] = {"multi_lens": {"slides": None}}
    planned = project.write().dry_run("study_multi_lens")
    assert planned.status == 0, planned.output
    assert "train_lens_arm" in planned.rules() and "train_classifier" not in planned.rules()


@pytest.mark.slow
def test_a_study_whose_part_on_images_is_left_out_trains_on_slides_alone(new_project: Project) -> None:
    new_project.config = yaml.safe_load((new_project.repository / "config.yaml").read_text(encoding="utf-8"))
    new_project.config["cohort"]["sheet"] = str(new_project.repository / "resources/demo/slides.tsv")
    off = {"datasets": {"digits": None}, "sweep": {"datasets": []}}
    new_project.config["study_settings"] = {"multi_lens": off}
    planned = new_project.write().dry_run("study_multi_lens")
    assert planned.status == 0, planned.output
    assert "report_multi_lens" in planned.rules()
    assert not {"read_image_set", "train_lens_arm"} & set(planned.rules())


@pytest.mark.slow
def test_a_mistyped_setting_of_a_study_stops_studies_and_nothing_else(finished: Project, tmp_path: Path) -> None:
    project = finished.copy_to(tmp_path / "project")
    # One that would fit, and one that has no ground anyway.
    project.config["study_settings"] = {"ct_boxes": {"bootstrp": 1}, "experiments": {"pictures": 2}}
    done = project.write().dry_run("studies")
    assert done.status != 0
    assert "study_settings.ct_boxes: unknown key (found: bootstrp). Did you mean bootstrap?" in done.output
    assert "left out" not in done.output
    assert project.dry_run("all").status == 0


def test_a_study_without_ground_that_is_asked_for_by_the_configuration_stops_at_once(
    finished: Project, tmp_path: Path
) -> None:
    project = finished.copy_to(tmp_path / "project")
    project.config["studies"] = ["experiments"]
    done = project.write().dry_run()
    assert done.status != 0
    assert "unknown model" in done.output


@pytest.mark.slow
def test_settings_of_a_study_without_ground_are_no_mistake(finished: Project, tmp_path: Path) -> None:
    project = finished.copy_to(tmp_path / "project")
    # As it ships, the study would not fit either: the tiny cohort has no dr_fused.
    project.config["study_settings"] = {"experiments": {"pictures": 2}}
    done = project.write().dry_run("studies")
    assert done.status == 0, done.output
    assert len([line for line in done.output.splitlines() if line.startswith("left out: experiments: ")]) == 1


@pytest.mark.slow
def test_a_mistaken_classifier_of_a_study_stops_nothing_but_the_study(new_project: Project) -> None:
    # The configuration that ships has the models that the experiments build on.
    new_project.config = yaml.safe_load((new_project.repository / "config.yaml").read_text(encoding="utf-8"))
    new_project.config["cohort"]["sheet"] = str(new_project.repository / "resources/demo/slides.tsv")
    assert new_project.write().dry_run("experiments").status == 0
    lost = {"data": {"clustering": {"shared_with": "nobody"}}}
    new_project.config["study_settings"] = {"experiments": {"classifiers": {"few_shot": lost}}}
    assert new_project.write().dry_run("all").status == 0
    refused = new_project.dry_run("experiments")
    assert refused.status != 0
    said = [line for line in refused.output.splitlines() if "experiments cannot be made with this" in line]
    assert len(said) == 1, refused.output
    assert "classifiers.few_shot.data.clustering: shared clusters have no settings of their own" in said[0]


def test_an_unknown_study_ends_in_one_message(new_project: Project) -> None:
    new_project.config["studies"] = ["moonlight"]
    done = new_project.write().run()
    assert done.status != 0 and "Traceback" not in done.output
    said = [line for line in done.output.splitlines() if "studies:" in line and "unknown study" in line]
    assert len(said) == 1, done.output
    assert "moonlight" in said[0] and "Known:" in said[0]
    assert not new_project.results.exists()
