"""Snakemake, and the Python of its jobs, imported once and forked for each run: most of a small run is imports.

`python started_snakemake.py snakemake` reads a request a line and writes an exit status a line; `python
started_snakemake.py jobs` listens on a socket, and forked Snakemakes ask it to run their jobs' scripts. Nothing of the
project is imported before a fork. What has to be a process of its own, because a test kills it, is none of this.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

JOBS = "DRUNET_TEST_JOBS"


class Started:
    """A Snakemake that waits to be forked, for one thread of a test process."""

    def __init__(self) -> None:
        command = [sys.executable, __file__, "snakemake"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        atexit.register(self.end)

    def end(self) -> None:
        """Let it end, and wait, so that its time counts as this process's."""
        assert self.process.stdin
        with suppress(OSError):
            self.process.stdin.close()
        self.process.wait()

    def run(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: float
    ) -> tuple[int, str]:
        """As `run_snakemake`."""
        assert self.process.stdin and self.process.stdout
        with tempfile.NamedTemporaryFile() as output:
            asked = {"arguments": [*arguments], "folder": str(folder), "environment": dict(environment)}
            self.process.stdin.write(json.dumps({**asked, "output": output.name}) + "\n")
            self.process.stdin.flush()
            alarm = threading.Timer(seconds, self.process.kill)
            alarm.start()
            answer = self.process.stdout.readline()
            alarm.cancel()
            said = Path(output.name).read_text(encoding="utf-8")
            if not answer:
                raise TimeoutError(f"Snakemake ran for {seconds:.0f} s, or ended without an answer:\n{said}")
            return int(answer), said


_own = threading.local()
_starting = threading.Lock()
_jobs: list[str] = []


def run_snakemake(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: float = 280
) -> tuple[int, str]:
    """Exit status of `snakemake` with these arguments, and everything that it printed.

    Raises TimeoutError after so many seconds.
    """
    started = getattr(_own, "started", None)
    if started is None or started.process.poll() is not None:
        started = _own.started = Started()
    return started.run(arguments, folder, {**environment, JOBS: _listening()}, seconds)


def _listening() -> str:
    """The socket of the process that runs jobs; it is started with the first run."""
    with _starting:
        if not _jobs:
            folder = tempfile.mkdtemp(prefix="jobs")
            process = subprocess.Popen([sys.executable, __file__, "jobs", folder], stdout=subprocess.PIPE)
            assert process.stdout and process.stdout.readline()
            _jobs.append(f"{folder}/socket")
            atexit.register(lambda: (process.kill(), process.wait(), shutil.rmtree(folder, ignore_errors=True)))
    return _jobs[0]


# In the started processes


def _serve_snakemake() -> None:
    # With what the rules import while they are read.
    import pandas  # noqa: F401
    import pydantic  # noqa: F401
    import smart_open  # noqa: F401
    import snakemake.cli
    import snakemake.script
    import yaml  # noqa: F401

    # Finds and imports all plugins.
    snakemake.cli.get_argument_parser()
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        if child := os.fork():
            _, status = os.waitpid(child, 0)
            os.write(1, f"{os.waitstatus_to_exitcode(status)}\n".encode())
            continue
        _become(asked)
        snakemake.script.PythonScript.execute_script = _ask_for_a_job
        sys.argv = ["snakemake", *asked["arguments"]]
        _end(partial(snakemake.cli.main, asked["arguments"]))


def _ask_for_a_job(job: Any, fname: str, edit: bool = False) -> None:
    """In the place of `PythonScript.execute_script`, which would start a Python for the script."""
    from snakemake.benchmark import benchmarked

    asked = {"script": fname, "folder": str(Path.cwd()), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(os.environ[JOBS])
        # Where this process prints, the job prints too.
        socket.send_fds(door, [json.dumps(asked).encode() + b"\n"], [1, 2])
        answers = door.makefile("rb")
        with benchmarked(int(answers.readline()), job.bench_record):
            status = answers.readline()
    if status != b"0\n":
        raise subprocess.CalledProcessError(int(status or -9), f"{sys.executable} {fname}")


def _serve_jobs(folder: str) -> None:
    import cv2  # noqa: F401
    import keras  # noqa: F401
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401
    import openslide  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import pydantic  # noqa: F401
    import scipy.stats  # noqa: F401
    import shapely  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import snakemake.script  # noqa: F401
    import tifffile  # noqa: F401

    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/socket")
        listener.listen()
        os.write(1, b"listening\n")
        while True:
            door, _ = listener.accept()
            while _ended():
                pass
            if os.fork():
                door.close()
                continue
            listener.close()
            line, outputs, *_ = socket.recv_fds(door, 2**20, 2)
            while not line.endswith(b"\n"):
                line += door.recv(2**20)
            if job := os.fork():
                door.sendall(f"{job}\n".encode())
                _, status = os.waitpid(job, 0)
                door.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
                os._exit(0)
            door.close()
            asked = json.loads(line)
            _become(asked, outputs)
            sys.argv = [asked["script"]]
            sys.path[0] = str(Path(asked["script"]).parent)
            _end(partial(runpy.run_path, asked["script"], run_name="__main__"))


def _ended() -> bool:
    """Whether a child had ended, which is now forgotten."""
    try:
        return os.waitpid(-1, os.WNOHANG) != (0, 0)
    except ChildProcessError:
        return False


def _become(asked: Mapping[str, Any], outputs: Sequence[int] = ()) -> None:
    """Take on folder, environment and outputs of a process that is asked for."""
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    if not outputs:
        outputs = [os.open(asked["output"], os.O_WRONLY | os.O_APPEND)] * 2
    for source, target in zip([os.open(os.devnull, os.O_RDONLY), *outputs], range(3), strict=True):
        os.dup2(source, target)
    # As `python -m` has it.
    sys.path[0] = asked["folder"]
    sys.pycache_prefix = asked["environment"].get("PYTHONPYCACHEPREFIX")


def _end(work: Callable[[], Any]) -> None:
    """Work, and end as Python does, but without freeing what was imported piece by piece, which takes a second."""
    try:
        work()
        status = 0
    except SystemExit as asked:
        status = asked.code if isinstance(asked.code, int) else int(asked.code is not None)
    except BaseException:  # as the interpreter itself
        traceback.print_exc()
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    if sys.argv[1] == "snakemake":
        _serve_snakemake()
    else:
        _serve_jobs(sys.argv[2])
