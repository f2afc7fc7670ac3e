"""`drunet doctor`: it finds what was broken on purpose, and nothing on a sound cohort."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny_cohort import (
    ROOT,
    feature_collection,
    labelled_slide,
    paint_slide,
    save_classifier,
    save_refiner,
    tiny_config,
)

from drunet.files import sha256, write_json
from drunet_commands import cli
from drunet_commands.doctor import Finding, Project, examine
from drunet_commands.forecast import forecast, measured
from drunet_demo.pyramid import write_pyramid

SLIDES = ("a", "b", "c")
REAL = ROOT.parent / "shared/data/slides"


class Folder:
    """A user's folder with three annotated slides and two finished models; `config` and `rows` can be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "slides").mkdir()
        self.rows = {
            name: labelled_slide(folder / "slides", name, f"patient {name}", "test", seed)
            for seed, name in enumerate(SLIDES)
        }
        self.config = tiny_config()
        save_classifier(folder / "tone.onnx", 64)
        save_refiner(folder / "through.onnx")

    def write(self) -> None:
        (self.folder / "config.yaml").write_text(yaml.safe_dump(self.config), encoding="utf-8")
        rows = list(self.rows.values())
        lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
        (self.folder / "slides.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def findings(self, root: Path = ROOT) -> list[Finding]:
        self.write()
        return examine(Project(["config.yaml"], 2, root))

    def broken(self, root: Path = ROOT) -> list[Finding]:
        return [finding for finding in self.findings(root) if finding.state == "BROKEN"]


@pytest.fixture
def sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.chdir(tmp_path)
    return Folder(tmp_path)


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where models are no matter: a trial takes two seconds."""
    monkeypatch.setattr("drunet.export.adoption.adopt", lambda *_, **__: {})


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the workflow's own files whose requirements can be changed."""
    root = tmp_path_factory.mktemp("root")
    for part in ("resources", "envs", "workflow/rules"):
        shutil.copytree(ROOT / part, root / part)
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (root / "pyproject.toml").write_text(text.replace('"shapely>=2.1,<3"', '"shapely>=98,<99"'), encoding="utf-8")
    return root


def test_nothing_is_invented_on_a_sound_cohort_whose_models_are_tried(sound: Folder) -> None:
    findings = sound.findings()
    assert {f.state for f in findings} == {"ok"}, findings
    assert [f.check for f in findings] == [
        "environment",
        "configuration",
        "inference",
        "results",
        "sheet",
        "models",
        "slides",
        "annotations",
        "machine",
        "forecast",
    ]
    said = {f.check: f.found for f in findings}
    assert said["models"] == "2 finished tried on tiles, 0 to train"
    assert said["slides"].startswith("3 of 3 can be used") and said["annotations"].startswith("3 read")
    # An ellipse with half axes of 260 and 210 µm in each.
    assert float(said["slides"].split()[6]) == pytest.approx(3 * np.pi * 0.26 * 0.21, rel=0.1)


def spoil_resolution(folder: Folder) -> None:
    path = folder.folder / "slides/a.tif"
    write_pyramid(path, np.full((300, 320, 3), 200, np.uint8), None)


def spoil_pixels(folder: Folder) -> None:
    path = folder.folder / "slides/b.tif"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def spoil_frame(folder: Folder) -> None:
    """The outline of another slide, in µm of a quarter: it lies on glass, outside of the tissue."""
    corner = np.array([[2, 2], [30, 2], [30, 20], [2, 20], [2, 2]], float)
    write_json(folder.folder / "slides/c.geojson", feature_collection(corner))


def spoil_classes(folder: Folder) -> None:
    outline = paint_slide(folder.folder / "slides/d.tif", seed=9)
    write_json(folder.folder / "slides/d.geojson", feature_collection(outline, "Mystery"))
    folder.rows["d"] = {**folder.rows["c"], "slide_id": "d", "patient_id": "patient d"}
    folder.rows["d"] |= {"path": "d.tif", "annotation": "d.geojson"}


def spoil_sheet(folder: Folder) -> None:
    folder.rows["e"] = {**folder.rows["c"], "slide_id": "e", "patient_id": "patient e", "path": "nowhere.tif"}
    folder.rows["e"]["annotation"] = folder.rows["e"]["annotation_kind"] = ""


def spoil_digest(folder: Folder) -> None:
    folder.config["classifiers"]["tone"]["sha256"] = sha256(folder.folder / "through.onnx")


def spoil_model(folder: Folder) -> None:
    """A classifier in the place of a refiner."""
    shutil.copy(folder.folder / "tone.onnx", folder.folder / "through.onnx")


def spoil_provider(folder: Folder) -> None:
    folder.config["inference"]["provider"] = "cuda"


def spoil_memory(folder: Folder) -> None:
    folder.config["resources"] = {"measure": {"mem_mb": 10**9}}


PLANTED: dict[str, tuple[Callable[[Folder], None] | None, str, str, str]] = {
    "packages": (None, "environment", "shapely", "`make env`"),
    "provider": (spoil_provider, "inference", "cuda", ""),
    "file of the sheet": (spoil_sheet, "sheet", "nowhere.tif", "Correct the path"),
    "digest": (spoil_digest, "models", "tone", "digest"),
    "model": (spoil_model, "models", "through", "input_pred"),
    "resolution": (spoil_resolution, "slides", "a: the slide does not say its resolution", "`mpp`"),
    "pixels": (spoil_pixels, "slides", "b: ", "again"),
    "frame": (spoil_frame, "annotations", "c: annotation: the outlines lie on glass", "belongs to this slide"),
    "classes": (spoil_classes, "annotations", "d: ", "annotation_classes"),
    "memory": (spoil_memory, "machine", "measure asks for 1000000000 MB", "Lower `resources`"),
}


def test_ten_faults_of_ten_are_found_together_each_with_a_mend(sound: Folder, bare: Path) -> None:
    for spoil, *_ in PLANTED.values():
        if spoil:
            spoil(sound)
    broken = sound.broken(bare)
    assert len(broken) == len(PLANTED) == 10, "\n".join(map(str, broken))
    for name, (_, check, found, mend) in PLANTED.items():
        fits = [f for f in broken if f.check == check and found in f.found and mend in f.mend]
        assert len(fits) == 1 and fits[0].mend, (name, broken)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("results: [", "config.yaml cannot be read"),
        ("a text", "config.yaml cannot be read"),
        ("results: out\nresults: out\n", "stands twice"),
        ("results: out\ncohort: {sheet: slides.tsv}\n", "a key is missing"),
    ],
)
@pytest.mark.usefixtures("untried")
def test_it_ends_well_on_a_broken_configuration(sound: Folder, text: str, found: str) -> None:
    sound.write()
    Path("config.yaml").write_text(text, encoding="utf-8")
    findings = examine(Project(["config.yaml"], 1))
    (broken,) = [f for f in findings if f.state == "BROKEN" and f.check == "configuration"]
    assert found in broken.found and broken.mend
    assert all(f.state == "note" for f in findings if f.check in ("slides", "forecast"))


