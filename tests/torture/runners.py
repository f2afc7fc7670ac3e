"""A member in a process of its own: run, held against its twin, searched for names, and with a limit of time."""

from __future__ import annotations

import gc
import importlib
import json
import os
import re
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
from torture import others
from torture.corpus import TWINS, Case, Member, copy_of
from torture.judge import as_words, leaks, verdict
from torture.nets import tone
from torture.rules import OF_A_SLIDE, ROOT, Stopped, read_found, run_rules

# Of processor time, since other work on a machine is no fault of a reader's; what waits is given longer.
SECONDS, WAITING = 60.0, 3
PEAK = 2 << 30
# Beyond this an allocation fails, before the machine swaps.
_ADDRESSES = 16 << 30
Verdict = tuple[str, str]


@dataclass(frozen=True)
class Result:
    """What became of a member; `said` in a few words, `leaked` where a name got out, `peak` in bytes."""

    member: Member
    outcome: str
    said: str
    leaked: tuple[str, ...]
    seconds: float
    peak: int

    @property
    def right(self) -> bool:
        return not self.leaked and self.outcome in (*self.member.allowed, "undetectable")


def twin_case(shared: Path, twin: str) -> Case:
    """The intact input of a name, made if it is not there."""
    folder = shared / twin / "inputs"
    if not folder.is_dir():
        # Others may be making it.
        own = shared / f"{twin}.{os.getpid()}"
        own.mkdir(parents=True)
        TWINS[twin](own)
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            own.rename(folder)
        except OSError:
            shutil.rmtree(own)
    return _as_made(folder)


def _as_made(folder: Path) -> Case:
    slides = [p for p in folder.iterdir() if p.suffix != ".geojson"]
    return Case(min(slides, key=lambda p: len(p.name)), next(folder.glob("*.geojson")))


def run_slide(member: Member, folder: Path, shared: Path) -> Verdict:
    twin = shared / member.twin
    case = made(member, folder, shared)
    return verdict(read_found(twin / "results"), run_rules(case, folder / "results", shared / "tone.onnx"))


def made(member: Member, folder: Path, shared: Path) -> Case:
    """Break a copy of the twin."""
    case = copy_of(twin_case(shared, member.twin), folder)
    return member.make(case.slide.parent, case, member.rng()) or case


def run_model(member: Member, folder: Path, shared: Path) -> Verdict:
    return others.run_model(member, folder, shared, twin_case(shared, member.twin))


RUNNERS: dict[str, Callable[[Member, Path, Path], Verdict]] = {
    "slide": run_slide, "model": run_model, "weights": others.run_weights, "zip": others.run_zip, "sheet": others.run_sheet,
}  # fmt: skip


def warm(chosen: Sequence[Member]) -> None:
    """Import once, before any fork, what the rules' scripts import; Keras where weights are to be read."""
    files = [ROOT / "scripts" / f"{name}.py" for name in (*OF_A_SLIDE, "adopt_onnx")]
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    for module in sorted(set(re.findall(r"^from (drunet[.\w]*) import", text, re.MULTILINE))):
        importlib.import_module(module)
    if any(member.runner == "weights" for member in chosen):
        importlib.import_module("keras")
    gc.freeze()


# Processes


def prepare(shared: Path, twins: Sequence[str]) -> list[str]:
    """Run intact inputs, in processes of their own; gives the names of those that failed."""

    def intact_run(twin: str) -> None:
        if not (shared / "tone.onnx").exists():
            tone(shared / f"{os.getpid()}.onnx").rename(shared / "tone.onnx")
        found = run_rules(twin_case(shared, twin), shared / twin / "results", shared / "tone.onnx")
        if found.refused or found.words or found.unreadable or found.unread_mm2:
            raise AssertionError(f"the intact {twin} is not taken as such: {found}")
        if names := leaks(shared / twin / "results", b""):
            raise AssertionError(f"the intact {twin} leaks: {names}")

    failed = []
    for twin in twins:
        shared.mkdir(parents=True, exist_ok=True)
        child = os.fork()
        if not child:
            _alone(lambda twin=twin: intact_run(twin), shared / f"{twin}.txt")  # type: ignore[misc]
        if os.waitpid(child, 0)[1]:
            failed.append(f"{twin}: {(shared / f'{twin}.txt').read_text(encoding='utf-8', errors='replace')[-2000:]}")
    return failed


