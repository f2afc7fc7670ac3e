"""Classify the tiles of a slide by a student, and by its teacher where the student is unsure; audit the result."""

from dataclasses import asdict
from functools import partial

from drunet.cascade import Band, classify_cascade, judged
from drunet.console import job, say
from drunet.files import read_json, sha256
from drunet.grid import Grid
from drunet.heatmap import write_classified
from drunet.inference import EngineOptions
from drunet.outcome import late_failure
from drunet.settings.cascade import CascadeSettings
from drunet.tiles import read_table

slide_id, on_bad_slide = snakemake.wildcards.slide, snakemake.config["cohort"]["on_bad_slide"]
with (
    job(snakemake.log[0], gpus=snakemake.resources.gpu),
    late_failure(snakemake.output, slide_id, snakemake.rule, on_bad_slide),
):
    inputs, params, run = snakemake.input, snakemake.params, snakemake.wildcards.run
    settings = CascadeSettings.of(params.cascade, f"runs.{run}.cascade")
    options = EngineOptions.of_job(snakemake.config["inference"], snakemake.threads, provider=params.provider)
    table, made = read_table(inputs.tiles)
    grid = Grid.from_dict(made["grid"])
    digests = {f"{part}_sha256": sha256(inputs[part]) for part in ("student", "teacher")}
    chosen = read_json(inputs.band)
    band = Band(chosen["low"], chosen["high"])
    files = inputs.slide, inputs.tissue, inputs.stains, params.stains
    slide = {"slide_id": slide_id, "mpp": params.mpp}

    judge = partial(judged, options=options, files=files, slide=slide, tiles=(table, grid))
    whole = settings.teacher_precision == "float32"
    result, certificate = classify_cascade(
        judge(inputs.student, params.student, precision=settings.precision),
        judge(inputs.teacher, params.teacher, precision=settings.teacher_precision),
        None if whole else judge(inputs.exact, params.teacher, precision="float32"),
        len(table),
        band,
        settings,
        threshold=params.threshold,
        seed=params.seed,
        slide_id=slide_id,
    )
    say(certificate.sentence(slide_id, settings))
    noted = {"student": settings.student, **digests, **asdict(band), **asdict(certificate)}
    facts = {
        "slide": slide_id,
        "model": params.model,
        "model_sha256": sha256(inputs.exact),
        "provider": options.provider,
        "precision": settings.teacher_precision,
        "cascade": {**noted, "confidence": settings.confidence, "threshold": params.threshold, "seed": params.seed},
    }
    write_classified(snakemake.output.tiles, snakemake.output.heatmap, table, result, grid, facts)
