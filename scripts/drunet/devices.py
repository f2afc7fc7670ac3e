"""The GPUs of a machine, handed out to jobs that run there at once: Snakemake counts them and says nothing of which."""

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

# A folder per GPU, where NVIDIA's driver is loaded.
_DRIVER = Path("/proc/driver/nvidia/gpus")


def visible() -> list[str]:
    """Numbers or names of the GPUs that this process may use: those of CUDA_VISIBLE_DEVICES, else all there are."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [str(number) for number, _ in enumerate(_DRIVER.iterdir())] if _DRIVER.is_dir() else []
    return [name.strip() for name in named.split(",") if name.strip()]


@contextmanager
def taken(count: int) -> Iterator[None]:
    """Hold `count` GPUs that no other job holds, and see no other, by CUDA_VISIBLE_DEVICES.

    The environment stays as it is where there are no more than that, as in a job of a cluster, and where too few are
    free: then more jobs run at once than there are GPUs, and share them. A lock on a file holds a GPU, and ends with
    the process whatever ends it.
    """
    there = visible()
    with ExitStack() as held:
        mine: list[str] = []
        for name in there if 0 < count < len(there) else []:
            path = Path(tempfile.gettempdir(), f"drunet-{os.getuid()}-gpu-{re.sub(r'[^A-Za-z0-9]', '_', name)}")
            file = held.enter_context(path.open("a"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            mine.append(name)
            if len(mine) == count:
                os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
                break
        else:
            held.close()
        yield
