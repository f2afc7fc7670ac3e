"""What a job says: progress and one-line errors to the terminal, everything else to its log file."""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from tqdm import tqdm

from drunet import devices
from drunet.errors import DrunetError
from drunet.files import AnyPath

# Seconds between progress lines: several jobs share the terminal, and a cluster keeps every line in a file.
_INTERVAL = 10.0
_terminal: list[TextIO] = []
# What the operating system refuses is no defect, and what is wrong is not in a path, which may hold a patient's name.
_OF_THE_MACHINE = {
    errno.ENOSPC: ("the disk is full", "Make room"),
    errno.EDQUOT: ("the disk quota is used up", "Make room"),
    errno.EROFS: ("the results are on a disk that may only be read", "Set `results` to another folder"),
    errno.EACCES: ("a file or folder may not be entered, read or written", "Change its permissions"),
    errno.EIO: ("the disk or the network share does not answer", "Mend it"),
    errno.ENAMETOOLONG: ("a path is longer than the disk takes", "Move the project to a folder with a shorter path"),
}


def say(line: str) -> None:
    """Print a line where the user sees it, and in the job's log."""
    if _terminal:
        print(line, file=_terminal[-1], flush=True)
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - the job's log


def progress(total: int, what: str, unit: str) -> tqdm[Any]:
    """Count `total` units of work: a line with rate and time left every ten seconds, and one at the end."""
    form = "{desc}: {n_fmt}/{total_fmt} " + unit + ", {rate_fmt}, {remaining} left, {elapsed} gone"
    return tqdm(
        total=total,
        desc=what,
        unit=f" {unit}",
        bar_format=form,
        mininterval=_INTERVAL,
        maxinterval=_INTERVAL,
        smoothing=0.1,
        file=_Lines(),
    )


@contextmanager
def job(log: AnyPath, gpus: int = 0) -> Iterator[None]:
    """Run a rule's script: its output goes to `log`, and a failure ends in one message on the terminal, with status 1.

    A job that asked for no GPU sees none: TensorFlow would take all of its memory away from the job that did, at the
    first number that it computes. One that asked shares its GPU's memory with ONNX Runtime in the same process, and so
    takes it as it is needed; where the machine has several, jobs at once have one each (`drunet.devices`). All this
    holds as long as nothing has computed yet: importing a library does not.

    The process's own streams are redirected, as the libraries underneath write to them. A `DrunetError` is shown as it
    is. Anything else is a defect: type, message and the log's name are shown. The traceback is in the log.
    """
    if gpus:
        os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    else:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    sys.stdout.flush()
    sys.stderr.flush()
    terminal = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
    with open(log, "w", encoding="utf-8") as file:  # noqa: PTH123 - the descriptor is what is needed
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    _terminal.append(terminal)
    try:
        with devices.taken(gpus):
            yield
    except DrunetError as error:
        traceback.print_exc()
        print(f"\nERROR  {error}\n", file=terminal, flush=True)
        sys.exit(1)
    except Exception as error:
        traceback.print_exc()
        if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
            what, mend = _OF_THE_MACHINE[error.errno]
            said = DrunetError(what, where=str(log), found=error.strerror, mend=f"{mend}, then run the same command.")
            print(f"\nERROR  {said}\n", file=terminal, flush=True)
            sys.exit(1)
        print(f"\nDEFECT  {type(error).__name__}: {error}\nThe traceback is in {log}\n", file=terminal, flush=True)
        sys.exit(1)
    finally:
        _terminal.pop()


class _Lines(io.TextIOBase):
    """A stream that turns a redrawn bar into lines."""

    def write(self, text: str) -> int:
        line = text.strip("\r\n ")
        if line:
            say(line)
        return len(text)
