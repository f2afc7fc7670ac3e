"""What finished trainings of a job leave on disk until all are finished: a job that is killed goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from drunet.files import read_json, whole_file, write_json
from drunet.training.loop import save_inference_weights


class Kept:
    """What a finished training leaves in the folder of the state, until all are finished.

    Parameters
    ----------
    folder : Path
    key : str
        How its files are called.
    identity : str
        Digest of all that decides the result, see `digest`: what another one left counts as not there.
    """

    def __init__(self, folder: Path, key: str, identity: str) -> None:
        self._folder, self._key, self.identity = folder, key, identity
        self.state = folder / f"{key}.state"
        self._record, self._rows = folder / f"{key}.json", folder / f"{key}.parquet"

    def there(self) -> bool:
        """Whether this training is finished."""
        return self._record.is_file() and read_json(self._record)["identity"] == self.identity

    def keep(self, model: keras.Model, rows: pd.DataFrame, history: pd.DataFrame) -> None:
        """Write weights, predictions, then the record that says that they are whole."""
        save_inference_weights(model, weights_file(self._folder, self._key))
        with whole_file(self._rows) as temporary:
            rows.to_parquet(temporary, index=False)
        write_json(self._record, {"identity": self.identity, "history": history.to_dict("list")})
        shutil.rmtree(self.state)

    def read(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Predictions and history."""
        return pd.read_parquet(self._rows), pd.DataFrame(read_json(self._record)["history"])


def weights_file(folder: str | os.PathLike[str], key: str) -> Path:
    """The weights of a training (of a set of images: `protocol.fold`), in the folder of the state or of the results."""
    return Path(folder) / f"{key}.weights.h5"


def keep_weights(state: Path, keys: Sequence[str], folder: str | os.PathLike[str]) -> None:
    """Copy the weights of these trainings from the state to the results."""
    for key in keys:
        with whole_file(weights_file(folder, key)) as temporary:
            shutil.copyfile(weights_file(state, key), temporary)


def digest(decisive: Sequence[Any]) -> str:
    """Digest of JSON values."""
    return hashlib.sha256(json.dumps(list(decisive), sort_keys=True).encode()).hexdigest()
