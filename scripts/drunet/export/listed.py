"""Listed models: named by address, digest, licence and settings in `resources/models.yaml` and in files of the user's.

A model is named as `onnx: listed:NAME`. Its file is fetched once, by its digest; a download that was cut goes on where
it stood; without a network it is taken from a folder.
"""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field

from drunet.errors import ConfigError, ModelError, closest
from drunet.files import AnyPath, sha256, whole_file
from drunet.settings.base import Block
from drunet.settings.merging import read_yaml

PREFIX = "listed:"
# Of the results; files are named by their digests.
FOLDER = "fetched"
_BLOCK, _SECONDS, _TRIES = 1 << 20, 60.0, 3


class ListedModel(Block):
    """A finished model that anyone can fetch."""

    address: str = Field(pattern=r"^https?://\S+$")
    """where the ONNX file lies, with its weights in it"""
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """digest of the file"""
    licence: str = Field(min_length=1)
    """under which terms it may be used; shown on the model's card"""
    settings: dict[str, Any] = Field(default_factory=dict)
    """as of a finished model: channels_last, scale, tumour_index and so on"""


def read_lists(paths: Iterable[AnyPath]) -> dict[str, ListedModel]:
    """All models of some lists by name; a later list may name one anew. Raises ConfigError for what cannot be read."""
    models: dict[str, ListedModel] = {}
    mend = "It needs NAME: {address, sha256, licence, settings}; `model_lists` names such files."
    for path in map(Path, paths):
        try:
            held = read_yaml(path) or {}
        except Exception as error:  # OSError, UnicodeDecodeError, yaml.YAMLError
            found = type(error).__name__
            raise ConfigError("a list of models cannot be read", where=path.name, found=found, mend=mend) from None
        if not isinstance(held, Mapping):
            raise ConfigError("a list of models holds no names", where=path.name, found=type(held).__name__, mend=mend)
        models |= {str(name): ListedModel.of(entry, f"{path.name}: {name}") for name, entry in held.items()}
    return models


def with_listed(config: Mapping[str, Any], models: Mapping[str, ListedModel]) -> dict[str, Any]:
    """The configuration with listed models written out below what an entry says; raises ConfigError if unknown."""
    result = dict(config)
    for kind in ("classifiers", "refiners"):
        if isinstance(config.get(kind), Mapping):
            result[kind] = {n: _written_out(kind, n, e, config, models) for n, e in config[kind].items()}
    return result


def _written_out(kind: str, name: str, entry: Any, config: Mapping[str, Any], models: Mapping[str, ListedModel]) -> Any:
    onnx = entry.get("onnx") if isinstance(entry, Mapping) else None
    if not isinstance(onnx, str) or not onnx.startswith(PREFIX):
        return entry
    asked = onnx.removeprefix(PREFIX)
    if asked not in models:
        mend = closest(asked, models)
        raise ConfigError("no list holds this model", where=f"{kind}.{name}.onnx", found=asked, mend=mend)
    model = models[asked]
    path = f"{config['results']}/{FOLDER}/{model.sha256}.onnx"
    return {"sha256": model.sha256, "licence": model.licence, **model.settings, **entry, "onnx": path}


def obtain(target: AnyPath, digest: str, address: str, folder: str | None = None) -> None:
    """Put the file with this digest into place: out of `folder`, where one is given, else from its address.

    In the folder it is named by its digest (with .onnx or without) or as at the end of its address. What was fetched
    before a cut lies beside the target. Raises ModelError if there is no such file, or it is another.
    """
    if folder is None:
        _fetch(Path(target), digest, address)
        return
    names = (f"{digest}.onnx", digest, urlsplit(address).path.rpartition("/")[2])
    found = next((Path(folder) / n for n in names if n and (Path(folder) / n).is_file()), None)
    if found is None:
        mend = f"Put it there as {names[0]}, or leave out `model_folder` to fetch it."
        raise ModelError("the folder does not hold the listed model", where="model_folder", found=folder, mend=mend)
    _check(found, digest, "model_folder")
    with whole_file(target) as temporary:
        shutil.copyfile(found, temporary)


def _fetch(target: Path, digest: str, address: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    begun = target.with_name(f".{digest}.fetching")
    failure = "the connection was cut"
    for _ in range(_TRIES):
        try:
            if _go_on(begun, address):
                break
        except OSError as error:  # urllib's URLError and HTTPError among them
            failure = str(getattr(error, "reason", error))[:160] or type(error).__name__
    else:
        mend = "Start again, it goes on where it stood; or download it elsewhere and name its folder as `model_folder`."
        raise ModelError("the listed model cannot be fetched", where=address, found=failure, mend=mend)
    _check(begun, digest, address, keep=False)
    begun.replace(target)


def _go_on(begun: Path, address: str) -> bool:
    """Fetch what is missing; returns whether that is all."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    held = begun.stat().st_size if begun.is_file() else 0
    asked = Request(address, headers={"Range": f"bytes={held}-"} if held else {})  # noqa: S310 - http(s), checked above
    try:
        with urlopen(asked, timeout=_SECONDS) as answer:  # noqa: S310
            goes_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {held}-")
            length = answer.headers.get("Content-Length")
            with begun.open("ab" if goes_on else "wb") as file:
                start = file.tell()
                shutil.copyfileobj(answer, file, _BLOCK)
                return length is None or file.tell() - start == int(length)
    except HTTPError as error:
        # Nothing is left to fetch: what is held is all, or of another file, which its digest tells.
        if error.code == 416 and held:
            return True
        raise
    except HTTPException:
        return False


def _check(path: Path, digest: str, where: str, *, keep: bool = True) -> None:
    if (found := sha256(path)) != digest:
        if not keep:
            path.unlink()
        mend = "The file at this address is another by now, or was changed on its way: ask its authors for the digest."
        raise ModelError("the file is not the one that the list pins", where=where, found=found, mend=mend)
