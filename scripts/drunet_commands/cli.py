"""The command `drunet`: what must work on a broken configuration, or while a run holds its lock."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

from drunet.errors import DrunetError

# Module of each command, read when it is asked for: it has `add_arguments(parser)` and `run(asked) -> exit status`.
COMMANDS = {
    "view": ("viewer.command", "look at slides and results in the browser, and correct outlines"),
    "replay": (
        "replay",
        "make a slide anew from the crate of its run, and say whether every step is bit-equal",
    ),
    "doctor": ("doctor", "look at everything that a run needs, and say what is broken"),
    "init-sheet": ("drafting", "draft a sheet from a folder of slides and annotations"),
    "withdraw": ("withdraw", "list what results hold of a patient, and remove it on request"),
    "progress": ("progress", "show how far the run is that goes on, or went on last"),
    "split": ("split", "fill in a sheet's column `split` by chance, by patient"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status. A mistake of the user is one line on standard error and status 1."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="drunet", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if words[:1] == [name]:
            _module(module).add_arguments(command)
    asked = parser.parse_args(words)
    try:
        return _module(COMMANDS[asked.command][0]).run(asked)
    except (DrunetError, OSError) as error:
        sys.stderr.write(f"ERROR  {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__package__}.{name}")


if __name__ == "__main__":
    sys.exit(main())