def _alone(work: Callable[[], None], terminal: Path) -> None:
    """In a forked child: do it, and end without what the parent registered for its end."""
    status = 1
    try:
        os.setsid()
        _keep_streams(terminal)
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES, _ADDRESSES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        cv2.setNumThreads(1)
        work()
        status = 0
    except BaseException:  # as the interpreter itself
        traceback.print_exc()
    finally:
        os._exit(status)


def _keep_streams(terminal: Path) -> None:
    target = os.open(terminal, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for number in (1, 2):
        os.dup2(target, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    # Where a test catches what is printed, Python's own streams are others.
    sys.stdout, sys.stderr = (
        os.fdopen(number, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False) for number in (1, 2)
    )


def _judged(member: Member, folder: Path, shared: Path) -> None:
    try:
        outcome, said = RUNNERS[member.runner](member, folder, shared)
    except (Stopped, Exception) as error:
        traceback.print_exc(file=(folder / "crash.txt").open("w"))
        outcome, said = "crash", as_words(error)
    if outcome == "silent" and member.undetectable:
        outcome, said = "undetectable", f"{member.undetectable} ({said})"
    leaked = leaks(folder / "results", (folder / "terminal.txt").read_bytes())
    (folder / "result.json").write_text(json.dumps([outcome, said, leaked]))


def results(
    chosen: Sequence[Member],
    folder: Path,
    shared: Path,
    *,
    cores: int,
    keep: Path | None = None,
    seconds: float = SECONDS,
) -> Iterator[Result]:
    """Run members, so many at a time, and give what became of each as it ends."""
    waiting, running = list(reversed(chosen)), dict[int, tuple[Member, Path, float]]()
    try:
        while waiting or running:
            while waiting and len(running) < cores:
                member = waiting.pop()
                home = folder / member.name.replace("/", "-")
                home.mkdir(parents=True)
                child = os.fork()
                if not child:
                    _alone(lambda m=member, h=home: _judged(m, h, shared), home / "terminal.txt")  # type: ignore[misc]
                running[child] = member, home, time.monotonic()
            for child, (member, home, start) in list(running.items()):
                ended, status, usage = os.wait4(child, os.WNOHANG)
                gone = time.monotonic() - start
                late = not ended and (gone > WAITING * seconds or (gone > seconds and _used(child) > seconds))
                if late:
                    os.killpg(child, signal.SIGKILL)
                    _, status, usage = os.wait4(child, 0)
                if ended or late:
                    del running[child]
                    yield _ended(member, home, late, status, gone, usage.ru_maxrss << 10)
                    _put_away(member, home, keep)
            time.sleep(0.005)
    finally:
        for child in running:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _used(child: int) -> float:
    """Seconds of processor time of a process and those children that ended."""
    try:
        fields = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        # Where there is no such folder, the clock counts.
        return float("inf")
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _ended(member: Member, home: Path, late: bool, status: int, gone: float, peak: int) -> Result:
    answer = home / "result.json"
    if late:
        outcome, said, leaked = "hang", f"more than {gone:.0f} s", []
    elif not answer.is_file():
        outcome, said, leaked = "crash", f"the process ended with {os.waitstatus_to_exitcode(status)}", []
    else:
        outcome, said, leaked = json.loads(answer.read_text())
    if peak > PEAK and outcome != "hang":
        outcome, said = "memory", f"{peak / 2**30:.1f} GB; {outcome}: {said}"
    return Result(member, outcome, said, tuple(leaked), gone, peak)


def _put_away(member: Member, home: Path, keep: Path | None) -> None:
    if keep is not None:
        for inputs in home.iterdir():
            if inputs.is_dir() and inputs.name != "results":
                shutil.copytree(inputs, keep / member.name, dirs_exist_ok=True)
    shutil.rmtree(home)
