"""A digest of the first-party code that a script reaches through imports.

Snakemake reruns a rule when its script changes, not when a module does that the script imports. A rule that carries
this digest in its `params` is rerun by both. Comments, docstrings and layout do not count: mending a sentence does not
retrain a model.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PACKAGE = "drunet"


def fingerprint(script: Path, root: Path, modules: Iterable[str] = ()) -> str:
    """Digest of the code that a script depends on.

    Parameters
    ----------
    script : Path
        The rule's script.
    root : Path
        Folder that holds the package.
    modules : iterable of str
        Further modules, such as an architecture that is found by name and not by an import.

    Returns
    -------
    str
        Sixteen hexadecimal digits.
    """
    digest = hashlib.sha256(_code(script).encode())
    for name in sorted(_reached([*_imports(script), *modules], root)):
        digest.update(name.encode())
        digest.update(_code(_file(name, root)).encode())
    return digest.hexdigest()[:16]


def reached(script: Path, root: Path, modules: Iterable[str] = ()) -> set[str]:
    """Names of the first-party modules that a script imports, directly or not, anywhere in their code."""
    return _reached([*_imports(script), *modules], root)


def _reached(names: Iterable[str], root: Path) -> set[str]:
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        # `from drunet.models import registry` names a module or something inside one.
        if not _exists(name, root):
            name = name.rpartition(".")[0]
        if not name or name in found or not _exists(name, root):
            continue
        found.add(name)
        # Importing a.b.c runs a and a.b first.
        todo.append(name.rpartition(".")[0])
        todo.extend(_imports(_file(name, root)))
    return found


def _exists(name: str, root: Path) -> bool:
    return name.partition(".")[0] == PACKAGE and _file(name, root).is_file()


def _file(name: str, root: Path) -> Path:
    path = root.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imports(path: Path) -> frozenset[str]:
    """First-party names that a module imports."""
    return _parsed(path, path.stat().st_mtime_ns)[0]


def _code(path: Path) -> str:
    """The module's statements as text, without comments, layout and docstrings."""
    return _parsed(path, path.stat().st_mtime_ns)[1]


@cache
def _parsed(path: Path, changed: int) -> tuple[frozenset[str], str]:
    """Imports and code of a file as it stood when it was last changed: most scripts reach the same modules."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=path.name)
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    ours = frozenset(n for n in names if n.partition(".")[0] == PACKAGE)
    return ours, ast.unparse(_WithoutDocstrings().visit(tree))


class _WithoutDocstrings(ast.NodeTransformer):
    def _strip(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        # Below a field, a string describes it.
        body = [part for part in getattr(node, "body", []) if not _is_text(part)]
        node.body = body or [ast.Pass()]  # type: ignore[attr-defined]
        return node

    visit_Module = visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _strip  # noqa: N815 - ast's own names


def _is_text(statement: ast.AST) -> bool:
    value = getattr(statement, "value", None) if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
