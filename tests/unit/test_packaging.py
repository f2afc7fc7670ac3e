"""What a stranger installs and runs: lock files, environments, profiles, and nothing of the machine behind them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.lock", "requirements-gpu.lock")
CONDA = sorted((ROOT / "envs").glob("*.yaml"))
PROFILES = sorted((ROOT / "profiles").glob("*/profile.yaml"))


def locked(name: str) -> dict[str, list[tuple[Requirement, int]]]:
    """Read a lock file: canonical name -> its entries (one per marker) and how many hashes each has."""
    entries: dict[str, list[tuple[Requirement, int]]] = {}
    for block in re.split(r"(?m)^(?=[A-Za-z0-9])", (ROOT / "envs" / name).read_text(encoding="utf-8")):
        if not block.strip():
            continue
        requirement = Requirement(block.split("\\")[0].split("\n")[0])
        hashes = re.findall(r"--hash=sha256:[0-9a-f]{64}\b", block)
        entries.setdefault(canonicalize_name(requirement.name), []).append((requirement, len(hashes)))
    return entries


def pin(name: str, lock: str, **environment: str) -> str | None:
    """Version that a lock file gives a package under these markers, or None."""
    marker = {**default_environment(), **environment}
    for requirement, _ in locked(lock).get(canonicalize_name(name), []):
        if requirement.marker is None or requirement.marker.evaluate(marker):
            return str(requirement.specifier).removeprefix("==")
    return None


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def python_markers(version: str) -> dict[str, str]:
    return {"python_version": version, "python_full_version": f"{version}.5"}


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_one_exact_version_and_hashes(name: str) -> None:
    entries = [entry for several in locked(name).values() for entry in several]
    assert len(entries) > 100
    loose = [str(r) for r, _ in entries if not re.fullmatch(r"==[^*,]+", str(r.specifier))]
    assert loose == []
    assert [str(r) for r, hashes in entries if hashes == 0] == []


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_names_no_index_and_no_address(name: str) -> None:
    text = (ROOT / "envs" / name).read_text(encoding="utf-8")
    assert re.findall(r".*://.*|^-.*", text, flags=re.MULTILINE) == []


@pytest.mark.parametrize("name", LOCKS)
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.slow
def test_the_lock_satisfies_every_requirement_of_pyproject(name: str, python: str) -> None:
    extras = project()["optional-dependencies"]
    wanted = project()["dependencies"] + extras["dev"] + extras["slurm"]
    wanted += extras["gpu"] if "gpu" in name else []
    missing = []
    for line in wanted:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({**default_environment(), **python_markers(python)}):
            continue
        version = pin(requirement.name, name, **python_markers(python))
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            missing.append(f"{line}: locked {version}; run `make lock`")
    assert missing == []


def test_both_locks_agree_where_they_overlap() -> None:
    cpu, gpu = ({n: [str(r) for r, _ in e] for n, e in locked(name).items()} for name in LOCKS)
    assert {n: r for n, r in cpu.items() if gpu.get(n) != r} == {}
    assert any(n.startswith("nvidia-") for n in gpu.keys() - cpu.keys())


@pytest.mark.parametrize("path", CONDA, ids=lambda p: p.stem)
def test_a_conda_environment_pins_what_the_lock_pins(path: Path) -> None:
    dependencies = yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]
    (python,) = [d.removeprefix("python=") for d in dependencies if isinstance(d, str) and d.startswith("python=")]
    (pip,) = [d["pip"] for d in dependencies if isinstance(d, dict)]
    assert python in ("3.11", "3.12", "3.13")
    wrong = []
    for line in pip:
        requirement = Requirement(line)
        platform = "darwin" if requirement.marker and '== "darwin"' in str(requirement.marker) else "linux"
        version = pin(requirement.name, LOCKS[0], sys_platform=platform, **python_markers(python))
        if str(requirement.specifier) != f"=={version}":
            wrong.append(f"{line}: the lock has {version}")
    assert wrong == []


def test_conda_environments_together_hold_every_runtime_dependency() -> None:
    held = set()
    for path in CONDA:
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]:
            held |= {canonicalize_name(Requirement(p).name) for p in entry["pip"]} if isinstance(entry, dict) else set()
    wanted = {canonicalize_name(Requirement(line).name) for line in project()["dependencies"]}
    # They run the workflow and show it, and none of its jobs: they stay in the environment that it is started from.
    assert wanted - held == {"snakemake", "rich", "starlette", "uvicorn"}


def snakemake_options() -> set[str]:
    from snakemake.cli import get_argument_parser

    return {s[2:] for action in get_argument_parser()._actions for s in action.option_strings if s.startswith("--")}


@pytest.mark.parametrize("path", PROFILES, ids=lambda p: p.parent.name)
def test_a_profile_uses_only_options_that_snakemake_has(path: Path) -> None:
    profile = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(profile) - snakemake_options() == set()
    assert profile["rerun-incomplete"] is True
    assert "keep-incomplete" not in profile


@pytest.mark.parametrize("path", PROFILES, ids=lambda p: p.parent.name)
def test_snakemake_reads_a_profile_as_it_was_meant(path: Path) -> None:
    from snakemake.cli import get_argument_parser, parse_config

    profile = yaml.safe_load(path.read_text(encoding="utf-8"))
    args = get_argument_parser(profiles=[str(path)]).parse_args([])
    assert args.rerun_incomplete and args.keep_going and not args.printshellcmds
    assert args.executor == profile.get("executor")
    assert args.group_components == profile.get("group-components", {})
    settings = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    for section, values in parse_config(args.config).items():
        assert values == profile["config"][section], "numbers in a profile's config arrive as text"
        assert set(values) <= set(settings[section]), f"config.yaml has no such key under {section}"


def test_the_profiles_agree_on_what_each_has_to_repeat() -> None:
    keys = ("rerun-incomplete", "keep-going", "scheduler", "scheduler-subsample")
    keys += ("printshellcmds", "quiet", "default-resources")
    found = [{k: yaml.safe_load(p.read_text(encoding="utf-8"))[k] for k in keys} for p in PROFILES]
    assert len(found) == 3
    assert all(profile == found[0] for profile in found)


def tracked_text() -> dict[str, str]:
    """Text of every file that git tracks or would track."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout, so what is tracked is unknown")
    texts = {}
    for name in filter(None, names):
        content = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b"\0"
        if b"\0" not in content:
            texts[name] = content.decode("utf-8", errors="replace")
    return texts


