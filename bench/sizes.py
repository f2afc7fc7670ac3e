"""Count lines: `make sizes`. Code is what is neither blank, nor a comment, nor a docstring."""

from __future__ import annotations

import ast
import io
import subprocess
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[1]
LONGEST = 400
# Area: patterns of its files, then the most lines in all and of code that it may have. A file counts in the last area
# that it fits.
AREAS: dict[str, tuple[tuple[str, ...], int | None, int | None]] = {
    "product: library": (("scripts/drunet/**/*.py", "scripts/drunet/**/*.j2"), 18_000, None),
    "product: commands": (("scripts/drunet_commands/**/*.py",), None, None),
    "product: drawing of the demo": (("scripts/drunet_demo/**/*.py",), None, None),
    "product: scripts": (("scripts/*.py",), None, None),
    "product: rules": (("Snakefile", "workflow/rules/*.smk"), None, None),
    "studies: library": (("workflow/studies/**/*.py",), 16_000, None),
    "studies: scripts": (("workflow/studies/**/scripts/*.py",), None, None),
    "studies: rules": (("workflow/studies/**/*.smk",), None, None),
    "studies: templates": (("workflow/studies/**/*.j2",), None, None),
    "tests of the product": (
        (
            "tests/*.py",
            *(f"tests/{part}/*.py" for part in ("unit", "rules", "e2e", "kills", "cluster", "soak", "torture")),
        ),
        None,
        None,
    ),
    "tests of studies": (("tests/studies/**/*.py",), None, None),
    "bench": (("bench/*.py",), None, None),
}


def code_lines(path: Path) -> int:
    """Lines of a file that hold code; of anything but Python, lines that are neither blank nor comments."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return sum(1 for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    lines: set[int] = set()
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in layout:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                lines.difference_update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return len(lines)


def main() -> None:
    """Print a table of areas, and the files that are too long."""
    listing = ["git", "ls-files"]
    listed = subprocess.run(listing, capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    tracked = {ROOT / name for name in listed}
    print(f"{'area':24}{'files':>7}{'lines':>9}{'code':>9}   limits")
    long: list[str] = []
    area_of = {p: a for a, (patterns, *_) in AREAS.items() for pattern in patterns for p in ROOT.glob(pattern)}
    for area, (_, most_lines, most_code) in AREAS.items():
        files = sorted(p for p in tracked if area_of.get(p) == area)
        lines = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in files}
        total, code = sum(lines.values()), sum(code_lines(p) for p in files)
        limits = [f"{n} {unit}" for n, unit in ((most_lines, "lines"), (most_code, "of code")) if n]
        over = (most_lines and total > most_lines) or (most_code and code > most_code)
        print(f"{area:24}{len(files):>7}{total:>9}{code:>9}   {', '.join(limits)}{'  OVER' if over else ''}")
        if "tests" not in area:
            long += [f"{p.relative_to(ROOT)}: {n} lines" for p, n in lines.items() if n > LONGEST]
    print(f"\nFiles over {LONGEST} lines: {len(long) or 'none'}", *long, sep="\n  ")


if __name__ == "__main__":
    main()
