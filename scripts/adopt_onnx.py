"""Take a finished ONNX model into the results, checked."""

from drunet.console import job
from drunet.export.adoption import adopt
from drunet.files import write_json
from drunet.settings.finished import FinishedModel

with job(snakemake.log[0]):
    report = adopt(
        snakemake.input.model,
        snakemake.output.model,
        name=snakemake.wildcards.model,
        role=snakemake.params.role,
        size=snakemake.params.size,
        settings=FinishedModel.of(snakemake.params.settings, f"{snakemake.params.role}s.{snakemake.wildcards.model}"),
    )
    write_json(snakemake.output.report, report)
