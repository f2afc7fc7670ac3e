"""How far a run is: a table in the terminal and in `results/progress.html` while it goes on, and its last lines.

A handler of Snakemake's own log counts jobs; rates and warnings are read from the logs of the jobs. Nothing here can
stop a run: what fails is passed over.
"""

from __future__ import annotations

import argparse
import atexit
import json
import logging
import os
import re
import shlex
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from drunet.errors import DrunetError
from drunet.files import write_text
from drunet_commands.forecast import in_words, measured

# Seconds between looks, between writings of the page, and between lines where there is no terminal.
_LOOK, _PAGE, _LINE = 1.0, 5.0, 60.0
# Running jobs that are shown, rows of a terminal beside the stages, and the end of a log that is read for last words.
_SHOWN, _BESIDE, _TAIL = 8, 16, 4096
_STATES = ("done", "running", "failed")
# What Snakemake says of each job, which the table shows, and of the end, which the last lines say.
_OF_JOBS = {"job_info", "job_started", "job_finished", "job_error", "group_info", "group_error", "progress", "shellcmd"}
_OF_THE_END = ("CalledProcessError", "At least one job did not complete", "Exiting because a job execution failed")
_ON_REQUEST = ("Terminating processes on user request", "Will exit after finishing")
# A line of `drunet.console.progress`, or of a training.
_ON_ITS_WAY = re.compile(
    r"\S.*?: (?:epoch )?(?P<n>\d+)/(?P<of>\d+)(?: (?P<unit>\w+), +(?:(?P<rate>[\d.]+)|\?) +\w+/s)?, .* left.*"
)
# Folders from the root on, which are no matter of those who read the results.
_FOLDERS = re.compile(r"(?<![\w./])/(?:[\w.@%+ -]+/)+")
_OWN_ERROR = re.compile(r"drunet\.errors\.\w+: ")


class _Job(NamedTuple):
    rule: str
    name: str
    log: str
    start: float


