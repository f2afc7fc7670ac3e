"""How far a run is: counted from Snakemake's records, read from the jobs' logs, shown and said last."""

from __future__ import annotations

import json
import logging
import os
import pty
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tiny_cohort import ROOT, Finished, Project

from drunet_commands import cli, progress
from drunet_commands.progress import Watch, in_a_line, last_lines, write_page

RULES = ("inspect_slide", "list_slides", "classify_tiles", "report")
AGAIN = ("snakemake --cores 2", "snakemake --unlock --cores 2")


class Plan:
    """As much of Snakemake's DAG as is asked for: jobs that are not done yet."""

    def __init__(self, **jobs: int) -> None:
        self.jobs: dict[str, int] = jobs
        self.size = sum(jobs.values())

    def __len__(self) -> int:
        return self.size

    def needrun_jobs(self) -> list[Any]:
        def job(name: str) -> Any:
            rule = type("Rule", (), {"name": name, "is_checkpoint": name == "list_slides"})
            return type("Job", (), {"rule": rule})

        return [job(name) for name, count in self.jobs.items() for _ in range(count)]


class Run:
    """A watched run whose clock the test turns, and whose records it makes."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **jobs: int) -> None:
        self.folder, self.now, self.plan = folder, 1000.0, Plan(**jobs)
        monkeypatch.setattr(progress.time, "time", lambda: self.now)
        self.watch = Watch(str(folder), self.plan, RULES, AGAIN)

    def log(self, rule: str, slide: str, text: str) -> Path:
        path = self.folder / "logs" / rule / f"{slide}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def record(self, message: str = "", **facts: Any) -> None:
        record = logging.LogRecord("snakemake.logging", logging.INFO, "", 1, message, (), None)
        vars(record).update(facts)
        self.watch.handle(record)

    def start(self, number: int, rule: str, slide: str = "", text: str = "") -> None:
        log = [str(self.log(rule, slide, text))] if slide else []
        wildcards = {"slide": slide} if slide else {}
        self.record(event="job_info", jobid=number, rule_name=rule, wildcards=wildcards, log=log)

    def finish(self, number: int, rule: str) -> None:
        self.record(event="job_finished", job_id=number)
        self.plan.jobs[rule] -= 1

    def stage(self, name: str) -> dict[str, Any]:
        return next(s for s in self.watch.snapshot()["stages"] if s["stage"] == name)


def test_jobs_are_counted_by_stage_and_the_plan_may_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, monkeypatch, inspect_slide=3, list_slides=1)
    for number, slide in enumerate("abc"):
        run.start(number, "inspect_slide", slide)
    run.finish(0, "inspect_slide")
    run.record(event="job_error", jobid=1)
    states = {"done": 1, "running": 1, "failed": 1, "left": 0}
    assert run.stage("inspect slide") == {"stage": "inspect slide", **states, "rate": ""}
    assert run.stage("list slides")["left"] == 1
    # Tried again, it has not failed.
    run.start(1, "inspect_slide", "b")
    assert run.stage("inspect slide")["failed"] == 0 and run.watch.snapshot()["failed"] == []
    for number in (1, 2):
        run.finish(number, "inspect_slide")
    run.start(3, "list_slides")
    run.finish(3, "list_slides")
    # What follows the checkpoint is planned, and some is done already.
    run.plan.jobs |= {"classify_tiles": 2, "report": 1}
    run.plan.size = 7
    run.start(4, "classify_tiles", "a")
    stages = run.watch.snapshot()["stages"]
    assert [s["stage"] for s in stages] == ["inspect slide", "list slides", "classify tiles", "report"]
    assert [(s["done"], s["running"], s["left"]) for s in stages] == [(3, 0, 0), (1, 0, 0), (0, 1, 1), (0, 0, 1)]
    assert in_a_line(run.watch.snapshot())[10:] == "4 of 7 jobs done, 0 failed; classify tiles"


def test_time_left_is_what_such_jobs_took_at_as_many_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "benchmarks/report.tsv"
    path.parent.mkdir()
    path.write_text("s\th:m:s\n100\t0:01:40\n", encoding="utf-8")
    run = Run(tmp_path, monkeypatch, classify_tiles=10, report=1)
    assert run.watch.snapshot()["left"] == ""
    run.start(0, "classify_tiles", "a")
    run.start(1, "classify_tiles", "b")
    run.now += 300
    run.finish(0, "classify_tiles")
    run.finish(1, "classify_tiles")
    # Two at once, 300 s each: eight more are 1200 s, and the page took 100 s in an earlier run.
    assert run.watch.snapshot()["left"] == "about 21 min left"
    run.start(2, "classify_tiles", "c")
    run.start(3, "classify_tiles", "d")
    run.now += 150
    assert run.watch.snapshot()["left"] == "about 18 min left"
    unknown = Run(tmp_path / "other", monkeypatch, classify_tiles=2, report=1)
    unknown.start(0, "classify_tiles", "a")
    unknown.now += 60
    unknown.finish(0, "classify_tiles")
    assert unknown.watch.snapshot()["left"] == "at least 60 s left (not timed yet: report)"


def test_rates_and_last_words_come_from_the_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, monkeypatch, classify_tiles=3)
    begun = "noise of a library\n{0}: 0/900 tiles, ? tiles/s, ? left, 00:00 gone\n"
    for number, slide in enumerate("ab"):
        run.start(number, "classify_tiles", slide, begun.format(slide))
    assert run.stage("classify tiles")["rate"] == ""
    for slide, rate in (("a", "40.50"), ("b", "30.00")):
        text = f"{slide}: 450/900 tiles, {rate} tiles/s, 00:11 left, 00:11 gone\na line of another kind\n"
        run.log("classify_tiles", slide, begun.format(slide) + text)
    assert run.stage("classify tiles")["rate"] == "70 tiles/s"
    # Half of their tiles are done after 30 s: 30 s more for each of these, and a minute for the third, two at once.
    run.now += 30
    assert run.watch.snapshot()["left"] == "about 60 s left"
    assert run.watch.snapshot()["running"][0] == "a: 450/900 tiles, 40.50 tiles/s, 00:11 left, 00:11 gone"
    run.finish(0, "classify_tiles")
    run.finish(1, "classify_tiles")
    assert run.stage("classify tiles")["rate"] == "30 tiles/s"


def test_warnings_are_gathered_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, monkeypatch, inspect_slide=2)
    for number, slide in enumerate("ab"):
        run.start(number, "inspect_slide", slide, f"WARNING  {slide}: half is gone\nWARNING  both\nUserWarning: x\n")
        run.finish(number, "inspect_slide")
    assert run.watch.snapshot()["warnings"] == ["a: half is gone", "both", "b: half is gone"]


def test_a_failure_is_told_by_its_own_message_and_never_by_one_that_may_hold_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, monkeypatch, inspect_slide=3)
    texts = {
        "a": "Traceback\n  File\ndrunet.errors.SheetError: a: wrong. Mend it.\n",
        "b": "Traceback\nPermissionError: [Errno 13] Permission denied: 'slides/Nordmann.svs'\n",
        "c": "",
    }
    for number, (slide, text) in enumerate(texts.items()):
        run.start(number, "inspect_slide", slide, text)
        run.record(event="job_error", jobid=number)
    own, foreign, silent = run.watch.snapshot()["failed"]
    assert own.startswith("inspect slide a: a: wrong. Mend it. Log: ") and own.endswith("inspect_slide/a.log")
    assert "Nordmann" not in foreign and foreign.endswith("inspect_slide/b.log")
    assert "without a word" in silent


def test_jobs_that_a_user_stops_have_not_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, monkeypatch, inspect_slide=2)
    for number, slide in enumerate("ab"):
        run.start(number, "inspect_slide", slide)
    run.record(event="job_error", jobid=0)
    run.record("Terminating processes on user request, this might take some time.")
    run.record(event="job_error", jobid=1)
    snapshot = run.watch.snapshot()
    assert snapshot["failed"] == [] and run.stage("inspect slide")["left"] == 2
    assert last_lines(snapshot, tmp_path) == ["What is done stays done; this goes on:", "  snakemake --cores 2"]


def test_a_low_terminal_shows_what_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    run = Run(tmp_path, monkeypatch, inspect_slide=1, classify_tiles=1, report=1)
    run.start(0, "inspect_slide", "a")
    run.finish(0, "inspect_slide")
    run.start(1, "classify_tiles", "a")
    shown = []
    for rows in (3, 1):
        console = Console(width=100, record=True, file=(tmp_path / "sink").open("w"))
        console.print(progress.table(run.watch.snapshot(), rows))
        shown.append(console.export_text())
    assert all(name in shown[0] for name in ("inspect slide", "classify tiles", "report"))
    assert "inspect slide" not in shown[1] and "classify tiles" in shown[1]
    assert all(text.splitlines()[-1].strip() == AGAIN[0] for text in shown)


def test_no_record_breaks_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, monkeypatch, inspect_slide=1)
    for facts in (
        {"event": "job_info"},
        {"event": "job_finished", "job_id": 7},
        {"event": "job_error"},
        {"event": None},
    ):
        run.record(**facts)
    run.plan.needrun_jobs = None  # type: ignore[assignment, method-assign]
    run.start(0, "inspect_slide", "a")
    assert run.watch.snapshot()["state"] == "running"


def test_the_last_lines_say_what_was_wrong_and_then_where_to_look_or_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report/report.html").touch()
    told = {"state": "finished", "warnings": ["a: thin"], "failed": [], "command": "make demo"}
    lines = last_lines(told, tmp_path, ["1 of 2 slides are used. Left out:", "  b: cut"])
    assert lines[:4] == ["1 warnings:", "  a: thin", "1 of 2 slides are used. Left out:", "  b: cut"]
    assert len(lines) == 5 and f"{tmp_path}/report/report.html" in lines[4] and "slides.tsv" not in lines[4]
    lines = last_lines({**told, "state": "failed", "failed": ["measure b: no"]}, tmp_path)
    assert lines[2:] == ["1 jobs failed:", "  measure b: no", "Mend what failed; this goes on:", "  make demo"]


class Page(HTMLParser):
    """Text and tags of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def reloads(self) -> bool:
        return any(tag == "meta" and attrs.get("http-equiv") == "refresh" for tag, attrs in self.tags)


