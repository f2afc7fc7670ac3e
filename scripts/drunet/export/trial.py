"""Trial of a finished ONNX model on tiles made from a seed, and the form in which the workflow runs it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from drunet.errors import ModelError
from drunet.inference import SUM_ERROR, EngineOptions, Layout, check_classifier, free, open_session
from drunet.refine import HEATMAP, IMAGE
from drunet.settings.finished import FinishedModel

TILES = 8
# Far outside 0..255 nothing but a probability stays within 0..1; half precision ends at 65,504.
_EXTREME = 200.0
_MISSING = (
    "If they are logits, set `activation: softmax` or `sigmoid`; if each class has a probability of its own, "
    "`activation: none`."
)


def trial_tiles(size: int) -> np.ndarray:
    """Eight different pictures, uint8 (8, size, size, 3): glass, tissue of several stains, nuclei, and black."""
    rng = np.random.default_rng(20240917)
    colours = [(243, 242, 244), (224, 168, 196), (132, 84, 158), (200, 120, 170), (236, 200, 216), (90, 60, 130)]
    colours += [(180, 150, 190), (12, 10, 14)]
    tiles = np.empty((TILES, size, size, 3), np.uint8)
    y, x = np.mgrid[:size, :size] / size
    for tile, colour in zip(tiles, colours, strict=True):
        waves = np.sin(rng.uniform(4, 40) * x + rng.uniform(4, 40) * y + rng.uniform(0, 6))[..., None]
        tile[:] = np.clip(colour + 18 * waves + rng.normal(0, 12, tile.shape), 0, 255).astype(np.uint8)
    return tiles


@dataclass
class Trial:
    """A model that is tried: its session, what is set (its entry in the configuration), and its name in messages."""

    session: Any
    settings: Any
    where: str

    def __post_init__(self) -> None:
        known = [o.name for o in self.session.get_outputs()]
        if self.settings.output and self.settings.output not in known:
            mend = f"It has {', '.join(known)}."
            raise self.refusal("the model has no such output", self.settings.output, mend, "output")
        self.names = [self.settings.output] if self.settings.output else known

    def refusal(self, what: str, found: object, mend: str, key: str = "") -> ModelError:
        """An error about this model, or one of its settings."""
        return ModelError(what, where=f"{self.where}.{key}" if key else self.where, found=found, mend=mend)

    def answers(self, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All outputs by name; raises ModelError if the model does not run."""
        try:
            return dict(zip(self.names, map(np.asarray, self.session.run(self.names, feed)), strict=True))
        except Exception as error:  # a private class of ONNX Runtime for every kind of failure
            said = (str(error).splitlines() or [type(error).__name__])[0][-160:]
            shapes = ", ".join(f"{i.name} {i.shape} {i.type}" for i in self.session.get_inputs())
            what = "the model does not take the tiles that the configuration describes"
            mend = "Set `channels_last` (false: [n, 3, h, w]) and `tiles.size` to what it was trained on."
            raise self.refusal(what, f"{shapes}; {said}", mend) from error

    def runs(self, feed: dict[str, np.ndarray]) -> bool:
        """Whether the model takes this."""
        try:
            self.answers(feed)
        except ModelError:
            return False
        return True

    def chosen(self, first: dict[str, np.ndarray], wild: dict[str, np.ndarray], rows: tuple[int, ...]) -> str:
        """The one output that holds probabilities, by what it answered to ordinary tiles and to `wild` ones.

        `rows` is the shape that an answer has before its classes.
        """
        reasons = {name: self._objection(first[name], wild.get(name), rows) for name in self.names}
        good = [name for name, reason in reasons.items() if reason is None]
        if len(good) > 1:
            mend = f"Name the one to use: `output: {good[0]}`."
            raise self.refusal("several outputs of the model could be the probabilities", ", ".join(good), mend)
        if not good:
            if len(reasons) == 1:
                raise next(reason for reason in reasons.values() if reason is not None)
            found = "; ".join(f"{n}: {r.what}, {r.found}" for n, r in reasons.items() if r is not None)
            mend = f"Name the one to use by `output`. {_MISSING}"
            raise self.refusal("no output of the model holds probabilities", found, mend)
        return good[0]

    def _objection(self, answer: np.ndarray, wild: np.ndarray | None, rows: tuple[int, ...]) -> ModelError | None:
        values = classes_last(answer, rows, self.settings.channels_last)
        if values is None:
            per = "row per tile" if len(rows) == 1 else "map of background and tumour"
            mend = "Export it with a free batch axis, as [n, classes]." if len(rows) == 1 else "It needs [n, s, s, 2]."
            return self.refusal(f"the model does not answer one {per}", f"{list(answer.shape)} for {rows[0]}", mend)
        classes, index = values.shape[-1], self.settings.tumour_index
        stated = "tumour_index" in self.settings.model_fields_set
        if index >= classes and (classes > 1 or stated):
            mend = f"It needs an output [n, classes] with the tumour at index {index} (`tumour_index`)."
            return self.refusal("the model gives no class probabilities per tile", list(answer.shape), mend)
        if not np.isfinite(values).all():
            mend = "Export it again; its weights or a layer of it overflow."
            return self.refusal("the model's outputs are not finite", "NaN or infinity", mend)
        low, high = float(values.min()), float(values.max())
        sums = values.sum(axis=-1)
        found = f"{low:g} to {high:g}, rows sum to {sums.min():g} to {sums.max():g}"
        within = low >= -1e-3 and high <= 1 + 1e-3
        if wild is not None and within:
            held = wild[np.isfinite(wild)]
            within = held.size == 0 or bool(held.min() >= -1e-3 and held.max() <= 1 + 1e-3)
        whole = bool(np.abs(sums - 1).max() <= SUM_ERROR)
        activation = self.settings.activation
        # With tiles alone a single column of logits, or of several that are small, cannot be distinguished.
        if activation in ("softmax", "sigmoid") and within and (whole or classes == 1) and wild is not None:
            mend = "Leave out `activation`: applied twice it makes every answer undecided."
            return self.refusal("the model's outputs are probabilities already", found, mend)
        good = within and (whole or classes == 1 or activation == "none")
        if activation in ("", "none") and not good:
            return self.refusal("the model's outputs are no probabilities", found, _MISSING)
        if classes > 2 and not stated:
            mend = f"Set `tumour_index` (0 to {classes - 1})."
            return self.refusal("the model knows more than two classes", classes, mend)
        return None


