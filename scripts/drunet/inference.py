"""The streaming engine: reading, batching and inference overlap, on ONNX Runtime or OpenVINO.

Reader threads fill whole batches, each from one open handle of the slide (reopening per tile costs 2.5 times, and a
handle that met an error must not be used again). Only so many are read ahead, which bounds memory.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from drunet import session as sessions
from drunet.console import progress
from drunet.errors import ModelError, SlideError
from drunet.slide import Slide

# Who classifies opens a session first: both come from here.
EngineOptions = sessions.EngineOptions
open_session = sessions.open_session
# Batches, per reader, that are read or wait while the network has another: enough to ride out a slow read.
_AHEAD = 3
# What looks at batches as readers fill them, in their threads: indices, uint8 tiles (n, size, size, 3), readable.
Look = Callable[[np.ndarray, np.ndarray, np.ndarray], None]
# How far the rows of a softmax in half precision may be from a sum of 1.
SUM_ERROR = 1e-2


@dataclass(frozen=True)
class Layout:
    """How a network wants its tiles: the `scale` is a factor on 0..255 before the network, 1 where the graph normalises
    by itself; `tumour` is the index of the tumour class in the output.
    """

    channels_last: bool = True
    scale: float = 1.0
    tumour: int = 1


def layout_of(settings: Mapping[str, Any]) -> Layout:
    """How a model wants its tiles, by its entry in the configuration; a trained model's graph normalises by itself."""
    return Layout(
        channels_last=settings.get("channels_last", True),
        scale=settings.get("scale", 1.0),
        tumour=settings.get("tumour_index", 1),
    )


@dataclass(frozen=True)
class Classified:
    """Result of a slide: `p_tumour` float32 (n,), NaN where the tile could not be read; `seconds` from the first read
    to the last result, without loading the model.
    """

    p_tumour: np.ndarray
    unreadable: int
    seconds: float


def check_classifier(session: sessions.Session, layout: Layout, size: int, *, where: str, outputs: bool = True) -> str:
    """Check that a model maps [n, size, size, 3] (or channels first) to [n, classes]; returns its input's name.

    Without `outputs` only what it takes is checked. Raises ModelError if it does not.
    """
    inputs = session.get_inputs()
    wanted = (size, size, 3) if layout.channels_last else (3, size, size)
    shape = tuple(inputs[0].shape)
    fits = (
        len(inputs) == 1 and len(shape) == 4 and all(free(a) or a == b for a, b in zip(shape[1:], wanted, strict=True))
    )
    # Whole numbers hold 0..255 and no multiples of it.
    takes = sessions.TYPES if layout.scale == 1 else {t: k for t, k in sessions.TYPES.items() if "int" not in t}
    if not fits or inputs[0].type not in takes:
        what = "the model does not take the tiles that the configuration describes"
        mend = f"It needs one float input [n, {', '.join(map(str, wanted))}]: set `tiles.size` or `channels_last`."
        if fits and inputs[0].type in sessions.TYPES:
            mend = "An input of whole numbers takes 0..255: leave out `scale`."
        raise ModelError(what, where=where, found=f"inputs {[(i.name, i.shape, i.type) for i in inputs]}", mend=mend)
    first = session.get_outputs()[0]
    classes = first.shape
    if outputs and (len(classes) != 2 or not (free(classes[1]) or layout.tumour < classes[1])):
        found = f"output {first.name} {classes}"
        mend = f"It needs an output [n, classes] with the tumour at index {layout.tumour} (`tumour_index`)."
        raise ModelError("the model gives no class probabilities per tile", where=where, found=found, mend=mend)
    return str(inputs[0].name)


def classify(
    session: sessions.Session,
    open_reader: Callable[[], Slide],
    x: np.ndarray,
    y: np.ndarray,
    *,
    size: int,
    mpp: float,
    options: EngineOptions,
    layout: Layout | None = None,
    look: Look | None = None,
    where: str,
) -> Classified:
    """Classify a slide's tiles of `size` px of `mpp` µm/px; `x`, `y`: top left corners in level-0 px, int (n,).

    `open_reader` opens the slide anew: once per reader thread, and again after an unreadable tile. `look` sees every
    batch that the network is given. `where` is the slide's ID, for messages. Raises ModelError if the model does not
    fit the tiles, and SlideError with status ``unreadable`` if more than `options.max_unreadable` cannot be read.
    """
    layout = layout or Layout()
    name = check_classifier(session, layout, size, where=where)
    p_tumour = np.full(len(x), np.nan, np.float32)
    start = time.perf_counter()
    with closing(streamed(open_reader, x, y, size=size, mpp=mpp, options=options, look=look, where=where)) as batches:
        for index, tiles, readable in batches:
            probability = probabilities(session, name, tiles, layout, where)
            p_tumour[index] = np.where(readable, probability[: len(index)], np.nan)
    return Classified(p_tumour, int(np.isnan(p_tumour).sum()), time.perf_counter() - start)


