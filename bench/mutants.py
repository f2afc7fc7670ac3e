"""Would a test notice? Change one line of the code at a time and run the tests of its module.

    python -m bench.mutants [ROOT] [--at-most 60]

ROOT is a checkout, by default this one; what is changed is a copy of it. `mutants.tsv` holds each line and what takes
its place; lines were drawn at random over the modules, one a module, without comments and figures. A line that is not
in the checkout exactly once is passed over. The tests of a module are the files that import it, those named after it
first. A mutant that the quick tests miss is shown to the slow ones too, as CI would.
"""

from __future__ import annotations

import argparse
import csv
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
HOUSES = ("scripts/drunet", "scripts/drunet_commands", "scripts/drunet_demo", "workflow/studies")
CODE = tuple(f"{house}/**/*.py" for house in HOUSES)
KINDS = {"quick": "not slow", "slow": "slow"}
MOST_FILES = 8
PARTS = ("scripts", "workflow", "tests", "resources", "bench", "docs", "profiles", "envs")


def place_of(root: Path, line: str) -> Path | None:
    """The file that holds a line, stripped, exactly once in all the code."""
    found = [p for pattern in CODE for p in root.glob(pattern) for own in _lines(p) if own.strip() == line]
    return found[0] if len(found) == 1 else None


def tests_of(root: Path, file: Path) -> list[Path]:
    """Test files that import a module, those named after it or its folder first, at most `MOST_FILES`.

    Where none does, those that import what imports it: the package that hands its names on, for one. Tests of rules
    are asked where no other is there. The test of the examples in docstrings joins where the module has some.
    """
    every = [p for p in sorted(root.glob("tests/**/test_*.py")) if "e2e" not in p.parts]
    whole = {p for p in every if "rules" in p.parts}
    tests = [p for p in every if p not in whole]
    code = [p for pattern in CODE for p in root.glob(pattern)]
    asked, using = [file], _importing(root, tests, file)
    for _ in range(2):
        asked = [p for one in asked for p in _importing(root, code, one)]
        using = using or sorted({p for one in asked for p in _importing(root, tests, one)})
    using = using or _importing(root, sorted(whole), file)
    names = file.stem, file.parent.name
    near = sorted(using, key=lambda p: ([name not in p.stem for name in names], p.stat().st_size))[:MOST_FILES]
    examples = root / "tests/unit/test_examples.py"
    return [*near, examples] if ">>> " in file.read_text(encoding="utf-8") and examples.exists() else near


def _importing(root: Path, files: list[Path], file: Path) -> list[Path]:
    parts = file.relative_to(root).with_suffix("").parts[1:]
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    package, name, dotted = (re.escape(t) for t in (".".join(parts[:-1]), parts[-1], ".".join(parts)))
    one = rf"from {dotted} import|import {dotted}\b|from {package} import [^(\n]*\b{name}\b"
    several = rf"from {package} import \([^)]*\b{name}\b"
    imports = re.compile(rf"(?m)^\s*(?:{one}|{several})")
    return [p for p in files if p != file and imports.search(p.read_text(encoding="utf-8"))]


def noticed(root: Path, file: Path, line: str, mutant: str) -> tuple[str, int]:
    """Which tests fail with the line changed (quick, slow or none), and how many test files were asked."""
    tests = tests_of(root, file)
    before = file.read_text(encoding="utf-8")
    file.write_text(before.replace(line, mutant, 1), encoding="utf-8")
    try:
        by = next((kind for kind, mark in KINDS.items() if tests and _fails(root, tests, mark)), "")
    finally:
        file.write_text(before, encoding="utf-8")
    return by, len(tests)


def _fails(root: Path, tests: list[Path], mark: str) -> bool:
    asked = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-n0", "-m", mark, *map(str, tests)]
    done = subprocess.run(asked, cwd=root, capture_output=True, check=False)
    # 1: a test failed, 2: they could not even be collected, less than 0: they used up the memory. 5: there are none.
    return done.returncode not in (0, 5)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def main() -> None:
    """Print a row per mutant, then how many were noticed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("root", nargs="?", type=Path, default=HERE.parent)
    parser.add_argument("--at-most", type=int, default=60)
    options = parser.parse_args()
    with (HERE / "mutants.tsv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
    caught = tried = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "checkout"
        copy.mkdir()
        for entry in options.root.iterdir():
            if entry.is_file():
                shutil.copy(entry, copy)
            elif entry.name in PARTS:
                shutil.copytree(entry, copy / entry.name)
        for line, mutant in rows:
            file = place_of(copy, line)
            if file is None or tried == options.at_most:
                continue
            begun = time.perf_counter()
            found, tests = noticed(copy, file, line, mutant)
            tried, caught = tried + 1, caught + bool(found)
            place = file.relative_to(copy)
            spent = time.perf_counter() - begun
            words = f"{f'noticed, {found}' if found else 'MISSED':14} {spent:5.0f} s, {tests} files"
            print(f"{words}  {place}: {mutant}", flush=True)
    print(f"{caught} of {tried} noticed")


if __name__ == "__main__":
    main()
