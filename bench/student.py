"""How many tiles a second a distilled student classifies, against DR-fused, on ONNX Runtime.

    python bench/student.py [--size 64] [--widths 16 64 256] [--shrinks 1 2] [--batch 32] [--repeats 25] [--threads 1]
    python bench/student.py --teacher results/models/dr_fused/model.onnx --student results/models/student_64/model.onnx

Networks run in turn in one process, so that what slows the machine slows all of them; printed are tiles per second, the
ratio to the teacher's with its quartiles over the turns, parameters and multiply-accumulates. Files named are taken as
they are; else networks are built with random weights, which cost as much as trained ones. Reading tiles from a slide is
not in it. Bar: the fastest student has at least 2.5 times the teacher's tiles per second.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "workflow"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

from drunet.inference import EngineOptions
from studies.common.cost import arithmetic, cost_table, seconds_in_turn

BAR = 2.5
TEACHER = "DR-fused"


def main() -> None:
    """Time the networks and print them; the status is 1 where the fastest student misses the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, default=None, help="an exported DR-fused; its tiles have --size")
    parser.add_argument("--student", type=Path, nargs="+", default=[], help="exported students")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--widths", type=int, nargs="+", default=(64,), help="of the pyramid")
    parser.add_argument("--shrinks", type=int, nargs="+", default=(1,), choices=(1, 2, 4))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--provider", default="cpu")
    given = parser.parse_args()
    options = EngineOptions(given.provider, batch_size=given.batch, threads=given.threads)
    with tempfile.TemporaryDirectory() as folder:
        models = {TEACHER: given.teacher or exported("dr_fused", Path(folder), given.size)}
        models |= {path.parent.name or path.stem: path for path in given.student}
        if not given.student:
            for shrink in given.shrinks:
                for width in given.widths:
                    name = f"student, width {width}, sees {given.size // shrink} px"
                    how = {"pyramid_width": width, "shrink": shrink}
                    models[name] = exported("mfstudentlnet", Path(folder), given.size, **how)
        seconds = seconds_in_turn(models, dict.fromkeys(models, given.size), options, repeats=given.repeats)
        counted = {name: arithmetic(path) for name, path in models.items()}
    table = cost_table(dict.fromkeys(models), counted, seconds, options, TEACHER)
    print(f"{given.size} px, batches of {given.batch}, {given.repeats} turns, {given.threads or 'all'} threads")
    for row in table.itertuples():
        speed = f"{row.tiles_per_s:8.1f} tiles/s   {row.ratio:5.2f} times ({row.ratio_low:.2f} to {row.ratio_high:.2f})"
        print(f"  {row.arm:<36}{speed}   {row.parameters / 1e6:6.2f} M   {row.gflops / 2:6.3f} GMAC")
    best = table.loc[table["arm"] != TEACHER, "ratio"].max()
    print(f"the fastest student: {best:.2f} times; bar {BAR:g}: {'met' if best >= BAR else 'MISSED'}")
    sys.exit(int(best < BAR))


def exported(architecture: str, folder: Path, size: int, **how: int) -> Path:
    """Build a network with random weights and export it."""
    from drunet.export.onnx_model import write_onnx
    from drunet.models import registry

    model = registry.build(architecture, size=size, weights="random", seed=1, **how)
    path = folder / f"{architecture}-{'-'.join(map(str, how.values()))}.onnx"
    write_onnx(model, path, opset=17, scales={t.name: 1 / 255 for t in model.inputs}, facts={}, seed=1)
    return path


if __name__ == "__main__":
    main()
