"""The command `drunet view`."""

from __future__ import annotations

import argparse
import contextlib
import secrets
import socket
import sys
from pathlib import Path

from drunet.errors import ConfigError
from drunet_commands.viewer.opened import open_results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `drunet view` is asked with."""
    parser.add_argument("--directory", type=Path, default=Path(), help="where the run was started (default: here)")
    parser.add_argument("--configfile", nargs="+", type=Path, default=[], help="as for snakemake: over config.yaml")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="for corrections (default: RESULTS_corrections)")
    parser.add_argument("--port", type=int, default=8765, help="of this machine (default: 8765; 0: any that is free)")


def run(asked: argparse.Namespace) -> int:
    """Serve the viewer until Ctrl-C. Raises ConfigError if there is nothing to look at, or the port is taken."""
    opened = open_results(asked.directory, asked.configfile, asked.save)
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # Free again as soon as a viewer ends; while one listens it stays taken.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with listening:
        try:
            listening.bind(("127.0.0.1", asked.port))
            listening.listen(128)
        except (OSError, OverflowError) as error:
            what, mend = "the port cannot be had", "Another viewer may use it: --port 0 takes one that is free."
            raise ConfigError(what, where="--port", found=f"{asked.port}, {error}", mend=mend) from None
        # Slow to import, and of no use to what fails before.
        import uvicorn

        from drunet_commands.viewer.server import make_app

        token, port = secrets.token_urlsafe(24), listening.getsockname()[1]
        # Ctrl-C does not wait for a slide that is being read.
        config = uvicorn.Config(make_app(opened, token), log_level="warning", timeout_graceful_shutdown=1)
        sys.stderr.write("".join(f"NOTE  {remark}\n" for remark in opened.remarks))
        sys.stdout.write(f"{len(opened.rows)} slides. Open http://127.0.0.1:{port}/?token={token}\n")
        sys.stdout.write("The address works on this machine alone. Ctrl-C ends it.\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])
    return 0