def test_the_page_reloads_itself_until_the_run_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, monkeypatch, inspect_slide=2, report=1)
    run.start(0, "inspect_slide", "a", "WARNING  a: <b>thin</b>\n")
    run.finish(0, "inspect_slide")
    run.start(1, "inspect_slide", "b")
    write_page(tmp_path, run.watch.snapshot())
    page = Page(tmp_path / "progress.html")
    assert page.reloads and "1 of 3 jobs done, 1 running" in " ".join(page.text.split())
    assert "a: <b>thin</b>" in page.text and ("b", {}) not in page.tags
    assert AGAIN[0] in page.text and AGAIN[1] in page.text
    # Nothing comes from elsewhere.
    assert not [a for _, a in page.tags if (a.get("src") or a.get("href") or "").startswith(("http", "//"))]
    run.watch.state = "finished"
    write_page(tmp_path, run.watch.snapshot())
    page = Page(tmp_path / "progress.html")
    assert not page.reloads and AGAIN[0] not in page.text
    assert ("a", {"href": "report/report.html"}) in page.tags


def test_the_command_says_how_a_run_that_was_killed_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path, monkeypatch, inspect_slide=2)
    run.start(0, "inspect_slide", "a")
    write_page(tmp_path, run.watch.snapshot())
    run.now += 30
    assert cli.main(["progress", str(tmp_path)]) == 0
    assert "inspect slide a" in capsys.readouterr().out
    run.now += 60
    assert cli.main(["progress", str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines()[-1].strip() == f"{AGAIN[1]} && {AGAIN[0]}"
    assert cli.main(["progress", str(tmp_path / "nowhere")]) == 1
    assert "no run has said here how far it is" in capsys.readouterr().err


def test_a_finished_run_says_few_lines_and_where_to_look(finished_run: tuple[Project, Finished]) -> None:
    project, done = finished_run
    lines = done.output.strip().splitlines()
    assert lines[-1].startswith(
        "Look at results/report/report.html, results/runs, results/slides.tsv, results/progress.html;"
    )
    noise = r"Finished jobid|Select jobs|Execute \d+ jobs|steps \(|Reason:|Elapsed time|Complete log|\d: Inspecting"
    assert not re.findall(noise, done.output)
    # Each slide that is left out stands once where it happens and once at the end.
    assert len(lines) < 60, done.output
    told = json.loads((project.results / "progress.json").read_text(encoding="utf-8"))
    counted = {s["stage"]: s["done"] for s in told["stages"]}
    assert told["state"] == "finished" and counted["inspect slide"] == len(project.rows) and counted["report"] == 1
    # A benchmark is written for each job.
    for rule in ("classify_tiles", "postprocess", "measure"):
        assert counted[rule.replace("_", " ")] == len(list((project.results / "benchmarks" / rule).rglob("*.tsv")))
    assert [s for s in told["stages"] if s["running"] or s["failed"] or s["left"]] == []
    page = (project.results / "progress.html").read_text(encoding="utf-8")
    assert [row["path"] for row in project.rows if row["path"] in page or row["patient_id"] in page] == []


def test_a_run_with_a_failed_job_ends_with_the_command_that_goes_on(own_copy: Project) -> None:
    (own_copy.folder / "through.onnx").write_bytes(b"no model")
    done = own_copy.run("--", "segment")
    assert done.status != 0
    lines = done.output.strip().splitlines()
    assert lines[-2] == "Mend what failed; this goes on:"
    assert lines[-1].split() == ["snakemake", *own_copy.command("--", "segment")[3:]], done.output
    (failed,) = [line for line in lines if line.startswith("  adopt onnx through: ")]
    assert "cannot be loaded as an ONNX model" in failed and failed.endswith("Log: results/logs/adopt_onnx/through.log")


CODE = """
import subprocess, sys, time
from types import SimpleNamespace as Facts
from drunet_commands import progress

class Plan(list):
    def needrun_jobs(self):
        return [Facts(rule=Facts(name="inspect_slide", is_checkpoint=False))] * 2

progress._LOOK = 0.05
watch = progress.Watch("results", Plan([1, 2]), ["inspect_slide"], ("snakemake -c 2", ""))
show = progress.Show(watch)
show.start()
import logging
facts = {"event": "job_info", "jobid": 1, "rule_name": "inspect_slide", "wildcards": {"s": "a"}, "log": []}
watch.handle(logging.makeLogRecord(facts))
for line in ("left out: a job said this", "a: 1/2 tiles, 1.00 tiles/s, 00:01 left, 00:01 gone"):
    subprocess.run([sys.executable, "-c", "import sys; print(sys.argv[1], file=sys.stderr)", line])
time.sleep(0.4)
show.end("stopped")
sys.stderr.write("afterwards\\n")
"""


def test_in_a_terminal_the_table_stands_below_what_jobs_say(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts"), "TERM": "xterm", "COLUMNS": "90", "LINES": "40"}
    command = [sys.executable, "-c", CODE]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path, env=environment) as job:
        os.close(theirs)
        said = b""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                said += os.read(ours, 65536)
            except OSError:
                break
    os.close(ours)
    text = said.decode()
    assert job.returncode == 0, text
    shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text)
    assert re.search(r"inspect slide +1 +1 ", shown) and "Were it cut off, this would go on:" in text
    assert "left out: a job said this" in text and "1/2 tiles" not in text.split("left out")[0]
    assert "\x1b[" in text, "the table is redrawn in place"
    lines = [line.strip() for line in shown.replace("\r", "").split("\n") if line.strip()]
    assert lines[-3:] == ["What is done stays done; this goes on:", "snakemake -c 2", "afterwards"]
    assert (tmp_path / "results/progress.html").is_file()


@pytest.mark.parametrize(("quiet", "said"), [((), 2), (("PROGRESS",), 2), (("ALL",), 0)])
def test_who_asks_for_silence_gets_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], quiet: tuple[str, ...], said: int
) -> None:
    show = progress.Show(Watch(str(tmp_path), Plan(), RULES, AGAIN), quiet)
    show.start()
    show.end("stopped")
    show.end("finished")
    assert len(capsys.readouterr().err.splitlines()) == said and not show.is_alive()
    assert json.loads((tmp_path / "progress.json").read_text(encoding="utf-8"))["state"] == "stopped"


