"""Every example in a docstring, wherever it stands, shows what the code gives."""

from __future__ import annotations

import doctest
import importlib
import re
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WITH_EXAMPLES = {
    ".".join(path.relative_to(ROOT / folder).with_suffix("").parts): path
    for folder in ("scripts", "workflow")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
}


def examples_in(path: Path) -> int:
    return len(re.findall(r"(?m)^ *>>> ", path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples_of_docstrings_are_right(module: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(module), report=False)
    # Doctest passes over what a decorator wraps, and over what stands in no docstring.
    assert (failed, tried) == (0, examples_in(WITH_EXAMPLES[module]))


def test_what_a_notebook_calls_first_has_an_example() -> None:
    assert len([name for name in WITH_EXAMPLES if name.startswith("drunet.")]) >= 15
    assert sum(map(examples_in, WITH_EXAMPLES.values())) >= 60


RIGHT = """def one():
    '''
    >>> one()
    1
    '''
    return 1
"""
WRONG = RIGHT.replace("    1\n", "    2\n")
# Doctest takes what a decorator of another module gave back for that module's own.
PASSED_OVER = RIGHT.replace("def one", "from contextlib import contextmanager\n\n@contextmanager\ndef one")


@pytest.mark.parametrize(("code", "passes"), [(RIGHT, True), (WRONG, False), (PASSED_OVER, False)])
def test_an_example_that_is_wrong_or_that_nobody_runs_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, passes: bool
) -> None:
    path = tmp_path / "planted.py"
    path.write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(WITH_EXAMPLES, "planted", path)
    try:
        with nullcontext() if passes else pytest.raises(AssertionError):
            test_examples_of_docstrings_are_right("planted")
    finally:
        del sys.modules["planted"]
