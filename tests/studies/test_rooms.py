"""A room for the product and one for each study: what stands where, who may know whom, and a study that is added."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tiny_cohort import ROOT, Project, clean_environment, copy_repository, make_project

from drunet.files import sha256
from studies.common.study_settings import targets_of

FOLDER = ROOT / "workflow/studies"
STUDIES = sorted(p.name for p in FOLDER.iterdir() if p.is_dir() and p.name not in ("common", "__pycache__"))
# Names of studies that are the field's words for something of the product too.
WORDS = {"backbones", "clustering", "experiments", "multi_lens", "saliency", "sampling", "scores", "top_skip"}


# What stands in a study's folder


def test_there_are_studies_and_each_has_settings() -> None:
    assert len(STUDIES) >= 13
    assert sorted(path.parent.name for path in FOLDER.glob("*/settings.yaml")) == STUDIES


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_has_its_rules_settings_targets_and_page(name: str) -> None:
    for file in ("__init__.py", "rules.smk", "settings.yaml", "settings.py", "scripts/make_page.py"):
        assert (FOLDER / name / file).is_file(), file
    rules = (FOLDER / name / "rules.smk").read_text(encoding="utf-8")
    for target in targets_of(name):
        assert re.search(rf"^rule {target}:\n    input:", rules, re.MULTILINE), target
    assert f"results>/studies/{name}/report.html" in rules
    assert rules.count('"scripts/make_page.py"') == 1
    settings = yaml.safe_load((FOLDER / name / "settings.yaml").read_text(encoding="utf-8"))
    assert isinstance(settings, dict) and settings


# Who may know whom


def imported(path: Path, roots: tuple[Path, ...]) -> Iterator[str]:
    """Names that a module, a script or a file of rules imports, anywhere in it; relative ones are completed."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".smk":
        # Snakemake's language is no Python: its lines of imports are.
        lines = re.findall(r"^\s*((?:from [\w.]+ )?import [\w ,.*]+)$", text, re.MULTILINE)
        assert len(lines) == len(re.findall(r"^\s*(?:from .*)?\bimport\b", text, re.MULTILINE)), path
        text = "\n".join(lines)
    root = next((r for r in roots if path.is_relative_to(r)), path.parent)
    package = path.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def rooms(path: Path) -> set[str]:
    """The rooms of the studies that a file imports: `common` or a study."""
    names = [name.split(".") for name in imported(path, (ROOT / "workflow", ROOT / "scripts"))]
    return {parts[1] if len(parts) > 1 else "" for parts in names if parts[0] == "studies"}


def code_in(folder: Path) -> list[Path]:
    found = [path for path in folder.rglob("*") if path.suffix in (".py", ".smk")]
    assert found, folder
    return found


def test_imports_are_seen_in_every_form(tmp_path: Path) -> None:
    forms = {
        "import studies.moon.tables as t": {"moon"},
        "from studies.moon import tables": {"moon"},
        "from studies import moon, sun": {"moon", "sun"},
        "def late():\n    from studies.moon.tables import x": {"moon"},
        "import studies": {""},
        "from drunet import slide": set(),
    }
    for number, (text, expected) in enumerate(forms.items()):
        for suffix in (".py", ".smk"):
            path = tmp_path / f"form_{number}{suffix}"
            path.write_text(text + "\n", encoding="utf-8")
            assert rooms(path) == expected, text
    (tmp_path / "workflow/studies/sun").mkdir(parents=True)
    inside = tmp_path / "workflow/studies/sun/tables.py"
    inside.write_text("from ..moon import tables\nfrom . import figures\n", encoding="utf-8")
    assert set(imported(inside, (tmp_path / "workflow",))) == {"studies.moon.tables", "studies.sun.figures"}


@pytest.mark.parametrize("name", STUDIES)
def test_no_module_script_or_rule_of_a_study_imports_another_study(name: str) -> None:
    found = {path: rooms(path) - {name, "common"} for path in code_in(FOLDER / name)}
    assert {path: names for path, names in found.items() if names} == {}


def test_what_the_studies_share_imports_no_study() -> None:
    found = {path: rooms(path) - {"common"} for path in code_in(FOLDER / "common")}
    assert {path: names for path, names in found.items() if names} == {}


def test_nothing_of_the_product_imports_a_study() -> None:
    found = {path: rooms(path) for path in [*code_in(ROOT / "scripts"), *code_in(ROOT / "workflow/rules")]}
    assert {path: names for path, names in found.items() if names} == {}