@pytest.mark.usefixtures("untried")
def test_copies_of_a_slide_are_one_line(sound: Folder) -> None:
    for number in range(9):
        name = f"copy{number}"
        for kind in ("tif", "geojson"):
            shutil.copy(f"slides/a.{kind}", f"slides/{name}.{kind}")
        own = {"slide_id": name, "patient_id": name, "path": f"{name}.tif", "annotation": f"{name}.geojson"}
        sound.rows[name] = sound.rows["a"] | own
    (noted,) = [f for f in sound.findings() if f.state == "note"]
    assert noted.found == "10 slides hold the same bytes: a, copy0, copy1, copy2, copy3 and 5 more"


@pytest.mark.usefixtures("untried")
def test_an_unknown_key_hides_no_broken_slide(sound: Folder) -> None:
    spoil_pixels(sound)
    sound.config["seeds"] = 1
    assert [(f.check, "seeds" in f.found) for f in sound.broken()] == [("configuration", True), ("slides", False)]


@pytest.mark.usefixtures("untried")
def test_a_folder_for_results_that_is_a_file_is_found(sound: Folder) -> None:
    Path("results").touch()
    (broken,) = [f for f in sound.broken() if f.check == "results"]
    assert "nothing can be written" in broken.found


@pytest.mark.usefixtures("untried")
def test_a_model_without_training_slides_is_found(sound: Folder) -> None:
    own = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    sound.config |= {key: own[key] for key in ("classifiers", "refiners", "runs")}
    found = [f.found for f in sound.broken()]
    assert len(found) == 2 and "dr_fused has nothing to learn from" in found[0] and "unet" in found[1]
    sound.rows["a"] |= {"split": "train", "annotation_kind": "psa"}
    (broken,) = sound.broken()
    assert broken.found.startswith("unet has nothing") and broken.mend.startswith(
        "Annotate slides of split train so (wta)"
    )
    sound.rows["b"] |= {"split": "train", "annotation_kind": "wta"}
    assert sound.broken() == []


