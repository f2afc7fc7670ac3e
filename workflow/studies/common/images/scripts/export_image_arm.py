"""Convert the trials of an arm whose weights are kept to ONNX, and check that both answer alike."""

from drunet.console import job
from drunet.files import read_json
from studies.common.images.export import export_arm

with job(snakemake.log[0]):
    inputs, params, wildcards = snakemake.input, snakemake.params, snakemake.wildcards
    name = f"{wildcards.study} {wildcards.task} {wildcards.arm}"
    export_arm(read_json(inputs.facts), inputs.weights, snakemake.output.models, opset=params.opset, name=name)
