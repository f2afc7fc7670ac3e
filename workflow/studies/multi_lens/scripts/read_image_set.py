"""Read a set of labelled images into one file."""

from drunet.console import job
from studies.multi_lens.image_sets import at_most, embedded_digits, read_image_sets, write_image_sets

with job(snakemake.log[0]):
    files, params = snakemake.input, snakemake.params
    training, test = read_image_sets(files.training, files.test) if files.training else embedded_digits()
    write_image_sets(snakemake.output.images, training, at_most(test, params.test_images, params.seed))