def streamed(
    open_reader: Callable[[], Slide],
    x: np.ndarray,
    y: np.ndarray,
    *,
    size: int,
    mpp: float,
    options: EngineOptions,
    look: Look | None = None,
    where: str,
) -> Generator[tuple[np.ndarray, np.ndarray, np.ndarray], None, None]:
    """Yield batches of a slide's tiles that threads read ahead, saying how far it is; arguments as for `classify`.

    A batch is (indices, int; tiles, uint8 (n, size, size, 3); readable, bool). Raises SlideError, with status
    ``unreadable``, if more than `options.max_unreadable` of the tiles cannot be read.
    """
    unreadable = 0
    batches = _read_ahead(open_reader, x, y, size, mpp, options, look)
    with closing(batches), progress(len(x), where, "tiles") as bar:
        for index, tiles, readable in batches:
            yield index, tiles, readable
            unreadable += int(len(index) - readable.sum())
            # At once: on a broken slide every further tile would cost opening it again.
            if unreadable > options.max_unreadable * len(x):
                what = "too many tiles cannot be read"
                found = f"{unreadable} of {len(x)} tiles so far"
                mend = "Copy or export the slide again; `inference.max_unreadable` sets the limit."
                raise SlideError(what, status="unreadable", where=where, found=found, mend=mend)
            bar.update(len(index))


def probabilities(session: sessions.Session, name: str, tiles: np.ndarray, layout: Layout, where: str) -> np.ndarray:
    """Tumour probability, float32 (n,), of uint8 tiles (n, size, size, 3); `name` is the model's input.

    Raises ModelError if the model does not answer one row of probabilities per tile.
    """
    answer = session.run(None, {name: as_input(tiles, layout)})[0]
    if answer.ndim != 2 or len(answer) != len(tiles):
        found = f"{list(answer.shape)} for {len(tiles)} tiles"
        mend = "Export it with a batch axis that is free, from the first layer to the last."
        raise ModelError("the model does not answer one row per tile", where=where, found=found, mend=mend)
    probability = answer[:, layout.tumour]
    # One column is the probability itself.
    sums = answer.sum(axis=1) if answer.shape[1] > 1 else np.ones(1)
    # A network whose weights overflow answers NaN, which further on would read as "glass": a silent miss.
    in_range = np.isfinite(answer).all() and probability.min() >= -1e-3 and probability.max() <= 1 + 1e-3
    if not in_range or np.abs(sums - 1).max() > SUM_ERROR:
        found = f"{probability.min():g} to {probability.max():g}, rows sum to {sums.min():g} to {sums.max():g}"
        mend = (
            "Its last layer must be a softmax: set `activation: softmax` or `sigmoid` where it is missing; "
            "with `inference.precision: float16`, try float32."
        )
        raise ModelError("the model's outputs are no probabilities", where=where, found=found, mend=mend)
    return probability


def as_input(tiles: np.ndarray, layout: Layout) -> np.ndarray:
    """Tiles, uint8 (n, size, size, 3), as a network wants them: float32, scaled, channels where it has them."""
    feed = tiles.astype(np.float32)
    if layout.scale != 1:
        feed *= np.float32(layout.scale)
    return feed if layout.channels_last else np.ascontiguousarray(feed.transpose(0, 3, 1, 2))


def _read_ahead(
    open_reader: Callable[[], Slide],
    x: np.ndarray,
    y: np.ndarray,
    size: int,
    mpp: float,
    options: EngineOptions,
    look: Look | None,
) -> Generator[tuple[np.ndarray, np.ndarray, np.ndarray], None, None]:
    """Yield batches (indices, uint8 tiles, readable) that threads read ahead; close it if you stop early."""
    chunks = [np.arange(i, min(i + options.batch_size, len(x))) for i in range(0, len(x), options.batch_size)]
    workers = max(1, min(options.readers, len(chunks)))
    idle: deque[Slide] = deque()

    def taken() -> Slide:
        try:
            return idle.pop()
        except IndexError:
            return open_reader()

    def read(index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        tiles, readable = np.full((len(index), size, size, 3), 255, np.uint8), np.ones(len(index), bool)
        reader: Slide | None = None
        try:
            for k, i in enumerate(index):
                reader = reader or taken()
                try:
                    tiles[k] = reader.read(int(x[i]), int(y[i]), (size, size), mpp)
                except SlideError:
                    readable[k] = False
                    reader.close()
                    reader = None
        finally:
            if reader is not None:
                idle.append(reader)
        if look is not None:
            look(index, tiles, readable)
        return index, tiles, readable

    pool = ThreadPoolExecutor(workers, "reader-")
    waiting: deque[Future[tuple[np.ndarray, np.ndarray, np.ndarray]]] = deque()
    try:
        for chunk in chunks:
            waiting.append(pool.submit(read, chunk))
            if len(waiting) > _AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        for reader in idle:
            reader.close()


def free(dimension: Any) -> bool:
    """Whether an axis of an ONNX file's inputs or outputs has a name, or none, and no number."""
    return not isinstance(dimension, int)
