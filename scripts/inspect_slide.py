"""Say whether a slide can be used, and if not, why and how to mend it."""

from drunet.atomic import write_json
from drunet.console import job
from drunet.inspection import inspect
from drunet.settings.tissue import TissueSettings

with job(snakemake.log[0]):
    report = inspect(
        snakemake.input.slide,
        snakemake.wildcards.slide,
        mpp=snakemake.params.mpp,
        tissue=TissueSettings.of(snakemake.params.tissue, "tissue"),
        annotation=snakemake.input.get("annotation"),
        kind=snakemake.params.kind,
        classes=snakemake.params.classes,
        geojson_frame=snakemake.params.geojson_frame,
    )
    write_json(snakemake.output.status, {**report, **snakemake.params.sheet})
