"""How close the streaming engine comes to the same session fed from memory, and what other engines make of the model.

    python bench/engine.py SLIDE MODEL.onnx [--mpp 1.0] [--step 224] [--tiles 256] [--batch 16] [--repeats 3]
    python bench/engine.py SLIDE MODEL.onnx --engines [--int8 MODEL_INT8.onnx]

Both arms classify the same tiles with one ONNX Runtime session, in turn, in one process. "Memory" holds every tile
decoded before its clock starts; "slide" is `drunet.inference.classify`, reading and decoding included. The ratio of the
two is what a machine's speed does not change. Also printed: the peak memory of the process.

With `--engines` the tiles are judged from memory, in turn, by ONNX Runtime and, where it is installed, OpenVINO, in
every precision that they and the processor have; int8 by a file that the workflow quantised. Printed are tiles per
second, the ratio to ONNX Runtime's float32 (median over the turns) by the clock and by processor time, mean |Δp| and
the share of tiles on another side of 0.5. On a machine that others use too, only the ratio by processor time says
anything, and with `--threads 1`: threads that wait for one another spin.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

from drunet.errors import ProviderError
from drunet.grid import Grid
from drunet.inference import EngineOptions, Layout, classify, open_session, probabilities
from drunet.inspection import find_tissue
from drunet.quantisation import differences
from drunet.settings.merging import read_yaml
from drunet.settings.tissue import TissueSettings
from drunet.slide import Slide
from drunet.tiles import TileRules, tile_table

TISSUE = TissueSettings.of(read_yaml(Path(__file__).parents[1] / "config.yaml")["tissue"], "tissue")

VARIANTS = [
    ("cpu", "float32"),
    ("cpu", "int8"),
    ("openvino", "float32"),
    ("openvino", "float16"),
    ("openvino", "bfloat16"),
    ("openvino", "int8"),
]
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16")


def processor() -> str:
    """The processor's name, how many cores this process may use, and the flags that decide what is fast on it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    said = dict(line.split(":", 1) for line in lines if ":" in line)
    said = {key.strip(): value.strip() for key, value in said.items()}
    flags = set(said.get("flags", "").split())
    return f"{said.get('model name')}, {len(os.sched_getaffinity(0))} cores, {' '.join(f for f in FLAGS if f in flags)}"


def compare(held: list[np.ndarray], model: Path, int8: Path | None, batch: int, repeats: int, threads: int) -> None:
    """Judge the tiles by every engine in turn, and print the table."""
    sessions = {}
    for provider, precision in VARIANTS:
        path = int8 if precision == "int8" else model
        if path is None:
            continue
        try:
            sessions[provider, precision] = open_session(
                path, EngineOptions(provider, precision, threads=threads), where="bench"
            )
        except ProviderError as error:
            print(f"without {provider} {precision}: {error}")
    answers, seconds, spent = {}, {key: [] for key in sessions}, {key: [] for key in sessions}
    for repeat in range(repeats + 1):
        for key, session in sessions.items():
            name, begin, used = session.get_inputs()[0].name, time.perf_counter(), time.process_time()
            parts = [
                probabilities(session, name, np.stack(held[i : i + batch]), Layout(), "bench")
                for i in range(0, len(held), batch)
            ]
            answers[key] = np.concatenate(parts)
            # The first turn is a warm-up.
            seconds[key] += [time.perf_counter() - begin] if repeat else []
            spent[key] += [time.process_time() - used] if repeat else []
    first = next(iter(sessions))
    print(f"{len(held)} tiles, {repeats} turns\n{'':20}{'tiles/s':>9}{'ratio':>7}{'by time':>9}{'|Δp|':>8}{'sides':>8}")
    for key, own in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(seconds[first], own, strict=True))
        work = statistics.median(a / b for a, b in zip(spent[first], spent[key], strict=True))
        apart = differences(answers[first], answers[key], 0.5)
        rate = len(held) / statistics.median(own)
        print(
            f"{' '.join(key):20}{rate:9.1f}{ratio:7.2f}{work:9.2f}{apart['mean_difference']:8.4f}{apart['sides']:8.4f}"
        )


def main() -> None:
    """Run both arms and print tiles/s and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--slide-mpp", type=float, default=None)
    parser.add_argument("--mpp", type=float, default=1.0)
    parser.add_argument("--step", type=int, default=None)
    parser.add_argument("--tiles", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--provider", default="cpu")
    parser.add_argument("--engines", action="store_true", help="compare engines and precisions")
    parser.add_argument("--threads", type=int, default=0, help="of the networks, with --engines; 0: all cores")
    parser.add_argument("--int8", type=Path, default=None, help="the model in int8")
    arguments = parser.parse_args()
    print(processor())

    options = EngineOptions(arguments.provider, batch_size=arguments.batch, readers=arguments.readers)
    session = open_session(arguments.model, options, where="bench")
    size = int(session.get_inputs()[0].shape[1])
    with Slide(arguments.slide, "bench", arguments.slide_mpp) as slide:
        grid = Grid(
            slide.properties.width,
            slide.properties.height,
            slide.properties.mpp,
            arguments.mpp,
            size,
            arguments.step or size,
        )
        table = tile_table(grid, find_tissue(slide, TISSUE)[0], None, TileRules()).head(arguments.tiles)
        x, y = table["x"].to_numpy(), table["y"].to_numpy()
        held = [slide.read(int(a), int(b), (size, size), arguments.mpp) for a, b in zip(x, y, strict=True)]

    if arguments.engines:
        compare(held, arguments.model, arguments.int8, arguments.batch, arguments.repeats, arguments.threads)
        return

    def from_memory() -> float:
        name = session.get_inputs()[0].name
        begin = time.perf_counter()
        for i in range(0, len(held), arguments.batch):
            session.run(None, {name: np.stack(held[i : i + arguments.batch]).astype(np.float32)})
        return time.perf_counter() - begin

    def from_slide() -> float:
        return classify(
            session,
            lambda: Slide(arguments.slide, "bench", arguments.slide_mpp),
            x,
            y,
            size=size,
            mpp=arguments.mpp,
            options=options,
            where="bench",
        ).seconds

    session.run(None, {session.get_inputs()[0].name: np.zeros((arguments.batch, size, size, 3), np.float32)})
    ratios = []
    for repeat in range(arguments.repeats):
        # The order changes, so that a machine which slows down does not favour one arm.
        arms = (from_memory, from_slide) if repeat % 2 else (from_slide, from_memory)
        seconds = {arm.__name__: arm() for arm in arms}
        ratios.append(seconds["from_memory"] / seconds["from_slide"])
        rates = {name: len(held) / s for name, s in seconds.items()}
        memory, slide_rate = rates["from_memory"], rates["from_slide"]
        print(f"{len(held)} tiles: memory {memory:.1f}, slide {slide_rate:.1f} tiles/s, ratio {ratios[-1]:.3f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"median ratio {statistics.median(ratios):.3f}; peak memory {peak:.0f} MiB, the held tiles included")


if __name__ == "__main__":
    main()