class Watch(logging.Handler):
    """Counts the jobs of a run by rule, and shows them until it ends.

    `rules` are those that make something, in the order of the table. `dag` is Snakemake's: its length and
    `needrun_jobs()` are asked for in the thread that schedules. `commands` are what takes the run up again, and what
    unlocks the folder before.
    """

    def __init__(self, results: str, dag: Any, rules: Sequence[str], commands: tuple[str, str]) -> None:
        super().__init__()
        self.results, self.commands, self.state = Path(results), commands, "running"
        self._dag, self._size, self._more, self._start = dag, -1, False, time.time()
        self._total = Counter(dict.fromkeys(rules, 0))
        self._jobs: dict[int, _Job] = {}
        self._states: dict[int, str] = {}
        self._took: defaultdict[str, list[float]] = defaultdict(list)
        self._rates: dict[str, tuple[float, str]] = {}
        self._said: dict[str, dict[Any, str]] = {"failed": {}, "warnings": {}}
        self._earlier = {rule: sum(jobs.values()) / len(jobs) for rule, jobs in measured(results).items()}

    def emit(self, record: logging.LogRecord) -> None:
        """Take in a record of Snakemake's."""
        with suppress(Exception):
            event, facts = str(getattr(record, "event", "")), vars(record)
            number: int = facts.get("jobid", facts.get("job_id"))  # type: ignore[assignment]
            if event == "job_info":
                name = " ".join([_plain(facts["rule_name"]), *map(str, dict(facts["wildcards"] or {}).values())])
                self._jobs[number] = _Job(facts["rule_name"], name, "".join(facts["log"][:1]), time.time())
                self._states[number] = "running"
                self._said["failed"].pop(number, None)
                self._plan()
            elif event == "job_finished":
                self._hear(self._jobs[number])
                self._states[number] = "done"
            elif event == "job_error" and self.state == "stopped":
                del self._states[number]
            elif event == "job_error":
                job, self._states[number] = self._jobs[number], "failed"
                # What is no message of this project's may hold a path, and with it a patient's name.
                said = [_OWN_ERROR.sub("", line) if _OWN_ERROR.match(line) else "" for line in _lines(job.log)[-1:]]
                words = (said or ["it ended without a word; perhaps it was killed for want of memory."])[0]
                self._said["failed"][number] = f"{job.name}: {words} Log: {job.log}"
            elif record.getMessage().startswith(_ON_REQUEST):
                self.state, self._said["failed"] = "stopped", {}
                self._states = {number: now for number, now in self._states.items() if now != "failed"}

    def _plan(self) -> None:
        """Count what there is to do, anew where the plan has grown."""
        if len(self._dag) != self._size:
            jobs, self._size = list(self._dag.needrun_jobs()), len(self._dag)
            planned = self._count("done") + Counter(job.rule.name for job in jobs)
            self._total = Counter({rule: planned[rule] for rule in self._total})
            # What follows a checkpoint is not planned yet.
            self._more = any(job.rule.is_checkpoint for job in jobs)

    def _count(self, state: str) -> Counter[str]:
        return Counter(self._jobs[number].rule for number, now in self._states.items() if now == state)

    def _hear(self, job: _Job) -> None:
        """Keep what a job that is done took, how fast it was and what it warned of."""
        self._took[job.rule].append(time.time() - job.start)
        for line in _lines(job.log):
            if line.startswith("WARNING  "):
                self._said["warnings"][line] = line.removeprefix("WARNING  ")
            elif (found := _ON_ITS_WAY.fullmatch(line)) and found["rate"]:
                self._rates[job.rule] = float(found["rate"]), found["unit"]

    def snapshot(self) -> dict[str, Any]:
        """What is known now, in JSON values."""
        self.acquire()
        try:
            now, rates, last = time.time(), dict(self._rates), []
            running = [self._jobs[number] for number, state in self._states.items() if state == "running"]
            here, guess = defaultdict[str, float](float), dict[str, float]()
            for job in running:
                found = next((m for m in map(_ON_ITS_WAY.fullmatch, _lines(job.log, _TAIL)[::-1]) if m), None)
                last.append(found.group() if found else f"{job.name}: {in_words(now - job.start)}")
                if found and found["rate"]:
                    here[job.rule] += float(found["rate"])
                    rates[job.rule] = here[job.rule], found["unit"]
                if found and int(found["n"]):
                    guess[job.rule] = (now - job.start) * int(found["of"]) / int(found["n"])
            counts, stages = {state: self._count(state) for state in _STATES}, []
            for rule in filter(self._total.get, self._total):
                own = {state: count[rule] for state, count in counts.items()}
                rate = f"{rates[rule][0]:.0f} {rates[rule][1]}/s" if rule in rates else ""
                left = max(0, self._total[rule] - sum(own.values()))
                stages.append({"stage": _plain(rule), **own, "left": left, "rate": rate})
            return {
                "state": self.state,
                "time": now,
                "elapsed": in_words(now - self._start),
                "left": self._time_left(now, running, self._total - counts["done"] - counts["failed"], guess),
                "stages": stages,
                "running": last[:_SHOWN],
                **{kind: list(said.values()) for kind, said in self._said.items()},
                **dict(zip(("command", "unlock"), self.commands, strict=True)),
            }
        finally:
            self.release()

    def _time_left(self, now: float, running: Sequence[_Job], due: Counter[str], guess: dict[str, float]) -> str:
        """By what jobs of a rule took in this run, else by their own words, else in an earlier run; as many at once as
        until now.
        """
        mean = self._earlier | guess | {rule: sum(took) / len(took) for rule, took in self._took.items()}
        busy = sum(now - job.start for job in running) + sum(map(sum, self._took.values()))
        work = sum(mean.get(rule, 0.0) * count for rule, count in due.items())
        work -= sum(min(now - job.start, 0.9 * mean.get(job.rule, 0.0)) for job in running)
        untimed = [_plain(rule) for rule, count in due.items() if count > 0 and rule not in mean]
        seconds = work / max(1.0, busy / max(now - self._start, 1e-9))
        if seconds <= 0:
            return ""
        words = f"{'at least' if self._more or untimed else 'about'} {in_words(seconds)} left"
        more = f" and {len(untimed) - 2} more" if len(untimed) > 2 else ""
        return f"{words} (not timed yet: {', '.join(untimed[:2])}{more})" if untimed else words


def _plain(rule: str) -> str:
    return rule.replace("_", " ")