def classes_last(answer: np.ndarray, rows: tuple[int, ...], channels_last: bool = True) -> np.ndarray | None:
    """An answer as (*rows, classes), float32; None if it has another shape."""
    if len(rows) > 1 and not channels_last and answer.ndim == 4:
        answer = answer.transpose(0, 2, 3, 1)
    depth = len(rows)
    if answer.shape[:depth] != rows or any(d != 1 for d in answer.shape[depth + 1 :]) or answer.dtype.kind != "f":
        return None
    values = answer.reshape(*rows, -1).astype(np.float32)
    return values if values.shape[-1] else None


def try_classifier(source: str, size: int, settings: FinishedModel, where: str) -> dict[str, Any]:
    """What the model is: its output, batch and number of classes; raises ModelError if it does not fit."""
    trial = Trial(open_session(source, EngineOptions(), where=where), settings, where)
    inputs = trial.session.get_inputs()
    if settings.inputs:
        mend = "Leave it out: it names the inputs of a refiner."
        raise trial.refusal("a classifier takes one input", ", ".join(settings.inputs), mend, "inputs")
    if settings.size:
        mend = "Leave it out: the side of tiles is `tiles.size`."
        raise trial.refusal("a classifier takes tiles of one size", settings.size, mend, "size")
    if settings.mpp:
        mend = "Leave it out: the resolution of tiles is `tiles.mpp`."
        raise trial.refusal("a classifier takes tiles of one resolution", settings.mpp, mend, "mpp")
    layout = Layout(settings.channels_last, settings.scale, settings.tumour_index)
    name = check_classifier(trial.session, layout, size, where=where, outputs=False)
    tiles = trial_tiles(size)
    feed = _tile_feed(tiles, settings.channels_last, settings.scale)
    turned = {name: _tile_feed(tiles, not settings.channels_last, settings.scale)}
    shape = inputs[0].shape
    other = len(shape) == 4 and free(shape[1]) and free(shape[3]) and trial.runs(turned)
    if other and not trial.runs({name: feed}):
        what = "the model does not take the tiles in the order of axes that the configuration describes"
        mend = f"Set `channels_last: {str(not settings.channels_last).lower()}`."
        raise trial.refusal(what, shape, mend)
    if other and "channels_last" not in settings.model_fields_set:
        mend = "Set `channels_last`: true for [n, h, w, 3], false for [n, 3, h, w]."
        raise trial.refusal("the model runs with either order of its axes", shape, mend)
    first = trial.answers({name: feed})
    wild = _wild(trial, [{name: feed * np.float32(f)} for f in (_EXTREME, -_EXTREME)], inputs[0].type)
    output = trial.chosen(first, wild, (TILES,))
    answer = first[output]
    again = trial.answers({name: np.ascontiguousarray(feed[::-1][:5])})[output]
    if again.shape[0] != 5 or not np.allclose(again, answer[::-1][:5], atol=2e-2, rtol=2e-2):
        found = f"up to {np.abs(again - answer[::-1][:5]).max():g} apart" if again.shape[0] == 5 else list(again.shape)
        mend = "Export it for inference: no dropout, batch normalisation with its stored means."
        raise trial.refusal("a tile's answer depends on the other tiles of its batch, or on chance", found, mend)
    kind = next(o.type for o in trial.session.get_outputs() if o.name == output)
    if kind != "tensor(float16)" and (answer == answer[:1]).all():
        mend = "Check `scale`: 1 for a graph that takes 0..255, 0.00392156862745098 for one that takes 0..1."
        found = np.round(answer.reshape(TILES, -1)[0], 4).tolist()[:4]
        raise trial.refusal("the model gives eight different tiles the same answer", found, mend)
    return {
        "shapes": _shapes(inputs),
        "inputs": {name: "slide"},
        "input_type": inputs[0].type,
        "batch": inputs[0].shape[0] if isinstance(inputs[0].shape[0], int) else None,
        "output": output,
        "classes": answer.shape[1] if answer.ndim > 1 else 1,
        "flat": answer.ndim == 2,
    }


