"""A real Slurm of one node on the loopback interface, without accounting; needs root and Debian."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
CONFIG = Path("/etc/slurm/slurm.conf")
MUNGE_FOLDERS = ("/run/munge", "/etc/munge", "/var/log/munge", "/var/lib/munge")
OWN = "# Written by the cluster test of drunet."
# Seconds after which what does not come is taken for lost.
PATIENCE = 60.0


def missing() -> str:
    """Why there can be no Slurm here; empty if there can."""
    if os.geteuid() != 0:
        return "it needs root, to start daemons (found: another user)"
    if not shutil.which("apt-get"):
        return "it needs Debian, whose packages it installs (found: no apt-get)"
    if CONFIG.is_file() and not CONFIG.read_text(encoding="utf-8").startswith(OWN):
        return f"this machine has a Slurm of its own (found: {CONFIG})"
    if not all(shutil.which(name) for name in ("slurmctld", "slurmd", "sbatch", "munged")):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "--no-install-recommends", "-y", *PACKAGES]):
            done = subprocess.run(["apt-get", "-q", *command], env=environment, capture_output=True, check=False)
            if done.returncode:
                return f"apt-get {command[0]} failed: {done.stderr.decode(errors='replace').strip()[-200:]}"
    return ""


@contextmanager
def running(folder: Path, cpus: int) -> Iterator[None]:
    """Start the daemons, whose state and logs are in a folder, and end them."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    started: list[subprocess.Popen[bytes]] = []
    _write_config(folder, cpus)
    for place in MUNGE_FOLDERS:
        Path(place).mkdir(exist_ok=True)
        shutil.chown(place, "munge", "munge")
    # In the foreground, so that they are this process's to end.
    commands = [["runuser", "-u", "munge", "--", "munged", "--force", "--foreground"]]
    commands += [["slurmctld", "-D", "-i"], ["slurmd", "-D"]]
    try:
        for command in commands:
            with (folder / f"{len(started)}.txt").open("wb") as said:
                started.append(subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT))
            time.sleep(1.0)
        _wait_for_node()
        yield
    finally:
        subprocess.run(["scancel", "--quiet", "--full", "--partition", "main"], check=False)
        for process in reversed(started):
            process.terminate()
            process.wait()
        CONFIG.unlink()


def _write_config(folder: Path, cpus: int) -> None:
    host = socket.gethostname()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 9 // 10 >> 20
    settings = {
        "ClusterName": "loopback",
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmUser": "root",
        "SlurmdUser": "root",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "JobAcctGatherType": "jobacct_gather/none",
        "AccountingStorageType": "accounting_storage/none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core_Memory",
        "MinJobAge": "300",
        "ReturnToService": "2",
        "KillWait": "2",
        "MailProg": "/bin/true",
        "StateSaveLocation": folder / "state",
        "SlurmdSpoolDir": folder / "spool",
        "SlurmctldLogFile": folder / "slurmctld.log",
        "SlurmdLogFile": folder / "slurmd.log",
    }
    lines = [OWN, *(f"{key}={value}" for key, value in settings.items())]
    lines.append(f"NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN")
    lines.append(f"PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP")
    CONFIG.parent.mkdir(exist_ok=True)
    CONFIG.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _wait_for_node() -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        told = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, check=False)
        if told.stdout.strip() in ("idle", "mixed", "allocated"):
            return
        time.sleep(0.5)
    raise RuntimeError(f"Slurm's node does not come up: {told.stdout} {told.stderr}")


def jobs(state: str = "RUNNING") -> list[str]:
    """Numbers of the jobs in a state, the first first."""
    told = subprocess.run(["squeue", "-h", "-t", state, "-o", "%A"], capture_output=True, text=True, check=True)
    return sorted(told.stdout.split(), key=int)


def processes(job: str) -> list[int]:
    """Process numbers of a job, by what Slurm put into their environment."""
    found = []
    for place in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"SLURM_JOB_ID={job}\0".encode() in place.read_bytes():
                found.append(int(place.parent.name))
        except OSError:
            continue
    return found
