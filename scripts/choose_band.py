"""Choose from which to which probability a student is unsure, on validation slides."""

from functools import partial

import numpy as np

from drunet.cascade import choose_band, judged, passing_share
from drunet.console import job, say
from drunet.files import sha256, write_json
from drunet.grid import Grid
from drunet.inference import EngineOptions
from drunet.outcome import without_failed
from drunet.settings.cascade import CascadeSettings
from drunet.tiles import read_table

MOST = 5000  # tiles of a slide, drawn by the seed

with job(snakemake.log[0], gpus=snakemake.resources.gpu):
    inputs, params, run = snakemake.input, snakemake.params, snakemake.wildcards.run
    settings = CascadeSettings.of(params.cascade, f"runs.{run}.cascade")
    options = EngineOptions.of_job(snakemake.config["inference"], snakemake.threads, provider=params.provider)
    files = inputs.slides, inputs.tissue, inputs.tiles, inputs.stains
    slides, (paths, masks, tables, stains) = without_failed(params.slides, *files)
    frames, rng = [], np.random.default_rng(params.seed)
    for k, slide in enumerate(slides):
        table, facts = read_table(tables[k])
        table = table.iloc[np.sort(rng.permutation(len(table))[:MOST])]
        area = table["tumour_fraction"]
        if slide["annotation_kind"] == "psa":
            # Where nobody marked anything, nothing is known.
            area = table["label"].where(table["label"] >= 0).astype(float)
        places = table, Grid.from_dict(facts["grid"])
        own = paths[k], masks[k], stains[k : k + 1], params.stains
        judge = partial(judged, options=options, files=own, slide=slide, tiles=places)
        judges = {
            "student": judge(inputs.student, params.student, precision=settings.precision),
            "teacher": judge(inputs.teacher, params.teacher, precision=settings.teacher_precision),
        }
        if settings.teacher_precision != "float32":
            judges["exact"] = judge(inputs.exact, params.teacher, precision="float32")
        answers = {part: one(np.arange(len(table))).p_tumour for part, one in judges.items()}
        frame = table.assign(**{"exact": answers["teacher"], **answers, "tumour": area})
        frames.append(frame[["student", "teacher", "exact", "tumour"]].dropna(subset=["exact", *answers]))
    limits = {"most": passing_share(settings), "max_dice_loss": settings.max_dice_loss}
    band, found = choose_band(frames, threshold=params.threshold, **limits)
    say(f"{run}: unsure from {band.low:.4f} to {band.high:.4f}: {found['by_teacher']:.1%} of the tiles")
    digests = {f"{part}_sha256": sha256(inputs[part]) for part in ("student", "teacher")}
    write_json(snakemake.output.band, {**found, "threshold": params.threshold, **digests})
