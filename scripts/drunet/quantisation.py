"""Classifiers in int8: quantised on tiles of the cohort, and held against what they were on others.

The file has QuantizeLinear and DequantizeLinear nodes (QDQ), which ONNX Runtime and OpenVINO both run. Weights are int8
per channel, activations 8 bit with ranges seen on the calibration tiles (Jacob et al. 2018, arXiv 1712.05877).
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from drunet.errors import ModelError, ProviderError
from drunet.files import sha256, whole_file
from drunet.inference import EngineOptions, Layout, as_input, check_classifier, open_session, probabilities
from drunet.openvino_engine import INSTALL
from drunet.settings.inference import QuantisationSettings
from drunet.slide import Slide
from drunet.tiles import read_table

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
    # A slide's turn, its k-th tile: turn by turn, so that small slides give all that they have.
    places = [(int(i), k) for turn in range(max(map(len, orders), default=0)) for k, o in enumerate(orders)
              for i in o[turn : turn + 1]]  # fmt: skip
    tiles = np.empty((min(count, len(places)), size, size, 3), np.uint8)
    for n, (i, k) in enumerate(places[:count]):
        row = tables[k].iloc[i]
        tiles[n] = slides[k][0].read(int(row["x"]), int(row["y"]), (size, size), mpp)
    return tiles


def quantise(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
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

    Parameters
    ----------
    calibration, held : uint8 (n, size, size, 3)
        Tiles that the ranges of the activations are taken from, and others that the limits are held against.
    options : EngineOptions
        What computes the result; its precision plays no part.

    Returns
    -------
    dict
        quantiser, tiles, held, mean_difference and max_difference of the tumour probability, sides (share of the held
        tiles on the other side of `threshold`), sha256 of the result.

    Raises
    ------
    ModelError
        If the result is further from float32 than `settings` allow. Nothing is written then: a model that was asked for
        in int8 is not computed in another precision without a word.
    ProviderError
        If what quantises is not installed.
    """
    exact = open_session(source, EngineOptions(options.provider, threads=options.threads), where=where)
    name = check_classifier(exact, layout, held.shape[1], where=where)
    truth = _answers(exact, name, held, layout, where)
    with tempfile.TemporaryDirectory() as folder, whole_file(target) as temporary:
        tiles = as_input(calibration, layout)
        if options.provider == "openvino":
            _by_nncf(source, temporary, name, tiles, held, truth, settings, layout, where)
        else:
            _by_onnx_runtime(source, temporary, name, tiles, Path(folder))
        engine = EngineOptions(options.provider, "int8", threads=options.threads)
        found = _answers(open_session(temporary, engine, where=where), name, held, layout, where)
        report = {
            "quantiser": "nncf" if options.provider == "openvino" else "onnxruntime",
            "tiles": len(calibration),
            "held": len(held),
            **differences(truth, found, threshold),
            "sha256": sha256(temporary),
        }
        _check(report, settings, where)
    return report


def differences(truth: np.ndarray, found: np.ndarray, threshold: float) -> dict[str, float]:
    """Mean and largest difference of probabilities (n,), and the share on the other side of the threshold.

    Examples
    --------
    >>> differences(np.array([0.25, 0.75]), np.array([0.5, 0.5]), 0.5)
    {'mean_difference': 0.25, 'max_difference': 0.25, 'sides': 0.5}
    """
    apart, sides = np.abs(found.astype(float) - truth), (found >= threshold) != (truth >= threshold)
    return {
        "mean_difference": float(apart.mean()),
        "max_difference": float(apart.max()),
        "sides": float(sides.mean()),
    }


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
    source: str | os.PathLike[str],
    target: Path,
    name: str,
    tiles: np.ndarray,
    held: np.ndarray,
    truth: np.ndarray,
    settings: QuantisationSettings,
    layout: Layout,
    where: str,
) -> None:
    import onnx

    try:
        import nncf
    except ImportError as error:
        raise _not_installed(f"the package {error.name}", INSTALL) from None
    nncf.set_log_level(logging.ERROR)
    judged, wanted = held[:_JUDGED], truth[:_JUDGED]

    def agreement(model: Any, _: Any) -> tuple[float, list[float]]:
        """1 where every probability is as before; 0 is as far as can be."""
        with tempfile.TemporaryDirectory() as folder:
            onnx.save(model, f"{folder}/try.onnx")
            session = open_session(f"{folder}/try.onnx", EngineOptions("openvino"), where=where)
            apart = np.abs(_answers(session, name, judged, layout, where) - wanted)
        return float(1 - apart.mean()), [float(1 - a) for a in apart]

    network = onnx.load(os.fspath(source))
    made = nncf.quantize_with_accuracy_control(
        network,
        calibration_dataset=nncf.Dataset([{name: tile[None]} for tile in tiles]),
        validation_dataset=nncf.Dataset(list(range(len(judged)))),
        validation_fn=agreement,
        # Half of the limit: it is held against more tiles than these.
        max_drop=settings.max_difference / 2,
        subset_size=len(tiles),
        advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(max_num_iterations=_MOST_TRIES),
    )
    onnx.save(made, target)


def _by_onnx_runtime(source: str | os.PathLike[str], target: Path, name: str, tiles: np.ndarray, folder: Path) -> None:
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

    with _quiet():
        # Batch normalisation is folded into what comes before it, where that is a convolution.
        quantization.quant_pre_process(os.fspath(source), folder / "folded.onnx", skip_symbolic_shape=True)
        quantization.quantize_static(
            folder / "folded.onnx",
            target,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantiser's advice, which is for who exports a network."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _not_installed(what: str, command: str) -> ProviderError:
    found, mend = f"{what} is not installed", f"Install it: {command}. Or compute in another precision."
    return ProviderError("what quantises is not there", where="inference.precision", found=found, mend=mend)
