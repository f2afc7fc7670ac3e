"""Time training with and without lenses, in turn."""

from drunet.console import job
from drunet.files import write_tsv
from drunet.training.device import need_gpu
from studies.multi_lens.arms import lenses_of
from studies.multi_lens.training import measure_step_times

with job(snakemake.log[0], gpus=snakemake.resources.gpu):
    need_gpu(snakemake.resources.gpu)
    settings = snakemake.params.settings
    lenses = lenses_of(settings["multi_lens"], settings["strength"], settings["cost"]["size"])
    write_tsv(measure_step_times(settings, lenses, snakemake.params.seed), snakemake.output.times)
