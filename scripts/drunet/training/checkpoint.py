"""Training states on disk: weights, and the state of a training that may be killed."""

import fcntl
import hashlib
import json
import math
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from drunet.console import say
from drunet.errors import ModelError
from drunet.files import read_json, whole_file, write_json

# Seconds from one state on disk to the next: writing that of a deep network takes longer than a short epoch.
KEEP_EVERY = 30.0
# Folders of states in which this process alone trains.
_held: set[Path] = set()


def save_weights(model: keras.Model, path: Path) -> None:
    """Write weights, and for a compiled model its optimiser's state, whole or not at all."""
    with whole_file(path) as temporary:
        # Keras refuses a name that does not end in .weights.h5.
        named = temporary.with_name(temporary.stem + ".weights.h5")
        model.save_weights(named)
        named.replace(temporary)


def save_inference_weights(model: keras.Model, path: Path) -> None:
    """Write the weights alone, without an optimiser's state, as the same builder reads them back."""
    save_weights(keras.Model(model.inputs, model.outputs, name=model.name), path)


class State:
    """What a restart needs, on disk (weights, optimiser, best weights, history), and the best weights in memory.

    `best` is the least that was watched so far, `mark` what early stopping compares with, `wait` its epochs since, and
    `kept` the epoch, from 1, of the best weights. Weights are written under the number of their epoch; the record,
    written last, names the files that belong to it: a kill leaves the old record with its files, or the new one with
    its own.
    """

    def __init__(self, model: keras.Model, folder: Path, identity: str) -> None:
        self.model, self.folder, self.identity = model, folder, identity
        self.history: list[dict[str, float]] = []
        self.best, self.mark, self.wait, self.kept = math.inf, math.inf, 0, 0
        self._best_file: str | None = None
        self._best_weights: list[np.ndarray] | None = None
        self._written = time.perf_counter()
        record = folder / "state.json"
        stored = read_json(record) if record.is_file() else {}
        if stored.get("identity") != identity:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            return
        # A compiled model's weights file holds the optimiser's state too.
        model.load_weights(folder / stored["weights"])
        self.history, self.best, self.mark = stored["history"], stored["best"], stored["mark"]
        self.wait, self.kept, self._best_file = stored["wait"], stored["kept"], stored["best_weights"]

    def keep(self, improved: bool, go_on: Callable[[], None] | None = None) -> None:
        """Remember the best weights, and write the state if it is time to.

        `go_on` gives the model the weights that training goes on with, where those that were judged are others.
        """
        if improved:
            self._best_weights, self._best_file, self.kept = self.model.get_weights(), None, len(self.history)
        if go_on is not None:
            go_on()
        if time.perf_counter() - self._written < KEEP_EVERY:
            return
        latest = f"epoch{len(self.history)}.weights.h5"
        save_weights(self.model, self.folder / latest)
        if improved and go_on is None:
            self._best_file = latest
        elif self._best_file is None:
            # The best weights were not written themselves.
            self._best_file = f"best{self.kept}.weights.h5"
            current = self.model.get_weights()
            self.load_best()
            save_weights(self.model, self.folder / self._best_file)
            self.model.set_weights(current)
        record = {
            "identity": self.identity,
            "weights": latest,
            "best_weights": self._best_file,
            "history": self.history,
            "best": self.best,
            "mark": self.mark,
            "wait": self.wait,
            "kept": self.kept,
        }
        write_json(self.folder / "state.json", record)
        for path in self.folder.glob("*.weights.h5"):
            if path.name not in (latest, self._best_file):
                path.unlink()
        self._written = time.perf_counter()

    def load_best(self) -> None:
        """Give the model its best weights, if an epoch is over."""
        if self._best_weights is not None:
            self.model.set_weights(self._best_weights)
        elif self._best_file is not None:
            self.model.load_weights(self.folder / self._best_file)


@contextmanager
def alone_in(folder: Path, name: str) -> Iterator[None]:
    """Keep others from training in a folder of states: a run may be killed, and its training go on unseen.

    The lock is the operating system's, so that it ends with its process however that ends. A process that holds it may
    ask again: a script holds it until the results are written and the states removed. `name` is the model's in the
    message. Raises ModelError while another process, here or on a machine that shares the disk, trains there.
    """
    place = folder.absolute()
    if place in _held:
        yield
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            what = "this model is being trained by another process"
            mend = "Wait for its end, or stop it there; then run the same command, which goes on from its last state."
            raise ModelError(what, where=name, found=file.read().strip(), mend=mend) from error
        except OSError as error:
            say(f"WARNING  {name}: the disk keeps no locks ({error.strerror}); start no second run beside this one.")
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        _held.add(place)
        try:
            yield
        finally:
            _held.remove(place)
        Path(file.name).unlink(missing_ok=True)


def digest(decisive: Sequence[Any]) -> str:
    """Digest of JSON values."""
    return hashlib.sha256(json.dumps(list(decisive), sort_keys=True).encode()).hexdigest()
