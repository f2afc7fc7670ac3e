"""Encoders: a finished ONNX file that turns tiles into features, in the form in which the workflow runs it.

In that form it takes `input_image`, float32 (n, size, size, 3) in 0..255 of the workflow's tiles, and gives one row of
features a tile, float32 (n, features): scaling, resizing, the order of axes and the pooling of tokens are in the graph.
"""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from drunet.export.standard_form import Rewriting, rename, save
from drunet.export.trial import TILES, Trial, trial_tiles
from drunet.inference import EngineOptions, Layout, check_classifier, free, open_session
from drunet.refine import IMAGE
from drunet.settings.encoder import EncoderSettings

# Tiles of noise that show the form of its answers.
_FIRST = 2
_TYPES = ("tensor(float)", "tensor(float16)", "tensor(double)")
_BOTH = "class_token_and_mean"


def encoder_form(path: str, size: int, settings: EncoderSettings, where: str) -> dict[str, Any]:
    """Put an encoder into its form, in place, and try it on tiles of `size` px made from a seed.

    Returns JSON values: `shapes`, `side` (px that it takes), `channels_last`, `output`, `features` (how many), `opset`,
    and what was `changed`. Raises ModelError if it does not take tiles, or does not give one row of finite features for
    each, whatever the others are.
    """
    trial = Trial(open_session(path, EngineOptions(), where=where), settings, where)
    last, side = _taken(trial, size)
    entry = trial.session.get_inputs()[0]
    name, shape = _answer(trial, side, last)
    # The session holds the weights a second time.
    del trial
    model = onnx.load(path)
    rewriting = Rewriting(model.graph)
    done = _front(rewriting, entry.name, settings, size, side, last)
    value = rewriting.as_float(name)
    pooled = _pooled(rewriting, value, len(shape), settings, last)
    if pooled != value:
        done.append(f"pooling {settings.pooling}")
    features = shape[1] if len(shape) == 4 and not last else shape[-1] * (1 + (settings.pooling == _BOTH))
    rewriting.finish(pooled, ["n" if free(entry.shape[0]) else entry.shape[0], features])
    save(model, path, where)
    _try(path, size, features, where)
    return {
        "shapes": {entry.name: [None if free(d) else d for d in entry.shape]},
        "side": side,
        "channels_last": last,
        "output": name,
        "features": features,
        "opset": next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")),
        "changed": done,
    }


def _taken(trial: Trial, size: int) -> tuple[bool, int]:
    """Whether the encoder takes channels last, and the side of its square, px."""
    inputs, settings = trial.session.get_inputs(), trial.settings
    shape = inputs[0].shape if inputs else []
    if len(inputs) != 1 or len(shape) != 4 or inputs[0].type not in _TYPES:
        found = f"inputs {[(i.name, i.shape, i.type) for i in inputs]}"
        mend = "It needs one input of pictures, [n, 3, s, s] or [n, s, s, 3], of float32 or float16."
        raise trial.refusal("the encoder takes no tiles", found, mend)
    axes = {False: shape[1], True: shape[3]}
    # An axis of three is the channels' where the other one is open.
    fits = [last for last, axis in axes.items() if axis == 3] or [last for last, axis in axes.items() if free(axis)]
    if settings.channels_last is not None:
        fits = [last for last in fits if last == settings.channels_last]
    if len(fits) != 1:
        mend = "Set `channels_last`: true for [n, h, w, 3], false for [n, 3, h, w]."
        raise trial.refusal("the order of the encoder's axes is not that of three channels", shape, mend)
    sides = {s for s in (shape[1:3] if fits[0] else shape[2:]) if not free(s)}
    side = sides.pop() if len(sides) == 1 else settings.size or size
    if sides or settings.size not in (None, side):
        mend = "Leave out `size`, or export it for one size of square."
        raise trial.refusal("the encoder takes no square of that side", shape, mend, "size")
    return fits[0], int(side)


def _answer(trial: Trial, side: int, last: bool) -> tuple[str, tuple[int, ...]]:
    """Name of the output with the features, and the shape of what it holds."""
    rng = np.random.default_rng(20240917)
    shape = (_FIRST, side, side, 3) if last else (_FIRST, 3, side, side)
    answers = trial.answers({trial.session.get_inputs()[0].name: rng.uniform(0, 1, shape).astype(np.float32)})
    if len(answers) > 1:
        mend = f"Name the one with the features: `output: {next(iter(answers))}`."
        raise trial.refusal("the encoder has several outputs", ", ".join(answers), mend)
    (name, answer), pooling = next(iter(answers.items())), trial.settings.pooling
    wanted = {2: ("none",), 3: ("class_token", "mean", _BOTH), 4: ("mean",)}.get(answer.ndim, ())
    if len(answer) != _FIRST or pooling not in wanted:
        mend = f"Set `pooling: {' or '.join(wanted)}`." if wanted else "It needs [n, features] or [n, tokens, …]."
        if len(answer) != _FIRST:
            mend = "Export it with a batch axis that is free, from the first layer to the last."
        found = f"{list(answer.shape)} for {_FIRST} tiles, pooling {pooling}"
        raise trial.refusal("the encoder does not answer one row of features per tile", found, mend)
    return name, answer.shape


