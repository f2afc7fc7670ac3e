"""Say whether a slide can be used, and if not, why and how to mend it."""

from drunet.console import job
from drunet.files import write_json
from drunet.inspection import inspect

with job(snakemake.log[0]):
    report = inspect(
        snakemake.input.slide,
        snakemake.wildcards.slide,
        mpp=snakemake.params.mpp,
        tissue=snakemake.params.tissue,
        annotation=snakemake.input.get("annotation"),
        kind=snakemake.params.kind,
        classes=snakemake.params.classes,
        geojson_frame=snakemake.params.geojson_frame,
    )
    write_json(snakemake.output.status, {**report, **snakemake.params.sheet})
