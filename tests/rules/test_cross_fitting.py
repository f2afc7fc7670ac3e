"""A refiner learns only from heatmaps of classifiers that did not see the slide's patient."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml
from tiny_cohort import Project, labelled_slide, make_project

pytestmark = pytest.mark.slow

# Slide: patient and split. One patient has two slides, which belong on the same side.
SLIDES = {
    "t1": ("pa", "train"),
    "t2": ("pb", "train"),
    "t3a": ("pc", "train"),
    "t3b": ("pc", "train"),
    "v1": ("pd", "val"),
}
FOLDS = 3


@pytest.fixture(scope="module")
def inspected(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with both networks to train, whose slides are inspected."""
    project = make_project(tmp_path_factory.mktemp("cross") / "project", repository)
    shipped = yaml.safe_load((repository / "config.yaml").read_text(encoding="utf-8"))
    project.config.update(classifiers=shipped["classifiers"], refiners=shipped["refiners"], runs=shipped["runs"])
    project.config["classifiers"]["dr_fused"]["data"].update(annotation_kinds=["wta"], cross_fit_folds=FOLDS)
    project.rows = []
    for number, (slide_id, (patient, split)) in enumerate(SLIDES.items()):
        project.rows.append(labelled_slide(project.folder / "slides", slide_id, patient, split, number))
    looked = project.write().run("inspect")
    assert looked.status == 0, looked.output
    return project


@pytest.fixture(scope="module")
def summary(inspected: Project) -> dict[str, set[str]]:
    """Inputs of every file that the training of both networks would need, as Snakemake plans it after inspection."""
    return planned_inputs(inspected, inspected.folder.parent)


def test_the_refiner_gets_one_heatmap_per_slide_from_a_classifier_that_did_not_see_its_patient(
    summary: dict[str, set[str]],
) -> None:
    heatmaps = sorted(f for f in summary["results/models/unet/weights.weights.h5"] if f.startswith("results/heatmaps/"))
    assert sorted(Path(h).stem for h in heatmaps) == sorted(SLIDES)
    for heatmap in heatmaps:
        model, slide = Path(heatmap).parent.name, Path(heatmap).stem
        patient, split = SLIDES[slide]
        learnt = {SLIDES[s] for s in slides_in(summary[f"results/models/{model}/weights.weights.h5"])}
        # A validation slide decides when training stops; it is never learnt from, and every fold sees the same ones.
        assert patient not in {p for p, s in learnt if s == "train"}, f"{model} saw {slide}"
        assert (model == "dr_fused") == (split == "val")


def test_each_fold_leaves_out_its_own_patients_and_keeps_the_others(summary: dict[str, set[str]]) -> None:
    left_out = []
    for fold in range(FOLDS):
        weights = f"results/models/dr_fused.fold{fold}of{FOLDS}/weights.weights.h5"
        left_out.append(set(SLIDES) - slides_in(summary[weights]))
    assert sorted(s for slides in left_out for s in slides) == ["t1", "t2", "t3a", "t3b"]
    assert {"t3a", "t3b"} in left_out
    whole = slides_in(summary["results/models/dr_fused/weights.weights.h5"])
    assert whole == set(SLIDES)


def test_a_fold_is_exported_and_classifies_only_the_slides_that_it_did_not_see(summary: dict[str, set[str]]) -> None:
    made = [re.fullmatch(r"results/heatmaps/(dr_fused\.fold(\d)of3)/(\w+)\.parquet", f) for f in summary]
    folds = [m for m in made if m]
    assert sorted(m[3] for m in folds) == ["t1", "t2", "t3a", "t3b"]
    for match in folds:
        assert f"results/models/{match[1]}/model.onnx" in summary[match[0]]
        assert match[3] not in slides_in(summary[f"results/models/{match[1]}/weights.weights.h5"])


def test_another_number_of_folds_leaves_the_finished_model_alone(
    inspected: Project, summary: dict[str, set[str]], tmp_path: Path
) -> None:
    project = inspected.copy_to(tmp_path / "project")
    weights = "results/models/dr_fused/weights.weights.h5"
    for made in (f for f in summary if f.startswith(("results/slides/", "results/models/dr_fused/"))):
        (project.folder / made).parent.mkdir(parents=True, exist_ok=True)
        (project.folder / made).touch()
    done = project.run("--touch", "--forceall", weights)
    assert done.status == 0, done.output
    assert "Nothing to be done" in project.dry_run(weights).output
    data = project.config["classifiers"]["dr_fused"]["data"]
    data["cross_fit_folds"] = FOLDS + 1
    assert "Nothing to be done" in project.write().dry_run(weights).output
    data["validation_tiles"] = 7
    assert project.write().dry_run(weights).rules() == {"train_classifier": 1}


def planned_inputs(project: Project, folder: Path) -> dict[str, set[str]]:
    """Inputs by output file, from a dry run of a copy of the workflow whose rules have no message of their own."""
    wordless = Project(project.folder, folder / "wordless", project.config, project.rows)
    shutil.copytree(project.repository, wordless.repository)
    for path in wordless.repository.glob("workflow/rules/*.smk"):
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"\n    message:\n.*", "", text), encoding="utf-8")
    done = wordless.dry_run("results/models/unet/weights.weights.h5")
    assert done.status == 0, done.output
    jobs = re.findall(r"^ +input: (.+)\n +output: (.+)$", done.output, flags=re.MULTILINE)
    return {output: set(inputs.split(", ")) for inputs, outputs in jobs for output in outputs.split(", ")}


def slides_in(files: set[str]) -> set[str]:
    return {Path(f).stem for f in files if f.startswith("slides/") and f.endswith(".tif")}