def _front(rewriting: Rewriting, name: str, settings: EncoderSettings, size: int, side: int, last: bool) -> list[str]:
    """Let the encoder take tiles in 0..255, channels last, at its input; returns what was added."""
    entry = next(value for value in rewriting.graph.input if value.name == name)
    kind, inside, done, value = entry.type.tensor_type.elem_type, f"drunet_inside_{entry.name}", [], IMAGE
    for node in rewriting.graph.node:
        rename(node, entry.name, inside)
    deviation = np.array(settings.deviation, np.float64)
    factor, shift = settings.scale / deviation, -np.array(settings.mean, np.float64) / deviation
    if (factor != 1).any() or shift.any():
        scaled = rewriting.node("Mul", [value, rewriting.constant(factor.astype(np.float32))], front=True)
        value = rewriting.node("Add", [scaled, rewriting.constant(shift.astype(np.float32))], front=True)
        done.append("scale, mean and deviation")
    if not last or side != size:
        value = rewriting.node("Transpose", [value], front=True, perm=[0, 3, 1, 2])
    if side != size:
        # Rounded up a little: the side of the answer is the product without its fraction.
        scales = rewriting.constant(np.array([1, 1, *[side / size * (1 + 1e-6)] * 2], np.float32))
        ports = [value, rewriting.constant(np.zeros(0, np.float32)), scales]
        value = rewriting.node("Resize", ports, front=True, mode="linear")
        done.append(f"tiles of {size} px resized to {side}")
    if last and side != size:
        value = rewriting.node("Transpose", [value], front=True, perm=[0, 2, 3, 1])
    rewriting.node("Cast", [value], front=True, result=inside, to=kind)
    batch = entry.type.tensor_type.shape.dim[0].dim_value
    entry.CopyFrom(helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, [batch or "n", size, size, 3]))
    return done


def _pooled(rewriting: Rewriting, value: str, rank: int, settings: EncoderSettings, last: bool) -> str:
    """One row of features from an answer of this rank."""

    def averaged(features_first: str) -> str:
        # In place of a mean over axes, whose form depends on the opset.
        return rewriting.node("Flatten", [rewriting.node("GlobalAveragePool", [features_first])], axis=1)

    if rank == 2:
        return value
    if rank == 4:
        return averaged(rewriting.node("Transpose", [value], perm=[0, 3, 1, 2]) if last else value)
    parts = []
    if settings.pooling.startswith("class_token"):
        parts.append(rewriting.node("Gather", [value, rewriting.constant(np.array(0, np.int64))], axis=1))
    if settings.pooling.endswith("mean"):
        begin = settings.patches_from if settings.patches_from is not None else len(parts)
        limits = [rewriting.constant(np.array([n], np.int64)) for n in (begin, np.iinfo(np.int64).max, 1)]
        patches = rewriting.node("Slice", [value, *limits])
        parts.append(averaged(rewriting.node("Transpose", [patches], perm=[0, 2, 1])))
    return parts[0] if len(parts) == 1 else rewriting.node("Concat", parts, axis=1)


def _try(path: str, size: int, features: int, where: str) -> None:
    """Try an encoder in its form; raises ModelError if its features cannot be used."""
    session = open_session(path, EngineOptions(), where=where)
    tiles = trial_tiles(size).astype(np.float32)
    name = check_classifier(session, Layout(), size, where=where, outputs=False)
    trial = Trial(session, EncoderSettings(onnx=path), where)
    (answer,) = trial.answers({name: tiles}).values()
    (again,) = trial.answers({name: np.ascontiguousarray(tiles[::-1][:5])}).values()
    if answer.shape != (TILES, features) or not np.isfinite(answer).all():
        found = f"{list(answer.shape)} for {TILES} tiles, {answer.min():g} to {answer.max():g}"
        mend = "Check `output`, `pooling` and the precision in which it was exported."
        raise trial.refusal("the encoder does not answer one row of finite features per tile", found, mend)
    apart = np.abs(again - answer[::-1][:5]).max(initial=0)
    if apart > 2e-2 * np.abs(answer).max():
        mend = "Export it for inference: no dropout, batch normalisation with its stored means."
        found = f"up to {apart:g} apart"
        raise trial.refusal("a tile's features depend on the other tiles of its batch, or on chance", found, mend)
    if (answer == answer[:1]).all():
        mend = "Check `scale`, `mean` and `deviation`."
        raise trial.refusal("the encoder gives eight different tiles the same features", "equal rows", mend)
