"""README and docs: every command runs, every snippet is a valid configuration, every link leads somewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from started_snakemake import run_snakemake
from tiny_cohort import (
    Finished,
    clean_environment,
    copy_repository,
    feature_collection,
    paint_slide,
    save_classifier,
    save_refiner,
    with_open_side,
    without_softmax,
)

from drunet.files import write_json

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")])
# They install, or run for minutes; what they call is tested elsewhere.
INSTALLING = {
    "make demo",
    "make test",
    "make torture",
    "make view",
    'make view ARGS="--configfile my_cohort.yaml"',
    "make GPU=1 env",
    "make forget",
    "drunet replay results/runs/drunet/ro-crate.zip results/demo/test_plain.tif",
    "cp -r results/runs/drunet/fastpathology/. ~/fastpathology/",
    "runPipeline ~/fastpathology/command_line/drunet-drunet-heatmap.fpl --slide slide.svs --output heatmap.hdf5",
    "source .venv/bin/activate",
    "PYTHONPATH=scripts .venv/bin/python",
    "docker build --file envs/Dockerfile --tag drunet .",
    "apptainer build drunet.sif envs/drunet.def",
}


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def commands() -> list[str]:
    found = [line for page in PAGES for block in blocks(page, "console") for line in block.strip().splitlines()]
    return list(dict.fromkeys(found))


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which a reader has done what README says, up to the commands."""
    project = copy_repository(tmp_path_factory.mktemp("reader") / "project")
    snippets = {text.splitlines()[0]: text for text in blocks(ROOT / "README.md", "yaml")}
    for name in ("my_cohort.yaml", "finished.yaml"):
        (project / name).write_text(snippets[f"# {name}"], encoding="utf-8")
    rows = next(block for block in blocks(ROOT / "README.md", "text")).splitlines()
    header = rows[0].split()
    folder = project / "cohort"
    for row in [dict(zip(header, line.split(), strict=False)) for line in rows[1:]]:
        for key in ("path", "annotation"):
            if row.get(key):
                (folder / row[key]).parent.mkdir(parents=True, exist_ok=True)
                (folder / row[key]).touch()
    lines = ["\t".join((line.split() + [""] * 6)[: len(header)]) for line in rows]
    (folder / "slides.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for model in ("classifier", "refiner"):
        (project / "models").mkdir(exist_ok=True)
        (project / f"models/{model}.onnx").touch()
    return project


def snakemake(folder: Path, *arguments: str) -> Finished:
    """Run a command as a reader types it, in the folder of the project."""
    return Finished(*run_snakemake(arguments, folder, clean_environment()))


@pytest.mark.parametrize("command", [c for c in commands() if c not in INSTALLING])
def test_every_command_of_the_pages_can_be_planned(reader: Path, command: str) -> None:
    program, *arguments = shlex.split(command)
    if program == "make":
        assert re.search(rf"(?m)^{arguments[0]}: .*## ", (ROOT / "Makefile").read_text(encoding="utf-8"))
        return
    if program == "drunet":
        # The reader's slides are empty files, which is said in a line and no more.
        asked = clean_environment({"PYTHONPATH": os.fspath(ROOT / "scripts")})
        call = [sys.executable, "-m", "drunet_commands.cli", *arguments]
        told = subprocess.run(call, cwd=reader, env=asked, capture_output=True, text=True, check=False)
        assert told.returncode in (0, 1) and "Traceback" not in told.stderr, told.stderr
        return
    assert program == "snakemake"
    # Breast slides are named by nobody's sheet but the reader's own.
    if "resources/full_scale_studies.yaml" in arguments:
        (reader / "no_breast.yaml").write_text(
            "study_settings: {experiments: {labels: {I: null, II: null, III: null, IV: null, VI: null, VII: null}}}\n"
        )
        arguments.insert(arguments.index("my_cohort.yaml"), "no_breast.yaml")
    dry = [] if {"-n", "--unlock"} & set(arguments) else ["-n"]
    done = snakemake(reader, *dry, *arguments)
    assert done.status == 0, done.output[-3000:]


def test_only_installing_commands_are_left_to_other_tests() -> None:
    assert set(commands()) > INSTALLING
    assert len([c for c in commands() if c.startswith("snakemake")]) >= 9


def merged(base: Any, over: Any) -> Any:
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{key: merged(base.get(key), value) for key, value in over.items()}}
    return over


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_snippet_of_a_page_is_a_configuration(page: Path, reader: Path) -> None:
    for number, text in enumerate(blocks(page, "yaml")):
        snippet = yaml.safe_load(text)
        for path in re.findall(r"[\w/]+\.(?:h5|onnx|json)\b", text):
            (reader / path).parent.mkdir(parents=True, exist_ok=True)
            (reader / path).touch()
        snippet.pop("study_settings", None)
        (reader / f"snippet{number}.yaml").write_text(yaml.safe_dump(snippet), encoding="utf-8")
        if snippet:
            done = snakemake(reader, "-n", "--configfile", f"snippet{number}.yaml", "--", "inspect")
            assert done.status == 0, f"{text}\n{done.output[-2000:]}"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda p: p.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)\)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_the_readme_can_be_read_in_five_minutes() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 1200


def test_the_snippets_of_studies_are_settings_that_the_studies_have() -> None:
    (text,) = [t for page in PAGES for t in blocks(page, "yaml") if "study_settings" in t]
    for study, given in yaml.safe_load(text)["study_settings"].items():
        shipped = yaml.safe_load((ROOT / f"workflow/studies/{study}/settings.yaml").read_text(encoding="utf-8"))

        def check(here: dict[str, Any], there: dict[str, Any], where: str) -> None:
            for key, value in here.items():
                assert key in there, f"{where}.{key}"
                if isinstance(value, dict) and isinstance(there[key], dict):
                    check(value, there[key], f"{where}.{key}")

        check(given, shipped, study)


@pytest.mark.slow
def test_every_python_block_of_a_page_runs_in_order(tmp_path: Path) -> None:
    """As a reader types them into one session, in a folder with a slide, its annotation and two models."""
    for folder in ("slides", "models", "annotations"):
        (tmp_path / folder).mkdir()
    outline = paint_slide(tmp_path / "slides/001.svs", seed=1, aperio=True)
    write_json(tmp_path / "annotations/001.geojson", feature_collection(outline))
    save_classifier(tmp_path / "models/classifier.onnx", 64)
    save_refiner(tmp_path / "models/refiner.onnx")
    without_softmax(tmp_path / "models/classifier.onnx", tmp_path / "models/logits.onnx")
    with_open_side(tmp_path / "models/refiner.onnx", tmp_path / "models/any_square.onnx")
    (page,) = [page for page in PAGES if blocks(page, "python")]
    code = blocks(page, "python")
    assert "PYTHONPATH=scripts" in page.read_text(encoding="utf-8") and len(code) >= 6
    done = subprocess.run(
        # The tumour was drawn, so how well it has to be found is known.
        [sys.executable, "-c", "\n".join([*code, "assert scores.dsc > 0.8, scores"])],
        cwd=tmp_path,
        env=clean_environment({"PYTHONPATH": os.fspath(ROOT / "scripts"), "MPLBACKEND": "agg"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    area, *_, dice = done.stdout.splitlines()
    assert re.fullmatch(r"0\.0[234] mm²", area) and dice.startswith("Dice 0.")
    assert "lost.svs: the slide file is not there" in done.stdout
    assert (tmp_path / "001.png").stat().st_size > 0 and (tmp_path / "001.geojson").stat().st_size > 0