def test_the_product_names_no_study() -> None:
    own = "|".join(sorted(set(STUDIES) - WORDS))
    # `study_settings` is a key that the product passes on. A word of the field is a study only where it stands as one.
    pattern = re.compile(rf"\b(?:{own})\b|\bstudies[./]\w|\bstudy_(?:{'|'.join(STUDIES)})\b")
    assert set(STUDIES) > WORDS and pattern.search("from studies.sampling import arms") and pattern.search("ct_boxes")
    found = []
    for folder in (ROOT / "scripts/drunet", ROOT / "scripts/drunet_commands", ROOT / "workflow/rules"):
        for path in sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".smk", ".html", ".css", ".j2")):
            found += [f"{path.name}: {m.group()}" for m in pattern.finditer(path.read_text(encoding="utf-8"))]
    assert found == []


# The contracts of imports

CONTRACTS = {
    "product": "The product knows no study",
    "studies": "A study imports no other study, and what they share imports none",
    "layers": "Imports point one way: a room imports those below it in this list, never one above",
    "commands": "One command imports those below it in this list, never one above",
    "circular": "No circular imports between modules or packages",
}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of both packages, and of the contracts."""
    folder = tmp_path_factory.mktemp("contracts")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for package in ("scripts/drunet", "scripts/drunet_commands", "workflow/studies"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def lint(folder: Path) -> tuple[int, set[str]]:
    """Exit status of import-linter, and the contracts that are broken."""
    code = "from importlinter.cli import lint_imports_command as lint; lint()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--no-cache"],
        cwd=folder,
        env=clean_environment({"PYTHONPATH": f"{folder}/scripts:{folder}/workflow", "COLUMNS": "300"}),
        capture_output=True,
        text=True,
        check=False,
    )
    said = re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;]*m", "", done.stdout))
    assert "Contracts: " in said, done.stdout + done.stderr
    broken = {key for key, name in CONTRACTS.items() if f"{name} BROKEN" in said}
    assert len(broken) == int(re.findall(r"(\d+) broken", said)[-1]), said
    return done.returncode, broken


def test_the_contracts_hold(packages: Path) -> None:
    assert lint(packages) == (0, set())


@pytest.mark.parametrize(
    ("module", "text", "contracts"),
    [
        ("scripts/drunet/planted.py", "import studies.top_skip.section\n", "product"),
        ("scripts/drunet/planted.py", "def late():\n    from studies.common import cost\n", "product"),
        ("workflow/studies/top_skip/planted.py", "from studies.saliency import figure\n", "studies"),
        ("workflow/studies/common/images/planted.py", "from studies.ct_boxes import tasks\n", "studies circular"),
        ("scripts/drunet/grid.py", "from drunet.report import page\n", "layers circular"),
        ("scripts/drunet/report/planted.py", "from drunet_commands import doctor\n", "layers"),
        ("scripts/drunet_commands/forecast.py", "from drunet_commands import doctor\n", "commands circular"),
        ("scripts/drunet/report/tables.py", "from drunet.report import page\n", "circular"),
        ("workflow/studies/common/errors.py", "from studies.common.ct import files\n", "circular"),
    ],
)
def test_a_planted_import_breaks_its_contract(packages: Path, module: str, text: str, contracts: str) -> None:
    path = packages / module
    before = path.read_text(encoding="utf-8") if path.exists() else None
    path.write_text((before or "") + text, encoding="utf-8")
    try:
        status, broken = lint(packages)
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_text(before, encoding="utf-8")
    assert status != 0 and broken == set(contracts.split())


# A study that is added: a folder of six files


def six_files(name: str, factor: int, value: int) -> dict[str, str]:
    """A study whose page says factor times value: one is a setting, the other stands in a module of its own."""
    rules = f'''"""Add nothing: `snakemake --cores N study_{name}`."""

from studies.{name}.tables import UNIT

{name.upper()} = study("{name}")


rule study_{name}:
    input:
        "<results>/studies/{name}/report.html",


rule report_{name}:
    output:
        page="<results>/studies/{name}/report.html",
    log:
        "<logs>/report_{name}.log",
    params:
        factor={name.upper()}["factor"],
        unit=UNIT,
        code=lambda wildcards: study_code("{name}", "make_page"),
    script:
        "scripts/make_page.py"
'''
    page = f'''"""Make the page."""

from drunet.console import job
from drunet.files import write_text
from studies.{name} import tables

with job(snakemake.log[0]):
    params = snakemake.params
    write_text(snakemake.output.page, f"{{tables.NAME}} {{params.factor * tables.VALUE}} {{params.unit}}")
'''
    settings = f'''"""What the settings may be."""

from pydantic import Field

from drunet.settings.base import Block


class Settings(Block):
    """Settings of study_{name}."""

    factor: int = Field(ge={factor})
    """what the value is multiplied by"""
'''
    return {
        "__init__.py": "",
        "rules.smk": rules,
        "settings.yaml": f"factor: {factor}\n",
        "settings.py": settings,
        "tables.py": f'NAME, VALUE, UNIT = "{name}", {value}, "{name}-px"\n',
        "scripts/make_page.py": page,
    }


def add(repository: Path, name: str, factor: int, value: int) -> None:
    for file, text in six_files(name, factor, value).items():
        path = repository / "workflow/studies" / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def files_of(repository: Path) -> dict[str, str]:
    files = [p for p in repository.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    return {p.relative_to(repository).as_posix(): sha256(p) for p in files}


def page_of(project: Project, name: str) -> str:
    return (project.results / f"studies/{name}/report.html").read_text(encoding="utf-8")


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_two_studies_are_added_by_their_folders_alone_and_do_not_see_each_others_files(tmp_path: Path) -> None:
    repository = copy_repository(tmp_path / "drunet")
    shipped = files_of(repository)
    project = make_project(tmp_path / "project", repository)
    add(repository, "sun", 2, 11)
    done = project.run("study_sun")
    assert done.status == 0, done.output
    assert done.rules() == {"report_sun": 1, "study_sun": 1}
    assert page_of(project, "sun") == "sun 22 sun-px"

    # Another with files of the same names: it has its own, and the first is not made anew.
    add(repository, "moon", 3, 5)
    assert {p.split("/", 3)[3] for p in set(files_of(repository)) - set(shipped)} == set(six_files("sun", 1, 1))
    done = project.run("study_sun", "study_moon")
    assert done.status == 0, done.output
    assert done.rules() == {"report_moon": 1, "study_moon": 1}
    assert page_of(project, "moon") == "moon 15 moon-px"
    assert page_of(project, "sun") == "sun 22 sun-px"

    # What one has no business with: the other's module, and the other's settings and their bounds.
    (repository / "workflow/studies/moon/tables.py").write_text(
        'NAME, VALUE, UNIT = "moon", 7, "moon-px"\n', encoding="utf-8"
    )
    project.config["study_settings"] = {"sun": {"factor": 2}, "moon": {"factor": 4}}
    done = project.write().run("study_sun", "study_moon")
    assert done.status == 0, done.output
    assert done.rules() == {"report_moon": 1, "study_moon": 1}
    assert page_of(project, "moon") == "moon 28 moon-px"
    project.config["study_settings"] = {"sun": {"factor": 2}, "moon": {"factor": 2}}
    refused = project.write().dry_run("study_moon")
    assert refused.status != 0 and "study_settings.moon.factor" in refused.output
    assert project.dry_run("study_sun").status == 0

    # A study is found by its folder: no file that ships was touched.
    now = files_of(repository)
    assert {name: now[name] for name in shipped} == shipped


# The product alone


@pytest.mark.slow
def test_without_the_studies_the_product_plans_the_same(finished: Project, tmp_path: Path) -> None:
    bare = copy_repository(tmp_path / "drunet")
    shutil.rmtree(bare / "workflow/studies")
    lines = (bare / "Snakefile").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith('include: "workflow/studies/')]
    assert len(lines) - len(kept) == 2
    (bare / "Snakefile").write_text("".join(kept), encoding="utf-8")

    everything = finished.dry_run("--forceall", "all")
    project = finished.copy_to(tmp_path / "project")
    project.repository = bare
    alone = project.dry_run("--forceall", "all")
    assert alone.status == 0, alone.output
    assert alone.rules() == everything.rules() and alone.rules()["report"] == 1
    # Nothing that was made with the studies beside it is made again, but for the page: it reads the published figures
    # from the folder of the workflow, which is another here.
    assert project.dry_run("all").rules() == {"all": 1, "report": 1}
    assert "study_top_skip" not in project.run("--list-target-rules").output
