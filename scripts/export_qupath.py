"""Write a QuPath project with the slides of a run."""

from pathlib import Path

from drunet.console import job
from drunet.export.qupath import write_project
from drunet.files import read_json, write_text
from drunet.outcome import without_failed

with job(snakemake.log[0]):
    inputs, output = snakemake.input, snakemake.output
    slides, (_, statuses) = without_failed(snakemake.params.slides, inputs.outlines, inputs.statuses)
    known = {slide: (path, read_json(s)["mpp"]) for (slide, path), s in zip(slides, statuses, strict=True)}
    write_project(output.project, known)
    script = Path(inputs.script).read_text(encoding="utf-8")
    write_text(output.script, script.replace("@RUN@", snakemake.wildcards.run))
