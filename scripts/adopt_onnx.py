"""Take a finished ONNX model into the results, checked."""

from drunet.console import job
from drunet.export.adoption import adopt
from drunet.files import write_json

with job(snakemake.log[0]):
    report = adopt(
        snakemake.input.model,
        snakemake.output.model,
        name=snakemake.wildcards.model,
        role=snakemake.params.role,
        size=snakemake.params.size,
        settings=snakemake.params.settings,
    )
    write_json(snakemake.output.report, report)