def test_shares_of_one_run_do_not_write_over_each_others_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRUNET_SHARE", "3/20")
    monkeypatch.setattr(progress, "_PAGE", 0.0)
    show = progress.Show(Watch(str(tmp_path), Plan(), RULES, AGAIN))
    show.start()
    show.look()
    show.end("finished")
    assert list(tmp_path.iterdir()) == []


def test_of_snakemakes_own_lines_only_news_are_left() -> None:
    def record(level: int, message: str, event: str | None = None) -> logging.LogRecord:
        made = logging.LogRecord("snakemake.logging", level, "", 1, message, (), None)
        made.event = event  # type: ignore[attr-defined]
        return made

    info, error = logging.INFO, logging.ERROR
    news = [record(info, "Trying to restart job 3."), record(error, "MissingOutputException in rule x"),
            record(logging.WARNING, "a warning"), record(error, "no space left", "error")]  # fmt: skip
    noise = [record(info, "Select jobs to execute..."), record(info, "Rule: x", "job_info"),
             record(info, "Elapsed time: 0:00:03"), record(error, "Error in rule x", "job_error"),
             record(error, "WorkflowError:\nAt least one job did not complete successfully.", "error"),
             record(error, "RuleException:\nCalledProcessError in file x", "error")]  # fmt: skip
    assert all(map(progress._is_news, news)) and not any(map(progress._is_news, noise))
