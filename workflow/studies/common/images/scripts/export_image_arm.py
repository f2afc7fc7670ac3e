"""Convert the trials of an arm whose weights are kept to ONNX, and check that both answer alike."""

from drunet.console import job
from drunet.files import read_json
from studies.common.images.export import export_arm

with job(snakemake.log[0]):
    wildcards = snakemake.wildcards
    export_arm(
        read_json(snakemake.input.facts),
        snakemake.input.weights,
        snakemake.output.models,
        opset=snakemake.params.opset,
        name=f"{wildcards.study} {wildcards.task} {wildcards.arm}",
    )
