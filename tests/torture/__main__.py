"""`python -m torture [KIND or NAME ...] [--keep FOLDER]`: run the corpus, and print what became of it."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torture.all_members import ALL
from torture.corpus import BAD, KINDS, OUTCOMES, TWINS, Member
from torture.intact import SEED
from torture.runners import Result, prepare, results, twin_case, warm

from drunet.errors import printable

# Seconds each, mostly of Python that is started for a trial or for a series, or of files without end.
LONG = re.compile(
    "^endless/.*(000|mega|blobs|noise|mb)|^models/.*(loop|memory)|bomb|names-1|^weights/.*(many|claims)|300-mm"
)


def chosen_members(asked: Sequence[str]) -> list[Member]:
    """Of these kinds or names; all where none is asked for."""
    found = [m for m in ALL if not asked or m.kind in asked or m.name in asked]
    if unknown := set(asked) - {m.kind for m in found} - {m.name for m in found}:
        raise SystemExit(f"No such kind or member: {', '.join(sorted(unknown))}. Kinds: {', '.join(KINDS)}.")
    return found


def table_of(ended: Sequence[Result]) -> str:
    """Kinds by outcomes."""
    columns = [*OUTCOMES, "leaked"]
    lines = [f"{'kind':66s}{'files':>6s}" + "".join(f"{name:>13s}" for name in columns)]
    counts = {kind: Counter[str]() for kind in KINDS}
    for result in ended:
        counts[result.member.kind].update([result.outcome, "files", *(["leaked"] if result.leaked else [])])
    counts["all"] = sum(counts.values(), Counter())
    for kind, count in counts.items():
        if count["files"]:
            title = f"{kind:12s}{KINDS.get(kind, '')}"
            lines.append(f"{title:66s}{count['files']:6d}" + "".join(f"{count[name]:13d}" for name in columns))
    return "\n".join(lines)


def wrong(ended: Sequence[Result]) -> list[Result]:
    return [r for r in ended if not r.right or r.outcome in BAD]


def line_of(result: Result) -> str:
    """A member by name with what happened; wrong ones begin with a mark."""
    leaked = f"; LEAKED: {', '.join(result.leaked)}" if result.leaked else ""
    said = printable(result.said, 150) + leaked
    return f"{'!' if wrong([result]) else ' '} {result.member.name:50s} {result.outcome:12s} {result.seconds:5.1f} s {said}"


def sample(count: int) -> list[Member]:
    """So many members of each kind, drawn with a seed; of those that take long, none."""
    rng = np.random.default_rng(SEED)
    quick = {kind: [m for m in ALL if m.kind == kind and not LONG.search(m.name)] for kind in KINDS}
    return [of[i] for of in quick.values() for i in sorted(rng.permutation(len(of))[:count])]


def run(
    chosen: Sequence[Member], folder: Path, *, cores: int, keep: Path | None = None, quiet: bool = False
) -> list[Result]:
    """Run members in a folder; raises AssertionError where an intact input is not taken as such."""
    shared, start, said = folder / "intact", time.monotonic(), 0.0
    warm(chosen)
    twins = sorted({m.twin for m in chosen if m.twin in TWINS})
    if failed := prepare(shared, twins):
        raise AssertionError("\n".join(failed))
    ended: list[Result] = []
    for result in results(chosen, folder / "members", shared, cores=cores, keep=keep):
        ended.append(result)
        if not quiet and wrong([result]):
            print(line_of(result), flush=True)
        gone = time.monotonic() - start
        if not quiet and (gone - said > 5 or len(ended) == len(chosen)):
            said, left = gone, gone / len(ended) * (len(chosen) - len(ended))
            bad = len(wrong(ended))
            print(f"{len(ended)} of {len(chosen)}, {gone:.0f} s, {left:.0f} s left, {bad} wrong", flush=True)
    if keep is not None:
        write_index(chosen, shared, twins, keep)
    return ended


def write_index(chosen: Sequence[Member], shared: Path, twins: Sequence[str], keep: Path) -> None:
    """The intact inputs, and a table of what is what, beside a corpus that is kept."""
    for twin in twins:
        shutil.copytree(twin_case(shared, twin).slide.parent, keep / "intact" / twin, dirs_exist_ok=True)
    rows = [(m.name, m.kind, m.twin, " ".join(sorted(m.allowed)), m.undetectable) for m in chosen]
    lines = ["\t".join(row) for row in [("name", "kind", "intact", "allowed", "undetectable"), *rows]]
    (keep / "corpus.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    parser.add_argument("only", nargs="*", help="kinds, or members by name; left out: all")
    parser.add_argument("--keep", type=Path, help="write the corpus into this folder")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    asked = parser.parse_args()
    chosen = chosen_members(asked.only)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="torture") as folder:
        ended = run(chosen, Path(folder), cores=asked.cores, keep=asked.keep)
    for result in sorted(ended, key=lambda r: (r.member.kind, r.member.name)):
        print(line_of(result))
    peak = max(ended, key=lambda r: r.peak)
    print(f"\n{table_of(ended)}\n")
    used = os.times()
    print(f"{len(ended)} members in {time.monotonic() - start:.0f} s, {used.children_user + used.children_system:.0f} s of "
          f"processor time; peak {peak.peak / 2**30:.2f} GB ({peak.member.name})")  # fmt: skip
    bad = wrong(ended)
    print(f"{len(bad)} wrong." if bad else "None is wrong.")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
