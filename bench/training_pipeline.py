"""Tiles per second that the training pipeline makes, by its number of workers, and what a step then waits for them.

    python -m bench.training_pipeline SLIDE [--mpp MPP] [--old CHECKOUT] [--tiles 640] [--rounds 5] [--uncached]

Tiles of 224 px at 1 µm/px with the published augmentation, read and changed, in batches of 16. All forms take turns in
one run, each in a process of its own; printed are medians over the rounds, and the processor time of a tile, which
depends less on what else the machine does. With `--old`, a checkout of an earlier commit, its single thread takes turns
too, as it is and with OpenSlide alone. Then a training whose step is a sleep, which takes tiles at 60 % of the rate of
two workers, tells its `waited`. `--uncached`: no decoded tile of the file is kept, as in a cohort of many slides.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SIZE, BATCH = 224, 16
LENSES = {"lenses": 4, "radius": [80, 110], "strength": [-0.4, 0.4]}
RANGES = {"contrast": [0.7, 1.3], "saturation": [0.7, 1.3]}
AUGMENT = {"flip": True, "quarter_turns": True, "hue": 0.08, "brightness": 0.1, **RANGES, "multi_lens": LENSES}
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")


def main() -> None:
    """Print a row per form, its ratio to the old ones, and what the sleeping step waited."""
    asked = arguments()
    if asked.child is not None:
        serve(asked)
        return
    print(machine())
    own = str(Path(__file__).resolve().parent.parent)
    forms = {f"{n} workers": (own, {"workers": n}) for n in (1, 2, 4)}
    if asked.old:
        before = {"old, OpenSlide alone": (asked.old, {"openslide": True}), "old": (asked.old, {})}
        forms = {**before, **forms}
    children = {name: Child(code, asked, how) for name, (code, how) in forms.items()}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in forms}
    for turn in range(asked.rounds + 1):
        for name, child in children.items():
            found = child.ask({"tiles": asked.tiles})
            if turn:
                rounds[name].append(found)
    rates = {name: [asked.tiles / found["wall"] for found in done] for name, done in rounds.items()}
    olds = [name for name in forms if name.startswith("old")]
    print(f"{'form':22}{'tiles/s':>9}{'CPU ms/tile':>13}" + "".join(f"{'to ' + o:>27}" for o in olds))
    for name, own_rates in rates.items():
        spent = statistics.median(1000 * found["cpu"] / asked.tiles for found in rounds[name])
        # Within a round, what else the machine does is about the same.
        ratios = [statistics.median(a / b for a, b in zip(own_rates, rates[o], strict=True)) for o in olds]
        print(f"{name:22}{statistics.median(own_rates):>9.0f}{spent:>13.2f}" + "".join(f"{r:>26.2f}x" for r in ratios))
    child = children["2 workers"]
    for _ in range(2):
        rate = asked.tiles / child.ask({"tiles": asked.tiles})["wall"]
        waited = child.ask({"tiles": 2 * asked.tiles, "sleep": BATCH / (0.6 * rate)})["waited"]
        print(f"a step that takes 60 % of {rate:.0f} tiles/s waited {waited:.1%} (asked: under 10 %)")


def arguments() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--mpp", type=float, help="level-0 µm/px, where the file does not say it")
    parser.add_argument("--old", help="a checkout of an earlier commit")
    parser.add_argument("--tiles", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--uncached", action="store_true")
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    return parser.parse_args()


def machine() -> str:
    """Cores, load, and the flags of the processor that matter."""
    told = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").is_file() else ""
    flags = [flag for flag in FLAGS if flag in told.split()]
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {' '.join(flags) or 'flags unknown'}"


class Child:
    """A process that measures one form whenever it is asked, with the library of a checkout."""

    def __init__(self, code: str, asked: argparse.Namespace, how: dict[str, Any]) -> None:
        own = ["--mpp", str(asked.mpp)] if asked.mpp else []
        own += ["--uncached"] if asked.uncached else []
        given = [sys.executable, str(Path(__file__).resolve()), str(asked.slide), *own, "--child", json.dumps(how)]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([f"{code}/scripts", code]),
            "CUDA_VISIBLE_DEVICES": "",
        }
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._code = code
        self._process: Any = subprocess.Popen(given, env=environment, text=True, **pipes)

    def ask(self, what: dict[str, Any]) -> dict[str, float]:
        """Let it measure."""
        print(json.dumps(what), file=self._process.stdin, flush=True)
        if not (answer := self._process.stdout.readline()):
            raise SystemExit(
                f"the measurement with {self._code} ended: bench/reading.py and drunet/direct.py are needed"
            )
        return dict(json.loads(answer))


def serve(asked: argparse.Namespace) -> None:
    """Answer what the parent asks, until it ends."""
    # Libraries may print to the standard output; the answers have it to themselves.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    import numpy as np
    import pandas as pd
    from bench.reading import tissue_places

    from drunet import direct
    from drunet.augment.pipeline import Augmentation
    from drunet.sampling import GridTiles
    from drunet.slide import Slide
    from drunet.training.batches import TileBatches
    from drunet.training.readers import SlideSource, TileReader

    if asked.uncached:
        direct.KEPT_BYTES = 1
    workers = asked.child.get("workers")
    places = np.array(tissue_places(asked.slide, asked.mpp, SIZE))
    table = pd.DataFrame({"x": places[:, 0], "y": places[:, 1], "label": np.arange(len(places)) % 2})
    if asked.child.get("openslide"):
        Slide.region = Slide._by_openslide  # type: ignore[method-assign]
    source = SlideSource(str(asked.slide), "slide", asked.mpp)
    reader = TileReader([source], size=SIZE, mpp=1.0, augmentation=Augmentation.from_config(AUGMENT))
    for line in sys.stdin:
        what = json.loads(line)
        shown: dict[str, Any] = {"samples": what["tiles"], "batch_size": BATCH, "seed": 1}
        batches = TileBatches(reader, [GridTiles(0, table)], **shown, **({"workers": workers} if workers else {}))
        wall, spent = time.perf_counter(), time.process_time()
        told = {"waited": sleeping(batches, what["sleep"])} if "sleep" in what else {}
        if not told:
            taken(batches, workers)
        told |= {"wall": time.perf_counter() - wall, "cpu": time.process_time() - spent}
        print(json.dumps(told), file=answers, flush=True)


def taken(batches: Any, workers: int | None) -> None:
    """Take all batches of an epoch, by the queue where there is one."""
    if workers is None:
        for index in range(len(batches)):
            batches[index]
        return
    from drunet.training.feed import Ahead

    with Ahead(batches.__getitem__, len(batches), workers) as made:
        for _ in made:
            pass


def sleeping(batches: Any, seconds: float) -> float:
    """Train for an epoch by steps that sleep: the share of it that they waited."""
    import keras

    from drunet.settings.training import TrainingSettings
    from drunet.training.loop import Trainer

    class Sleeper(keras.Model):
        def make_train_function(self, force: bool = False) -> None:
            def step(iterator: Any) -> dict[str, float]:
                next(iterator)
                time.sleep(seconds)
                return {"loss": 0.0}

            self.train_function = step

        def _get_metrics_result_or_logs(self, logs: dict[str, float]) -> dict[str, float]:
            return logs

    image = keras.Input((SIZE, SIZE, 3))
    model = Sleeper(image, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(image)))
    plan = TrainingSettings.of(
        {"optimiser": "adam", "learning_rate": 0.1, "batch_size": BATCH, "epochs": 1, "steps_per_epoch": None}
        | {"patience": 1, "precision": "float32", "reestimate_batches": 0},
        "bench",
    )
    trainer = Trainer(model, loss="mse", metrics=[], plan=plan)
    with tempfile.TemporaryDirectory() as folder:
        history = trainer.train(batches=batches, validation=None, folder=Path(folder) / "s", identity="", name="sleep")
    return float(history["waited"].iloc[0])


if __name__ == "__main__":
    main()
