"""Digest of the first-party code and templates that a script reaches.

Snakemake reruns a rule when its script changes, not when a module does that the script imports. A rule that carries
this digest in its `params` is rerun by both. Comments, docstrings and layout do not count: correcting a sentence does
not retrain a model. Templates and tables that stand beside a module, and that its code names, count with every byte.
"""

import ast
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from drunet.files import whole_file

# Files that a module may read from its own folder; another template of the folder may be named in a template.
_DATA_SUFFIXES = (".j2", ".html", ".css", ".tsv", ".yaml")
_QUOTED = re.compile(r"""["']([\w.-]+)["']""")
_WITH_DOCSTRINGS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def fingerprint(script: Path, roots: Iterable[Path], modules: Iterable[str] = ()) -> str:
    """Digest, sixteen hexadecimal digits, of the code and templates that a script depends on.

    `roots` are the folders that hold first-party packages, `modules` the names of further ones, such as an architecture
    that is found by name and not by an import.
    """
    folders, known = tuple(roots), len(_remembered)
    digest = hashlib.sha256(_read(script).code.encode())
    for name in sorted(reached(script, folders, modules)):
        path = _file(name, folders)
        if path is None:
            continue
        digest.update(name.encode())
        digest.update(_read(path).code.encode())
        for data in _data_files(path):
            digest.update(data.name.encode())
            digest.update(data.read_bytes())
    if _memory and len(_remembered) > known:
        # It only saves time: a folder that cannot be written, or does not exist yet, is none to complain of.
        with suppress(OSError), whole_file(_memory[-1]) as temporary:
            temporary.write_text(json.dumps(_remembered), encoding="utf-8")
    return digest.hexdigest()[:16]


def remember_in(file: Path) -> None:
    """Keep in a file what is read of modules: parsing them all takes half a second of every start."""
    _memory.append(file)
    with suppress(OSError, ValueError):
        kept = json.loads(file.read_text(encoding="utf-8"))
        _remembered.update(kept if isinstance(kept, dict) and len(kept) < _MOST_REMEMBERED else {})


def reached(script: Path, roots: Iterable[Path], modules: Iterable[str] = ()) -> set[str]:
    """Names of the first-party modules that a script imports, directly or not, anywhere in their code."""
    folders = tuple(roots)
    found: set[str] = set()
    todo = [*_imports(script, ""), *modules]
    while todo:
        name = todo.pop()
        # `from drunet.models import registry` names a module or something inside one.
        path = _file(name, folders)
        if path is None:
            name = name.rpartition(".")[0]
            path = _file(name, folders) if name else None
        if path is None or name in found:
            continue
        found.add(name)
        # Importing a.b.c runs a and a.b first.
        todo.append(name.rpartition(".")[0])
        todo.extend(_imports(path, name if path.name == "__init__.py" else name.rpartition(".")[0]))
    return found


@cache
def _file(name: str, roots: tuple[Path, ...]) -> Path | None:
    """The file of a first-party module; None for anything else."""
    parts = name.split(".")
    for root in roots:
        # A package, so that a script of the name of somebody's module is not taken for it.
        if not (root / parts[0] / "__init__.py").is_file():
            continue
        path = root.joinpath(*parts)
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.is_file():
                return file
    return None


def _imports(path: Path, package: str) -> Iterator[str]:
    """Names that a module of a package imports; relative ones are completed."""
    for level, module, names in _read(path).imports:
        if level:
            above = package.split(".")[: len(package.split(".")) - level + 1]
            module = ".".join([*above, *([module] if module else [])])
        yield from (f"{module}.{name}" for name in names) if names else (module,)


def _data_files(module: Path) -> list[Path]:
    """Templates and tables in a module's folder that the module, or a template among them, names."""
    found: dict[str, Path] = {}
    todo = list(_read(module).named)
    while todo:
        name = todo.pop()
        path = module.parent / name
        if name in found or not name.endswith(_DATA_SUFFIXES) or not path.is_file():
            continue
        found[name] = path
        if path.suffix in (".j2", ".html"):
            todo += _QUOTED.findall(path.read_text(encoding="utf-8"))
    return [found[name] for name in sorted(found)]


@dataclass(frozen=True)
class _Source:
    """What counts of a file: a digest of its code, its imports (level, module, names), texts that may name files."""

    code: str
    imports: list[tuple[int, str, list[str]]]
    named: list[str]


# What was read of modules, by a digest of their text, and the file that keeps it.
_remembered: dict[str, Any] = {}
_memory: list[Path] = []
# Every version of every module would be kept for ever.
_MOST_REMEMBERED = 2000


def _read(path: Path) -> _Source:
    return _parsed(path, path.stat().st_mtime_ns)


@cache
def _parsed(path: Path, changed: int) -> _Source:
    """A file as it stood when it was last changed: most scripts reach the same modules."""
    text = path.read_text(encoding="utf-8")
    # Versions of Python write the same code differently.
    key = hashlib.sha256(f"{sys.version} {text}".encode()).hexdigest()
    with suppress(KeyError, TypeError):
        return _Source(**_remembered[key])
    tree = ast.parse(text, filename=path.name)
    imports: list[tuple[int, str, list[str]]] = []
    named: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [(0, alias.name, []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imports.append((node.level, node.module or "", [alias.name for alias in node.names]))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith(_DATA_SUFFIXES):
            named.add(node.value)
        elif isinstance(node, _WITH_DOCSTRINGS):
            # Below a field, a string describes it.
            node.body = [part for part in node.body if not _is_text(part)] or [ast.Pass()]
    source = _Source(hashlib.sha256(ast.unparse(tree).encode()).hexdigest(), imports, sorted(named))
    _remembered[key] = vars(source)
    return source


def _is_text(statement: ast.AST) -> bool:
    value = getattr(statement, "value", None) if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