def _lines(log: str, at_most: int = 1 << 20) -> list[str]:
    """Lines at the end of a log, without empty ones; none where there is no log."""
    with suppress(OSError), Path(log).open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - at_most))
        return [line for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return []


def in_a_line(snapshot: dict[str, Any]) -> str:
    """A snapshot in one line, for logs."""
    stages, left = snapshot["stages"], snapshot["left"]
    done, running, failed, due = (sum(stage[key] for stage in stages) for key in (*_STATES, "left"))
    work = ", ".join(f"{s['stage']} ({s['rate']})" if s["rate"] else s["stage"] for s in stages if s["running"])
    words = [f"{done} of {done + running + failed + due} jobs done, {failed} failed", work, left]
    return time.strftime("%H:%M:%S  ") + "; ".join(filter(None, words))


def table(snapshot: dict[str, Any], most: int = 99) -> Any:
    """A snapshot for a terminal; where there are more stages than rows, those that are done are left out."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    grid, stages = Table(box=None, padding=(0, 2, 0, 0)), snapshot["stages"]
    columns = ("stage", *_STATES, "left", "rate")
    for column in columns:
        grid.add_column(column, justify="left" if column == "stage" else "right")
    for each in stages if len(stages) <= most else [s for s in stages if any(s[key] for key in columns[2:5])][:most]:
        style = "red" if each["failed"] else "bold" if each["running"] else "" if each["left"] else "green"
        grid.add_row(*(str(each[column] or "") for column in columns), style=style)
    warned = f"{len(snapshot['warnings'])} warnings" if snapshot["warnings"] else ""
    words = [f"{snapshot['elapsed']} gone", snapshot["left"], warned]
    foot = f"{', '.join(filter(None, words))}. Were it cut off, this would go on:\n  {snapshot['command']}"
    return Group(grid, *(Text(f"  {line}", "dim", no_wrap=True) for line in snapshot["running"]), Text(foot))


def last_lines(snapshot: dict[str, Any], results: Path, left_out: Iterable[str] = ()) -> list[str]:
    """What a run says last: its warnings, what was left out or failed, and where to look or how to go on."""
    lines: list[str] = []
    for kind, word in (("warnings", "warnings"), ("failed", "jobs failed")):
        if told := snapshot[kind]:
            lines += [f"{len(told)} {word}:", *(f"  {each}" for each in told)]
    there = [results / name for name in ("report/report.html", "runs", "slides.tsv", "progress.html")]
    if snapshot["state"] == "finished":
        end = [f"Look at {', '.join(str(path) for path in there if path.exists())}; `make view` shows the slides."]
    else:
        word = "Mend what failed" if snapshot["failed"] else "What is done stays done"
        end = [f"{word}; this goes on:", f"  {snapshot['command']}"]
    return [*lines, *left_out, *end]


class Show(threading.Thread):
    """Shows a watched run until it ends.

    In a terminal, what jobs and Snakemake say goes through a file and stands above the table: appended to by all, it
    blocks nobody, and an orphan of a run that was killed goes on writing without harm.
    """

    def __init__(self, watch: Watch, quiet: Collection[str] = ()) -> None:
        super().__init__(daemon=True)
        self.watch, self.over = watch, threading.Event()
        self.live: Any = None
        self.shown, self.silent = not {"ALL", "PROGRESS"} & set(quiet), "ALL" in quiet
        self._page = self._line = time.monotonic()
        # Shares that run at once (profiles/slurm/shares.sh) would write over each other's page.
        self._paged = "DRUNET_SHARE" not in os.environ
        with suppress(Exception):
            if self.shown and sys.stderr.isatty():
                self.live = self._open()

    def _open(self) -> Any:
        from rich.console import Console
        from rich.live import Live

        handle, path = tempfile.mkstemp()
        self._said, self._terminal = Path(path).open(encoding="utf-8", errors="replace"), os.dup(2)  # noqa: SIM115
        console = Console(file=os.fdopen(os.dup(2), "w"), force_terminal=True, highlight=False)
        live = Live(console=console, auto_refresh=False, transient=True)
        live.start()
        # A run that is killed leaves a cursor.
        console.show_cursor(True)
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), 2)
        os.close(handle)
        Path(path).unlink()
        return live

    def run(self) -> None:
        """Look every second."""
        while not self.over.wait(_LOOK):
            with suppress(Exception):
                self.look()

    def look(self) -> None:
        """Show how far the run is, wherever it is time to."""
        now, snapshot = time.monotonic(), self.watch.snapshot()
        if self.live:
            self._pass_on()
            self.live.update(table(snapshot, max(1, self.live.console.height - _BESIDE)), refresh=True)
        elif self.shown and now - self._line >= _LINE:
            self._line = now
            sys.stderr.write(f"{in_a_line(snapshot)}\n")
        if self._paged and now - self._page >= _PAGE:
            self._page = now
            write_page(self.watch.results, snapshot)

    def _pass_on(self) -> None:
        for line in self._said:
            if not _ON_ITS_WAY.fullmatch(line.strip()):
                self.live.console.out(line.rstrip("\n"), highlight=False)

    def end(self, state: str, left_out: Iterable[str] = ()) -> None:
        """Say the last lines, once."""
        if self.over.is_set():
            return
        self.over.set()
        self.join(_PAGE)
        if self.live:
            for step in (self._pass_on, self.live.stop):
                with suppress(Exception):
                    step()
            os.dup2(self._terminal, 2)
        with suppress(Exception):
            self.watch.state = state if self.watch.state == "running" else self.watch.state
            snapshot = self.watch.snapshot()
            lines = [] if self.silent else last_lines(snapshot, self.watch.results, left_out)
            sys.stderr.writelines(f"{line}\n" for line in lines)
            if self._paged:
                write_page(self.watch.results, snapshot)


def start(results: str, dag: Any, rules: Sequence[str], quiet: Collection[str], verbose: bool) -> Show:
    """Watch a run of Snakemake's, whose lines about single jobs the table stands in for, unless they are asked for."""
    log = logging.getLogger("snakemake.logging")
    if not verbose:
        for handler in log.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_is_news)
    watch = Watch(results, dag, rules, commands())
    log.addHandler(watch)
    show = Show(watch, quiet)
    show.start()
    atexit.register(show.end, "stopped")
    return show


