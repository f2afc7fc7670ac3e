"""GPUs that are handed out, on a machine that need not have one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from drunet import devices


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def seen() -> str | None:
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def test_jobs_at_once_have_a_gpu_each_and_share_when_there_are_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    def listed() -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-1f/3")

    listed()
    with devices.taken(1):
        assert seen() == "2"
        listed()
        with devices.taken(1):
            assert seen() == "GPU-1f/3"
            listed()
            with devices.taken(1):
                assert seen() == "2, GPU-1f/3"
    listed()
    with devices.taken(1):
        assert seen() == "2"


@pytest.mark.parametrize(("named", "count"), [("0", 1), ("0,1", 2), ("", 1), ("-1", 0), ("0,1", 0)])
def test_nothing_changes_where_there_is_nothing_to_choose(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: str, count: int
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    with devices.taken(count):
        assert seen() == named and not list(tmp_path.iterdir())


def test_two_are_taken_together_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    with devices.taken(2):
        assert seen() == "0,1"
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
        with devices.taken(2):
            assert seen() == "0,1,2"
            with devices.taken(1):
                assert seen() == "2"


def test_without_a_list_those_of_the_driver_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "_DRIVER", tmp_path / "none")
    assert devices.visible() == []
    for place in ("0000:3b:00.0", "0000:af:00.0"):
        (tmp_path / "gpus" / place).mkdir(parents=True)
    monkeypatch.setattr(devices, "_DRIVER", tmp_path / "gpus")
    assert devices.visible() == ["0", "1"]


def test_a_process_that_is_killed_gives_its_gpu_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    code = "from drunet import devices\nwith devices.taken(1):\n    print('held', flush=True)\n    input()"
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdin=pipe, stdout=pipe) as other:
        assert other.stdout and other.stdout.readline() == b"held\n"
        with devices.taken(1):
            assert seen() == "1"
        other.kill()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with devices.taken(1):
        assert seen() == "0"
