"""One finished run of the whole workflow on a tiny cohort, shared by the tests of the rules and of the whole."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    # Imported where needed, for unit tests need neither ONNX nor Snakemake.
    from tiny_cohort import Finished, Project

pytest_plugins = ["small_slides"]

# A busy machine is no failure of what is tested.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the workflow. Not to be changed: its rules are those of the finished project too."""
    from tiny_cohort import copy_repository

    with made_once(tmp_path_factory, "repository") as (folder, new):
        return copy_repository(folder / "drunet") if new else folder / "drunet"


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> tuple[Project, Finished]:
    """The project after an undisturbed run, and what the run printed. Not to be changed: copy it."""
    from tiny_cohort import Finished, Project, make_project

    with made_once(tmp_path_factory, "finished") as (folder, new):
        printed = folder / "printed.txt"
        if new:
            done = make_project(folder / "project", repository).run()
            assert done.status == 0, done.output
            printed.write_text(done.output, encoding="utf-8")
        return Project.read(folder / "project", repository), Finished(0, printed.read_text(encoding="utf-8"))


@contextmanager
def made_once(factory: pytest.TempPathFactory, name: str) -> Iterator[tuple[Path, bool]]:
    """A folder that all processes of this session share, and whether it is for this one to fill."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = shared / name, shared / f"{name}.done"
    with (shared / f"{name}.lock").open("w") as lock:
        # Held until the folder is filled: the others wait.
        fcntl.flock(lock, fcntl.LOCK_EX)
        new = not done.is_file()
        if new:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        yield folder, new
        done.touch()


@pytest.fixture(scope="session")
def finished(finished_run: tuple[Project, Finished]) -> Project:
    """Not to be changed: take `own_copy`."""
    return finished_run[0]


@pytest.fixture
def own_copy(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project that a test may change; everything in it counts as done."""
    return finished.copy_to(tmp_path / "project")


@pytest.fixture
def new_project(repository: Path, tmp_path: Path) -> Project:
    """A project in which nothing has been run."""
    from tiny_cohort import make_project

    return make_project(tmp_path / "new", repository)