def _is_news(record: logging.LogRecord) -> bool:
    event, said = getattr(record, "event", None), record.getMessage()
    if record.levelno < logging.WARNING:
        return event is None and said.startswith((*_ON_REQUEST, "Trying to restart"))
    return str(event) not in _OF_JOBS and not any(words in said for words in _OF_THE_END)


def commands() -> tuple[str, str]:
    """What the user would type to take this run up again, and to unlock the folder if it was killed."""
    name = ["snakemake"] if shutil.which("snakemake") else [sys.executable, "-m", "snakemake"]
    again = os.environ.get("DRUNET_COMMAND") or shlex.join([*name, *sys.argv[1:]])
    return again, shlex.join([*name, "--unlock", *sys.argv[1:]])


def write_page(results: Path, snapshot: dict[str, Any]) -> None:
    """Write `progress.json` and `progress.html`, which reloads itself while the run goes on."""
    from jinja2 import Environment, FileSystemLoader

    text = _FOLDERS.sub("…/", json.dumps(snapshot, ensure_ascii=False))
    pages = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    write_text(results / "progress.json", text)
    write_text(results / "progress.html", pages.get_template("progress.html").render(json.loads(text)))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `drunet progress` is asked with."""
    parser.add_argument("results", nargs="?", default="results", help="folder of the results (default: results)")


def run(asked: argparse.Namespace) -> int:
    """Print how far the run is that goes on, or went on last; status 1 if it failed or was cut off."""
    from rich.console import Console

    results = Path(asked.results)
    try:
        snapshot = json.loads((results / "progress.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        mend = "Name the folder of results, as in `drunet progress results_my_cohort`."
        raise DrunetError("no run has said here how far it is", where=str(results), mend=mend) from None
    Console(highlight=False, soft_wrap=True).print(table(snapshot))
    silence = time.time() - snapshot["time"]
    if snapshot["state"] == "running" and silence > 12 * _PAGE:
        snapshot |= {"state": "stopped", "command": f"{snapshot['unlock']} && {snapshot['command']}"}
        sys.stdout.write(f"Nothing was heard of it for {in_words(silence)}: it was killed, or its machine sleeps.\n")
    lines = [] if snapshot["state"] == "running" else last_lines(snapshot, results)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return int(snapshot["state"] in ("failed", "stopped"))
