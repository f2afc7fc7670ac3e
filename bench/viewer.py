"""Time the viewer's tiles: how long four clients wait for tiles that nobody asked for before, and the server's memory.

    PYTHONPATH=scripts python -m bench.viewer [ARGUMENTS OF drunet view]

Starts `drunet view`, forgets what the system has cached of the slide files, and asks for 5,000 different tiles of 256
px: of all slides and zooms, each client walking through its own. The first time that a client comes to a slide, it also
asks for heatmap and outlines, as the page does. Prints milliseconds per tile and the server's resident memory.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from drunet_commands.viewer.command import add_arguments
from drunet_commands.viewer.opened import open_results

TILES, CLIENTS, SEED = 5_000, 4, 20240917


class Client:
    """One browser: a connection that is kept."""

    def __init__(self, port: int, token: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self.headers = {"Cookie": f"drunet_view_{port}={token}"}

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of an answer."""
        self.connection.request("GET", path, headers=self.headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()


def addresses(client: Client, slides: list[str]) -> list[tuple[str, str]]:
    """Slide and path of tiles, one client's walk: level by level of a slide, then the next; spread over all zooms."""
    rng, chosen = np.random.default_rng(SEED), []
    pools = []
    for slide in slides:
        facts = json.loads(client.get(f"/slides/{slide}")[1])
        for level in range(min(8, facts["top"]), facts["top"] + 1):
            scale = 2 ** (facts["top"] - level)
            columns, rows = (-(-side // scale // 256) for side in (facts["width"], facts["height"]))
            pools.append([(slide, f"/slides/{slide}/tiles/{level}/{c}_{r}.jpg") for c, r in np.ndindex(columns, rows)])
    # Small levels whole, and of the others as many each as give the number asked for.
    share = next((n for n in range(1, 100_000) if sum(min(n, len(p)) for p in pools) >= TILES), 100_000)
    for pool in pools:
        picked = np.sort(rng.permutation(len(pool))[:share])
        chosen += [pool[i] for i in picked]
    return chosen[:TILES]


def resident(pid: int) -> float:
    """Resident memory of a process in MB."""
    return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text("utf-8"))[0]) / 1024


def processor(pid: int) -> float:
    """Seconds of processor time that a process has had."""
    ticks = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")


def main(arguments: list[str]) -> None:
    """Print what was measured."""
    import argparse

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    asked = parser.parse_args(arguments)
    opened = open_results(asked.directory, asked.configfile)
    command = [sys.executable, "-m", "drunet_commands.cli", "view", *arguments, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None  # noqa: S101 - it is a pipe
            _, port, token = re.findall(r"((\d+)/\?token=(\S+))", server.stdout.readline())[0]
            first = Client(int(port), token)
            good = [s["id"] for s in json.loads(first.get("/cohort")[1])["slides"] if s["status"] == "ok"]
            wanted = addresses(first, good)
            for row in opened.rows.values():
                if Path(row.path).is_file():
                    with open(row.path, "rb") as file:  # noqa: PTH123 - the descriptor is what is needed
                        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            before = processor(server.pid)
            waited, memory, failed = walk(server.pid, int(port), token, wanted, opened.runs()[:1])
            spent = processor(server.pid) - before
        finally:
            server.terminate()
    p50, p95, p99 = np.percentile(waited, (50, 95, 99))
    print(f"{len(waited)} tiles of {len(good)} slides, {CLIENTS} clients, {failed} failed")
    print(f"ms per tile: p50 {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f}, longest {max(waited):.0f}")
    print(f"processor time of the server: {1000 * spent / len(waited):.1f} ms per tile")
    print("MB resident:", " ".join(f"{mb:.0f}" for mb in memory))


def walk(
    pid: int, port: int, token: str, wanted: list[tuple[str, str]], runs: list[str]
) -> tuple[list[float], list[float], int]:
    """Milliseconds of each tile, memory now and then, and the number of tiles that did not come."""
    waited: list[float] = []
    memory = [resident(pid)]
    failed = []

    def one(part: list[tuple[str, str]]) -> None:
        client, been = Client(port, token), set()
        for slide, path in part:
            if slide not in been:
                been.add(slide)
                for layer in ("heatmap", "outlines"):
                    for run in runs:
                        client.get(f"/slides/{slide}/{layer}?run={run}")
            start = time.perf_counter()
            status, _ = client.get(path)
            waited.append((time.perf_counter() - start) * 1000)
            failed.append(status != 200)
            if len(waited) % 500 == 0:
                memory.append(resident(pid))

    threads = [threading.Thread(target=one, args=(wanted[i::CLIENTS],)) for i in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return waited, memory, sum(failed)


if __name__ == "__main__":
    main(sys.argv[1:])