def try_refiner(source: str, settings: FinishedModel, where: str) -> dict[str, Any]:
    """As `try_classifier`, for a refiner, with the side of its square."""
    trial = Trial(open_session(source, EngineOptions(), where=where), settings, where)
    image, heat = _refiner_inputs(trial)
    shape = image.shape[1:] if settings.channels_last else [*image.shape[2:], *image.shape[1:2]]
    sides: set[Any] = {settings.size if free(side) else side for side in shape[:2]}
    if sides == {None}:
        mend = "Set `size` to what it was trained on (published: 1120), or export it for one size: [n, s, s, 3]."
        raise trial.refusal("the model does not state the side of its square", image.shape, mend)
    if len(sides) > 1 or settings.size not in (None, *sides):
        mend = "Leave out `size`, or export it for one size of square, as [n, s, s, 3]; or set `channels_last: false`."
        raise trial.refusal("the model takes no square of that side", image.shape, mend)
    side = int(sides.pop())
    tiles = trial_tiles(side)[[1, 2]]
    heats = (tiles.mean(axis=3, keepdims=True) / 255).astype(np.float32)
    feeds = []
    for tile, warm in zip(tiles, heats, strict=True):
        picture = _tile_feed(tile[None], settings.channels_last, settings.scale)
        feeds.append({image.name: picture, heat.name: _turned(warm[None], settings.channels_last)})
    first, second = map(trial.answers, feeds)
    one = any(len(a.shape) == 4 and 1 in (a.shape[-1], a.shape[1]) for a in first.values())
    wilder = [{**feeds[0], image.name: feeds[0][image.name] * np.float32(f)} for f in (_EXTREME, -_EXTREME)]
    wild = _wild(trial, wilder, image.type) if one or settings.activation else {}
    output = trial.chosen(first, wild, (1, side, side))
    if (first[output] == second[output]).all():
        mend = "Check `scale` and `inputs`."
        raise trial.refusal("the refiner gives two different slides the same answer", "equal maps", mend)
    return {
        "shapes": _shapes(trial.session.get_inputs()),
        "inputs": {image.name: "slide", heat.name: "heatmap"},
        "input_type": image.type,
        "batch": image.shape[0] if isinstance(image.shape[0], int) else None,
        "output": output,
        "classes": first[output].shape[3 if settings.channels_last else 1],
        "flat": True,
        "side": side,
    }


def _refiner_inputs(trial: Trial) -> tuple[Any, Any]:
    """The inputs for slide and heatmap: as set, by their usual names, or by their channels."""
    inputs = {i.name: i for i in trial.session.get_inputs()}
    channels = {n: i.shape[-1 if trial.settings.channels_last else 1] for n, i in inputs.items() if len(i.shape) == 4}
    pictures, heats = ([n for n, c in channels.items() if c == k] for k in (3, 1))
    named = trial.settings.inputs or ([IMAGE, HEATMAP] if {IMAGE, HEATMAP} <= set(inputs) else [*pictures, *heats])
    fits = len(inputs) == len(named) == 2 and set(named) == set(inputs) == set(channels)
    fits = fits and all(free(channels[n]) or channels[n] == k for n, k in zip(named, (3, 1), strict=True))
    if not fits:
        found = f"inputs {[(i.name, i.shape) for i in inputs.values()]}"
        mend = (
            f"It needs `{IMAGE}` [n, s, s, 3] (0..255) and `{HEATMAP}` [n, s, s, 1] (0..1); `inputs: [SLIDE, HEATMAP]` "
            "says which is which, `channels_last: false` that it takes [n, 3, s, s]."
        )
        raise trial.refusal("the model does not take what a refiner is given", found, mend)
    return inputs[named[0]], inputs[named[1]]


def _wild(trial: Trial, feeds: list[dict[str, np.ndarray]], kind: str) -> dict[str, np.ndarray]:
    """All that the model answers to tiles far out of range; nothing where it takes whole numbers, or fails on them."""
    if "int" in kind:
        return {}
    try:
        given = [trial.answers(feed) for feed in feeds]
    except ModelError:
        return {}
    return {n: np.concatenate([np.ravel(g[n]) for g in given]) for n in trial.names if given[0][n].dtype.kind == "f"}


def _shapes(inputs: list[Any]) -> dict[str, list[int | None]]:
    return {i.name: [None if free(d) else d for d in i.shape] for i in inputs}


def _tile_feed(tiles: np.ndarray, channels_last: bool, scale: float) -> np.ndarray:
    return _turned(tiles.astype(np.float32) * np.float32(scale), channels_last)


def _turned(images: np.ndarray, channels_last: bool) -> np.ndarray:
    return images if channels_last else np.ascontiguousarray(images.transpose(0, 3, 1, 2))
