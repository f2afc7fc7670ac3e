"""Test a trained network on a second folder of images."""

from drunet.console import job
from drunet.files import read_json, whole_file
from studies.common.images.folder import read_list
from studies.common.images.training import external_answers
from studies.common.series import weights_file

with job(snakemake.log[0]):
    inputs, params = snakemake.input, snakemake.params
    weights = weights_file(inputs.weights, params.trial)
    images, facts = read_list(inputs.images), read_json(inputs.facts)
    answers = external_answers(facts, weights, images, params.external, threads=snakemake.threads)
    with whole_file(snakemake.output.answers) as temporary:
        answers.to_parquet(temporary, index=False)
