"""One finished run of the whole workflow on a tiny cohort, shared by the tests of the rules and of the whole."""

from __future__ import annotations

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
    """A copy of the workflow: what tests edit in it does not touch the one that is worked on."""
    from tiny_cohort import copy_repository

    return copy_repository(tmp_path_factory.mktemp("repository") / "drunet")


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> tuple[Project, Finished]:
    """The project after an undisturbed run, and what the run printed. Not to be changed: copy it."""
    from tiny_cohort import make_project

    project = make_project(tmp_path_factory.mktemp("finished") / "project", repository)
    done = project.run()
    assert done.status == 0, done.output
    return project, done


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
