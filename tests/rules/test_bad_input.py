"""A mistake in configuration or sheet ends in one message before anything is made."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tiny_cohort import Finished, Project, make_project

Mistake = Callable[[Project], None]


def setting(path: str, value: object) -> Mistake:
    """Set one key of the configuration, given by its dotted path."""

    def make(project: Project) -> None:
        *parents, key = path.split(".")
        place = project.config
        for parent in parents:
            place = place[parent]
        place[key] = value

    return make


def cell(slide_id: str, column: str, value: str) -> Mistake:
    """Change one cell of the sheet."""
    return lambda project: project.row(slide_id).update({column: value})


def without_column(column: str) -> Mistake:
    return lambda project: [row.pop(column) for row in project.rows] and None


def without_file(name: str) -> Mistake:
    return lambda project: (project.folder / name).unlink()


def trained(**settings: object) -> Mistake:
    """A classifier to be trained, as the shipped configuration has it, with one entry changed."""

    def make(project: Project) -> None:
        import yaml

        shipped = yaml.safe_load((project.repository / "config.yaml").read_text(encoding="utf-8"))
        project.config["classifiers"]["tone"] = {**shipped["classifiers"]["dr_fused"], **settings}

    return make


def fine_tuned(start: dict[str, object], **settings: object) -> Mistake:
    """A classifier that goes on from `start`: a finished one, or like the shipped one but for what is said."""

    def make(project: Project) -> None:
        trained()(project)
        project.config["classifiers"]["start"] = start if "onnx" in start else {"like": "tone", **start}
        project.config["classifiers"]["tuned"] = {"like": "tone", "weights": {"model": "start"}, **settings}

    return make


# Each with the four parts of its message: where, what, found, mend.
MISTAKES: dict[str, tuple[Mistake, tuple[str, str, str, str]]] = {
    "unknown key": (
        setting("tiles.sise", 64),
        ("tiles:", "unknown key", "sise", "Did you mean size?"),
    ),
    "text for a number": (
        setting("tiles.size", "large"),
        ("tiles.size:", "the value does not fit", "'large'", "Expected a whole number"),
    ),
    "number out of range": (
        setting("tiles.min_tissue", 25),
        ("tiles.min_tissue:", "the value does not fit", "25", "Expected at most 1"),
    ),
    "run without its classifier": (
        setting("runs.by_colour.classifier", "tones"),
        ("runs.by_colour.classifier:", "unknown classifier", "tones", "Did you mean tone?"),
    ),
    "classifier called like a fold": (
        setting("classifiers", {"tone": {"onnx": "tone.onnx"}, "tone.fold0of2": {"onnx": "tone.onnx"}}),
        ("classifiers:", "reads like a fold of another", "tone.fold0of2", "Leave out"),
    ),
    "model name that leaves its folder": (
        setting("refiners", {"through": {"onnx": "through.onnx"}, "../through": {"onnx": "through.onnx"}}),
        ("refiners:", "not safe to use as a folder name", "../through", "single dots"),
    ),
    "unknown architecture": (
        trained(architecture="dr_fusd"),
        ("architecture", "unknown architecture", "dr_fusd", "Did you mean dr_fused?"),
    ),
    "option of another architecture": (
        trained(options={"dens_units": 8}),
        ("classifiers.tone.options:", "unknown option", "dens_units", "Did you mean dense_units?"),
    ),
    "unknown backbone": (
        trained(architecture="backbone", options={"backbone": "resnet51"}),
        ("classifiers.tone.options:", "unknown backbone", "resnet51", "Did you mean resnet50"),
    ),
    "network without the option that it needs": (
        trained(architecture="backbone", options={"dense_units": 8}),
        ("classifiers.tone.options:", "option 'backbone' is missing", "dense_units", "Set 'backbone'"),
    ),
    "fine-tuning another network": (
        fine_tuned({"architecture": "h2gnet_classifier"}),
        ("classifiers.tuned.weights.model:", "another network", "start: h2gnet_classifier", "the same architecture"),
    ),
    "fine-tuning a finished model": (
        fine_tuned({"onnx": "tone.onnx"}),
        ("classifiers.tuned.weights.model:", "cannot be trained further", "start", "Name the weights file"),
    ),
    "model like one that is not there": (
        fine_tuned({}, like="tune"),
        ("classifiers.tuned.like:", "unknown model", "tune", "Did you mean"),
    ),
    "run of a model that is not there": (
        setting("runs.by_colour.refiner", "thru"),
        ("runs.by_colour.refiner:", "unknown refiner", "thru", "Did you mean through?"),
    ),
    "unknown loss": (
        trained(loss={"name": "focl", "class_weights": None}),
        ("classifiers.tone.loss.name:", "the value does not fit", "'focl'", "cross_entropy, focal"),
    ),
    "resources of an unknown rule": (
        setting("resources", {"classify_tile": {"mem_mb": 9000}}),
        ("resources:", "unknown key", "classify_tile", "Did you mean classify_tiles?"),
    ),
    "no sheet": (
        setting("cohort.sheet", "slide.tsv"),
        ("cohort.sheet:", "the sample sheet is not there", "slide.tsv", "Correct `cohort.sheet`"),
    ),
    "sheet without a column": (
        without_column("split"),
        ("slides.tsv:", "the sheet lacks the column split", "patient_id", "Its header needs slide_id"),
    ),
    "column that is misspelt": (
        lambda p: [row.update(MPP="0.5") for row in p.rows] and None,
        ("slides.tsv:", "a column would be passed over", "MPP", "Did you mean mpp?"),
    ),
    "slide file in two rows": (
        lambda p: p.row("tumour_b").update(path=p.row("tumour_a")["path"]),
        ("slides.tsv:", "a slide file stands in two rows", "tumour_a and tumour_b", "Keep one"),
    ),
    "slide_id twice": (
        cell("tumour_b", "slide_id", "tumour_a"),
        ("slides.tsv, line 3:", "a slide_id is given twice", "tumour_a", "Give every slide its own"),
    ),
    "slide_id that leaves its folder": (
        cell("tumour_b", "slide_id", "../tumour_b"),
        ("slides.tsv, line 3:", "not safe to use as a folder name", "../tumour_b", "Use letters"),
    ),
    "slide_id with two dots": (
        cell("tumour_b", "slide_id", "tumour..b"),
        ("slides.tsv, line 3:", "not safe to use as a folder name", "tumour..b", "single dots"),
    ),
    "slide that is not there": (
        cell("tumour_b", "path", "nowhere.tif"),
        ("cohort.sheet:", "1 file of the sheet cannot be found", "tumour_b: slides/nowhere.tif", "Correct the path"),
    ),
    "patient in two splits": (
        lambda p: p.row("tumour_b").update(patient_id=p.row("tumour_a")["patient_id"], split="train"),
        ("slides.tsv:", "both sides of the split", "tumour_a in test, tumour_b in train", "one split"),
    ),
    "starting weights that are not there": (
        trained(weights={"densenet201": "dense.h5", "resnet101v2": "resnet.h5"}),
        ("classifiers.tone.weights.densenet201:", "the file is not there", "dense.h5", "Correct the path"),
    ),
    "annotation of no kind": (
        cell("tumour_b", "annotation_kind", ""),
        ("slides.tsv, line 3:", "go together", "annotation_kind ''", "Fill in both"),
    ),
    "resolution that is no number": (
        lambda p: [row.update(mpp="half" if row["slide_id"] == "tumour_b" else "") for row in p.rows] and None,
        ("slides.tsv, line 3:", "not a resolution", "half", "0.25"),
    ),
    "results in a folder with braces": (
        setting("results", "out{1}"),
        ("results:", "the value does not fit", "out{1}", "text of the form"),
    ),
    "slide with braces": (
        cell("tumour_b", "path", "s{2}.tif"),
        ("slides.tsv, line 3:", "Snakemake reads as its own", "{", "Rename the file"),
    ),
    "patient in capitals in the other split": (
        lambda p: p.row("tumour_b").update(patient_id=p.row("tumour_a")["patient_id"].upper(), split="train"),
        ("slides.tsv:", "both sides of the split", "tumour_a in test, tumour_b in train", "one split"),
    ),
    "outlines of another slide": (
        lambda p: p.row("tumour_b").update(annotation=p.row("tumour_a")["annotation"]),
        ("cohort.sheet:", "stands in two rows", "tumour_a and tumour_b", "Give each slide its own"),
    ),
    "finished model that is not there": (
        without_file("tone.onnx"),
        ("classifiers.tone.onnx:", "the file is not there", "tone.onnx", "Correct the path"),
    ),
}


@pytest.fixture(scope="module")
def outcomes(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Project, Finished]]:
    """Every mistake, run as a user would; two at a time, for most of a start is waiting."""

    def run(name: str) -> tuple[str, tuple[Project, Finished]]:
        project = make_project(tmp_path_factory.mktemp("mistake") / "project", repository)
        MISTAKES[name][0](project)
        return name, (project, project.write().run())

    with ThreadPoolExecutor(2) as pool:
        return dict(pool.map(run, MISTAKES))


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_ends_in_one_message_and_nothing_made(
    name: str, outcomes: dict[str, tuple[Project, Finished]]
) -> None:
    project, done = outcomes[name]
    where, what, found, mend = MISTAKES[name][1]
    assert done.status != 0
    assert "Traceback" not in done.output
    assert "DEFECT" not in done.output
    said = [line for line in done.output.splitlines() if where in line and what in line]
    assert len(said) == 1, done.output
    assert found in said[0]
    assert mend in said[0]
    assert not project.results.exists()
    assert project.leftovers() == []


@pytest.mark.parametrize("file", ["config.yaml", "more.yaml"])
def test_a_key_that_stands_twice_is_refused_with_its_file_and_line(own_copy: Project, file: str) -> None:
    own_copy.write()
    path = own_copy.folder / file
    text = path.read_text(encoding="utf-8") if path.exists() else "seed: 1\n"
    path.write_text(f"{text}seed: 2\n", encoding="utf-8")
    done = own_copy.dry_run(*([] if file == "config.yaml" else ["--configfile", str(path)]))
    assert done.status != 0
    said = [line for line in done.output.splitlines() if "a key stands twice" in line]
    assert len(said) == 1, done.output
    assert f"{file}, line {len(text.splitlines()) + 1}:" in said[0]
    assert "found: seed, first in line" in said[0]
    assert "Traceback" not in done.output


def test_a_configuration_in_another_encoding_is_refused_in_one_line(new_project: Project) -> None:
    with (new_project.folder / "config.yaml").open("ab") as file:
        file.write("# Müller\n".encode("latin-1"))
    done = new_project.dry_run()
    assert done.status != 0
    assert [line for line in done.output.splitlines() if "config.yaml: the file is no UTF-8 text" in line]
    assert "Traceback" not in done.output and "yaml/reader.py" not in done.output


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ("results/runs/other/tumour_a/refined.tif", "results/runs/other/tumour_a/refined.tif"),
        ("results/slides/tumour..a/tissue.png", "results/slides/tumour..a/tissue.png"),
        ("results/slides/../../tumour_a/tissue.png", "tumour_a/tissue.png"),
        ("results/slides/stranger/tissue.png", "stranger: no such slide"),
    ],
)
def test_a_target_of_something_unknown_is_refused_by_name(finished: Project, target: str, named: str) -> None:
    done = finished.dry_run(target)
    assert done.status != 0
    assert named in done.output.split("Building DAG")[1]
    assert "Traceback (most recent call last)" not in done.output
