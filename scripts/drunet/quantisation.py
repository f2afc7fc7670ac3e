"""Classifiers in int8: quantised on tiles of the cohort, and held against what they were on others.

The file has QuantizeLinear and DequantizeLinear nodes (QDQ), which ONNX Runtime and OpenVINO both run. Weights are int8
per channel, activations 8 bit with ranges seen on the calibration tiles (Jacob et al. 2018, arXiv 1712.05877).
"""

import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from drunet.errors import ModelError, ProviderError
from drunet.files import AnyPath, sha256, whole_file
from drunet.inference import EngineOptions, Layout, as_input, check_classifier, open_session, probabilities
from drunet.openvino_engine import INSTALL
from drunet.settings.inference import QuantisationSettings
from drunet.slide import Slide
from drunet.tiles import read_table

Agreement = Callable[[Path, Sequence[int]], np.ndarray]
# Layers that accuracy control may give back to float32: each try takes the held tiles once.
_MOST_TRIES = 12
# Held tiles that accuracy control judges a try by.
_JUDGED = 256


def draw_tiles(
    slides: Sequence[tuple[Slide, str]], count: int, *, size: int, mpp: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw tiles, as many from each slide as can be, uint8 (n, size, size, 3).

    `slides` are opened ones, each with its tile table; a tile that cannot be read ends in its SlideError.
    """
    tables = [read_table(path)[0] for _, path in slides]
    orders = [rng.permutation(len(table)) for table in tables]
    # Turn by turn, so that small slides give all that they have.
    places = sorted((turn, k, int(i)) for k, order in enumerate(orders) for turn, i in enumerate(order))[:count]
    tiles = np.empty((len(places), size, size, 3), np.uint8)
    for n, (_, k, i) in enumerate(places):
        row = tables[k].iloc[i]
        tiles[n] = slides[k][0].read(int(row["x"]), int(row["y"]), (size, size), mpp)
    return tiles


def quantise(
    source: AnyPath,
    target: AnyPath,
    calibration: np.ndarray,
    held: np.ndarray,
    *,
    settings: QuantisationSettings,
    options: EngineOptions,
    layout: Layout,
    threshold: float,
    where: str,
) -> dict[str, Any]:
    """Write a classifier in int8, and say how far it is from what it was.

    With `options.provider` ``openvino``, NNCF quantises, and gives layers back to float32 until the mean difference is
    within the limit; else ONNX Runtime does.

    The ranges of the activations are taken from `calibration`, the limits held against `held`, both uint8 tiles
    (n, size, size, 3); the precision of `options` plays no part.

    Returns quantiser, tiles, held, what `differences` says of the held tiles, and sha256 of the result. Raises
    ModelError if that is further from float32 than `settings` allow, and writes nothing then: what was asked for in
    int8 is not computed in another precision without a word; ProviderError if what quantises is not installed.
    """
    plain = EngineOptions(options.provider, threads=options.threads)
    exact = open_session(source, plain, where=where)
    name = check_classifier(exact, layout, held.shape[1], where=where)
    truth = _answers(exact, name, held, layout, where)

    def agreement(path: Path, places: Sequence[int]) -> np.ndarray:
        """1 where the probability of a held tile is as before; 0 is as far as can be."""
        session = open_session(path, plain, where=where)
        return np.asarray(1 - np.abs(_answers(session, name, held[places], layout, where) - truth[places]))

    tiles, with_nncf = as_input(calibration, layout), options.provider == "openvino"
    with tempfile.TemporaryDirectory() as folder, whole_file(target) as temporary:
        if with_nncf:
            # Half of the limit, which is held against more tiles than these.
            judged = range(min(len(held), _JUDGED))
            _by_nncf(source, temporary, name, tiles, agreement, judged, settings.max_difference / 2)
        else:
            _by_onnx_runtime(source, temporary, name, tiles, Path(folder))
        session = open_session(temporary, replace(plain, precision="int8"), where=where)
        report = {
            "quantiser": "nncf" if with_nncf else "onnxruntime",
            "tiles": len(calibration),
            "held": len(held),
            **differences(truth, _answers(session, name, held, layout, where), threshold),
            "sha256": sha256(temporary),
        }
        _check(report, settings, where)
    return report


def differences(truth: np.ndarray, found: np.ndarray, threshold: float) -> dict[str, float]:
    """Mean and largest difference of probabilities (n,), and the share on the other side of the threshold.

    >>> differences(np.array([0.25, 0.75]), np.array([0.5, 0.5]), 0.5)
    {'mean_difference': 0.25, 'max_difference': 0.25, 'sides': 0.5}
    """
    apart, sides = np.abs(found.astype(float) - truth), (found >= threshold) != (truth >= threshold)
    values = {"mean_difference": apart.mean(), "max_difference": apart.max(), "sides": sides.mean()}
    return {name: float(value) for name, value in values.items()}


def _check(report: Mapping[str, Any], settings: QuantisationSettings, where: str) -> None:
    limits = (("mean_difference", settings.max_difference), ("sides", settings.max_sides))
    over = [f"{key} {report[key]:.4f}, at most {limit:g}" for key, limit in limits if report[key] > limit]
    if over:
        what, found = "in int8 the classifier is too far from float32", f"{', '.join(over)}, on {report['held']} tiles"
        mend = "Raise `inference.int8.tiles`, compute in another `inference.precision`, or allow more there."
        raise ModelError(what, where=where, found=found, mend=mend)


def _answers(session: Any, name: str, tiles: np.ndarray, layout: Layout, where: str) -> np.ndarray:
    parts = [probabilities(session, name, tiles[i : i + 32], layout, where) for i in range(0, len(tiles), 32)]
    return np.concatenate(parts)


def _by_nncf(
    source: AnyPath,
    target: Path,
    name: str,
    tiles: np.ndarray,
    agreement: Agreement,
    judged: Sequence[int],
    drop: float,
) -> None:
    import onnx

    try:
        import nncf
    except ImportError as error:
        raise _not_installed(f"the package {error.name}", INSTALL) from None
    nncf.set_log_level(logging.ERROR)

    def metric(model: Any, places: Iterable[Any]) -> tuple[float, list[float]]:
        # The target is written over in the end; until then it holds what is tried.
        onnx.save(model, target)
        values = agreement(target, [int(place) for place in places])
        return float(values.mean()), values.tolist()

    made = nncf.quantize_with_accuracy_control(
        onnx.load(os.fspath(source)),
        calibration_dataset=nncf.Dataset([{name: tile[None]} for tile in tiles]),
        validation_dataset=nncf.Dataset(list(judged)),
        validation_fn=metric,
        max_drop=drop,
        subset_size=len(tiles),
        advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(max_num_iterations=_MOST_TRIES),
    )
    onnx.save(made, target)


def _by_onnx_runtime(source: AnyPath, target: Path, name: str, tiles: np.ndarray, folder: Path) -> None:
    try:
        from onnxruntime import quantization
    except ImportError as error:
        raise _not_installed("sympy", "pip install 'sympy>=1.13,<2'") from error

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self._tiles: Iterator[np.ndarray] = iter(tiles)

        def get_next(self) -> dict[str, np.ndarray] | None:
            tile = next(self._tiles, None)
            return None if tile is None else {name: tile[None]}

    before = logging.root.manager.disable
    # Its advice is for who exports a network.
    logging.disable(logging.WARNING)
    try:
        # Batch normalisation is folded into a convolution before it.
        quantization.quant_pre_process(os.fspath(source), folder / "folded.onnx", skip_symbolic_shape=True)
        kinds = {"activation_type": quantization.QuantType.QUInt8, "weight_type": quantization.QuantType.QInt8}
        files = folder / "folded.onnx", target
        quantization.quantize_static(
            *files, Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=True, **kinds
        )
    finally:
        logging.disable(before)


def _not_installed(what: str, command: str) -> ProviderError:
    found, mend = f"{what} is not installed", f"Install it: {command}. Or compute in another precision."
    return ProviderError("what quantises is not there", where="inference.precision", found=found, mend=mend)
