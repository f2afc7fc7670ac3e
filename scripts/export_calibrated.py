"""Write a classifier's ONNX file with its temperature inside."""

from drunet.console import job
from drunet.export.calibrated import write_calibrated
from drunet.files import read_json
from drunet.uncertainty.calibration import temperature_of

with job(snakemake.log[0]):
    inputs, name = snakemake.input, snakemake.wildcards.model
    temperature = temperature_of(read_json(inputs.calibration), name)
    write_calibrated(inputs.model, snakemake.output.model, temperature, seed=snakemake.params.seed, where=name)