def test_no_tracked_file_knows_the_machine_or_a_package_index() -> None:
    here = "|".join(re.escape(str(path)) for path in (ROOT, ROOT.parent / "shared"))
    home = r"/(?:root|home/[\w.-]+|Users/[\w.-]+)/"
    index = r"https?://[^\s/]+/(?:simple|packages)/|--(?:extra-)?index-url|pythonhosted\.org"
    pattern = re.compile(rf"(?<![\w.])(?:{here}|{home})|{index}")
    found = [f"{name}: {match.group()}" for name, text in tracked_text().items() for match in pattern.finditer(text)]
    assert found == []


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def makefile(target: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    settings = [f"{name}={value}" for name, value in variables.items()]
    command = ["make", "-f", str(ROOT / "Makefile"), "-C", str(folder), target, *settings]
    # A make that runs these tests hands its own flags down, which would print more than asked.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def bare_folder(tmp_path: Path) -> Path:
    """Make a project folder that has a lock file, what it was made from, and no environment."""
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "requirements.lock").write_text("", encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text("", encoding="utf-8")
    return tmp_path


def stand_in(folder: Path, name: str, script: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@needs_make
def test_make_without_a_target_lists_every_target_that_has_a_comment() -> None:
    listing = makefile("help", ROOT).stdout
    documented = re.findall(r"(?m)^([a-z]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"))
    known = {
        "help",
        "env",
        "demo",
        "doctor",
        "sheet",
        "progress",
        "view",
        "test",
        "torture",
        "kills",
        "cluster",
        "soak",
        "replay",
        "withdraw",
        "lint",
        "format",
        "schema",
        "sizes",
        "bench",
        "bill",
        "lock",
        "forget",
        "clean",
    }
    assert set(documented) == known
    assert re.findall(r"(?m)^  make ([a-z]+)", listing) == documented


@needs_make
@pytest.mark.parametrize("name", ["my project", "a b/c", "Eigene Dateien"])
def test_make_says_that_jobs_start_in_no_folder_with_a_blank(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir(parents=True)
    done = makefile("env", tmp_path / name)
    assert done.returncode != 0 and "There is a blank in the path of this folder" in done.stderr
    assert list((tmp_path / name).iterdir()) == []


@needs_make
def test_make_forgets_the_names_that_snakemake_keeps_and_no_result(tmp_path: Path) -> None:
    kept = [".snakemake/incomplete/x", "results/slides.tsv", "results/logs/a.log"]
    names = [".snakemake/metadata/cmVz", ".snakemake/log/a.log", ".snakemake/scripts/s.py", ".snakemake/iocache/y.pkl"]
    for name in [*kept, *names]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("slides/Nordmann.svs")
    (tmp_path / ".snakemake/locks").mkdir()
    (tmp_path / ".snakemake/locks/0.input.lock").touch()
    assert "A run is going on there" in makefile("forget", ROOT, FOLDER=str(tmp_path)).stderr
    (tmp_path / ".snakemake/locks/0.input.lock").unlink()
    assert makefile("forget", ROOT, FOLDER=str(tmp_path)).returncode == 0
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()) == sorted(kept)


@needs_make
def test_make_says_which_python_it_lacks(bare_folder: Path) -> None:
    old = stand_in(bare_folder, "python-too-old", "exit 1")
    done = makefile("env", bare_folder, PYTHON=old)
    assert done.returncode != 0
    assert "No Python 3.11, 3.12 or 3.13" in done.stderr
    assert old in done.stderr
    assert not (bare_folder / ".venv").exists()


@needs_make
def test_make_says_that_the_venv_module_is_missing(bare_folder: Path) -> None:
    bare = stand_in(bare_folder, "python3.11", 'case "$2" in *ensurepip*) exit 1;; esac; exit 0')
    done = makefile("env", bare_folder, PYTHON=bare)
    assert done.returncode != 0
    assert "apt install python3-venv (or python3.11-venv)" in done.stderr


# A stand-in for Python whose `-m venv` makes a folder with itself as the interpreter and whose pip does as told.
PYTHON = """
case "$*" in
  *'-m venv'*) mkdir -p .venv/bin; cp "$0" .venv/bin/python; echo made >> venvs;;
  *'pip --version'*) ;;
  *'pip install'*) {pip};;
esac
exit 0
"""


@needs_make
def test_a_failed_install_leaves_no_stamp_and_shows_why(bare_folder: Path) -> None:
    pip = "echo 'WARNING: Retrying after NewConnectionError'; echo 'ERROR: the last line'; exit 1"
    done = makefile("env", bare_folder, PYTHON=stand_in(bare_folder, "python3.12", PYTHON.format(pip=pip)))
    assert done.returncode != 0
    assert "ERROR: the last line" in done.stderr
    assert "index could not be reached" in done.stderr
    assert list((bare_folder / ".venv").glob(".installed*")) == []


@needs_make
def test_an_install_cut_short_is_begun_afresh_and_a_whole_one_is_kept(bare_folder: Path) -> None:
    python = stand_in(bare_folder, "python3.12", PYTHON.format(pip='echo "$*" >> installs'))
    assert makefile("env", bare_folder, PYTHON=python).returncode == 0
    installs = (bare_folder / "installs").read_text(encoding="utf-8").splitlines()
    *locked, own = installs
    assert len(locked) == 2 and all("--require-hashes" in call and "--no-deps" in call for call in locked)
    assert "--no-index" in own and own.endswith("--editable .")

    makefile("env", bare_folder, PYTHON=python)
    assert (bare_folder / "installs").read_text(encoding="utf-8").splitlines() == installs

    later = (bare_folder / ".venv" / ".installed-requirements.lock").stat().st_mtime + 60
    os.utime(bare_folder / "envs" / "requirements.lock", (later, later))
    makefile("env", bare_folder, PYTHON=python)
    assert len((bare_folder / "installs").read_text(encoding="utf-8").splitlines()) == 6
    assert (bare_folder / "venvs").read_text(encoding="utf-8") == "made\n"

    (bare_folder / ".venv" / ".installing").touch()
    (bare_folder / ".venv" / ".installed-requirements.lock").unlink()
    makefile("env", bare_folder, PYTHON=python)
    assert (bare_folder / "venvs").read_text(encoding="utf-8") == "made\nmade\n"


@needs_make
def test_the_last_line_of_a_ci_run_is_pytests_own_summary(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "run").write_bytes((ROOT / ".ci" / "run").read_bytes())
    lines = "@echo '=== 1 failed, 2 passed in 3.21s ==='; echo 'make: complaint'; exit 1"
    (tmp_path / "Makefile").write_text(f"test:\n\t{lines}\nlint:\n\t@echo linted\n", encoding="utf-8")
    done = subprocess.run(["bash", str(tmp_path / ".ci" / "run")], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 1
    assert "linted" in done.stdout
    assert done.stdout.splitlines()[-1] == "=== 1 failed, 2 passed in 3.21s ==="


def test_no_rule_asks_for_cores_that_a_cluster_does_not_tell() -> None:
    # `workflow.cores` raises where jobs go to a cluster, and a dry run hides it.
    rules = [*ROOT.glob("workflow/**/*.smk"), ROOT / "Snakefile"]
    assert len(rules) > 20
    assert [path.name for path in rules if "workflow.cores" in path.read_text(encoding="utf-8")] == []


RECIPES = ("Dockerfile", "drunet.def")


def recipe(name: str) -> list[str]:
    """Lines of an image's recipe, without comments and blanks."""
    text = (ROOT / "envs" / name).read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("name", RECIPES)
def test_an_image_is_built_from_a_pinned_base_and_the_lock_alone(name: str) -> None:
    lines = recipe(name)
    (base,) = [line.split()[1] for line in lines if line.lower().startswith("from")]
    version = re.fullmatch(r"python:(\d+\.\d+)\.\d+-slim-[a-z]+", base)
    assert version and version[1] in ("3.11", "3.12", "3.13")
    assert not [line for line in lines if re.search(r"\b(ADD|curl|wget|apt-get|latest)\b", line)]
    (lock,) = {match for line in lines for match in re.findall(r"LOCK=(\S+)", line)}
    assert lock in LOCKS and any("sh envs/install.sh" in line for line in lines)
    copied = [line.split() for line in lines if line.startswith("COPY") or re.search(r" /opt/drunet/\S+$", line)]
    sources = {word for words in copied for word in (words[1:-1] if words[0] == "COPY" else words[:1])}
    # What a run reads from the project's folder.
    assert {path for path in sources if not (ROOT / path).exists()} == set()
    assert sources == {"pyproject.toml", "README.md", "LICENSE", "Snakefile", "config.yaml", "envs", "profiles"} | {
        "resources",
        "scripts",
        "workflow",
    }
    installing = (ROOT / "envs/install.sh").read_text(encoding="utf-8")
    calls = [line for line in installing.splitlines() if line.startswith("$pip")]
    assert len(calls) == 3 and all("--require-hashes" in call or "--no-index" in call for call in calls)


def test_nobody_is_root_in_the_docker_image_and_its_builder_gets_what_it_copies() -> None:
    lines = recipe("Dockerfile")
    users = [line.split()[1] for line in lines if line.startswith("USER")]
    assert users and users[-1].isdigit() and int(users[-1]) > 0
    kept = {line.removeprefix("!") for line in recipe("Dockerfile.dockerignore") if line.startswith("!")}
    copied = {word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]}
    assert kept == copied and recipe("Dockerfile.dockerignore")[0] == "*"


def test_a_linter_of_dockerfiles_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, str(ROOT / "envs/Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_lock_is_installed_in_an_image_as_by_make(tmp_path: Path) -> None:
    """With a stand-in for Python that writes down what pip is asked."""
    stand_in(tmp_path, "python", f'echo "$*" >> {tmp_path}/calls')
    lock = tmp_path / "some.lock"
    lock.write_text(
        "numpy==2 \\\n    --hash=sha256:0\nsetuptools==80 \\\n    --hash=sha256:1\nwheel==1\n", encoding="utf-8"
    )
    done = subprocess.run(
        ["sh", str(ROOT / "envs/install.sh"), str(lock), "project"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        check=False,
    )
    assert done.returncode == 0
    first, second, own = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    assert "build.lock" in first and second.endswith(f"-r {lock}") and own.endswith("--editable project")
    assert all("--no-deps" in call for call in (first, second, own))


def test_the_workflow_catalog_is_told_what_is_true() -> None:
    told = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))["usage"]
    assert set(told) == {"mandatory-flags", "software-stack-deployment"} and told["mandatory-flags"]["flags"] == []
    rules = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("workflow/rules/*.smk"))
    assert told["software-stack-deployment"] == {
        "conda": "conda:" in rules,
        "apptainer": "container: config" in (ROOT / "Snakefile").read_text(encoding="utf-8"),
        "apptainer+conda": False,
        "report": "report(" in rules,
    }