@pytest.mark.usefixtures("untried")
def test_the_command_prints_a_line_per_check_and_its_status_says_whether_something_is_broken(
    sound: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    sound.write()
    Path("more.yaml").write_text("inference: {batch_size: 3}\n", encoding="utf-8")
    assert cli.main(["doctor", "--configfile", "more.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11 and lines[-1] == "Nothing is broken." and all(line.startswith("ok ") for line in lines[:-1])
    Path("more.yaml").write_text("inference: {batch_size: none}\n", encoding="utf-8")
    assert cli.main(["doctor", "--configfile", "more.yaml"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "1 fault. Mend them from the top." and "inference.batch_size" in lines[1]


@pytest.mark.usefixtures("untried")
def test_nothing_is_written_and_no_lock_is_minded(sound: Folder) -> None:
    sound.write()
    lock = Path(".snakemake/locks/0.input.lock")
    lock.parent.mkdir(parents=True)
    lock.write_text("slides/a.tif\n")
    before = {p: p.stat().st_mtime_ns for p in Path().rglob("*")}
    assert sound.broken() == []
    after = {p: p.stat().st_mtime_ns for p in Path().rglob("*")}
    assert {p for p in before if before[p] != after.get(p)} <= {Path("config.yaml"), Path("slides.tsv")}
    assert set(after) == set(before)


def test_the_shipped_demo_has_nothing_broken_before_its_slides_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for part in ("config.yaml", "resources"):
        (tmp_path / part).symlink_to(ROOT / part)
    findings = examine(Project(["config.yaml"], 2))
    assert [f for f in findings if f.state == "BROKEN"] == []
    assert "21 are made by the run" in {f.check: f.found for f in findings}["slides"]


@pytest.mark.skipif(not REAL.is_dir(), reason="the biopsies are not there")
@pytest.mark.usefixtures("untried")
def test_nothing_is_invented_on_both_biopsies(sound: Folder) -> None:
    blank = dict.fromkeys(sound.rows["a"], "")
    sound.rows = {
        str(n): {**blank, "slide_id": f"b{n}", "patient_id": f"p{n}", "path": str(REAL / f"lung_scc_{n}.tif")}
        | {"annotation": str(REAL / f"lung_scc_{n}.geojson"), "annotation_kind": "wta", "split": "test"}
        for n in (2, 3)
    }
    findings = sound.findings()
    assert {f.state for f in findings} == {"ok"}, findings


def test_a_forecast_repeats_an_earlier_run_of_the_same_size_and_grows_with_slides(tmp_path: Path) -> None:
    jobs = {"inspect_slide/a": 4, "inspect_slide/b": 6, "classify_tiles/tone/a": 20, "classify_tiles/tone/b": 40}
    jobs |= {"classify_tiles/other/a": 1000, "train_classifier/tone": 100, "train_classifier/other": 1000, "report": 7}
    for name, seconds in jobs.items():
        path = tmp_path / "benchmarks" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\n{seconds}\t0:00:00\n", encoding="utf-8")
    (tmp_path / "benchmarks/report.part.tsv").write_text("s\n", encoding="utf-8")
    assert measured(tmp_path)["classify_tiles"]["tone", "b"] == 40
    config = {
        **tiny_config(),
        "results": str(tmp_path),
        "resources": {"classify_tiles": {"threads": 2}},
    }
    # On four cores four slides are inspected at once, and two classified; models and the page come one by one.
    assert forecast(config, 4, 2, {})[0] == pytest.approx(10 / 4 + 60 / 2 + 100 + 7)
    assert forecast(config, 1, 20, {})[0] == pytest.approx(100 + 600 + 100 + 7)
    assert "2 slides" in forecast(config, 1, 20, {})[2]
    held = sum(p.stat().st_size for p in tmp_path.rglob("*.tsv"))
    assert forecast(config, 1, 20, {})[1] == held * 10


def test_by_thumb_time_grows_with_tissue_and_falls_with_cores(tmp_path: Path) -> None:
    config = {**tiny_config(), "results": str(tmp_path)}
    little, _, source = forecast(config, 1, 1, {"test": 1.0})
    much, *_ = forecast(config, 1, 1, {"test": 101.0})
    # Two seconds of a core for each of the hundred million pixels at 1 µm/px.
    assert much - little == pytest.approx(200) and "rule of thumb" in source
    assert forecast(config, 4, 1, {"test": 101.0})[0] == pytest.approx(much / 4)
