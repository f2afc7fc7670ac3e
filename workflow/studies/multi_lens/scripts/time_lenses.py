"""Time training with and without lenses, in turn."""

from drunet.console import job
from drunet.files import write_tsv
from drunet.training.device import need_gpu
from studies.multi_lens.arms import lenses_of
from studies.multi_lens.training import measure_step_times

with job(snakemake.log[0]):
    need_gpu(snakemake.resources.gpu)
    settings = snakemake.params.settings
    cost = settings["cost"]
    times = measure_step_times(
        settings["architecture"],
        options=settings["options"],
        size=cost["size"],
        batch_size=cost["batch_size"],
        lenses=lenses_of(settings["multi_lens"], settings["strength"], cost["size"]),
        augment=settings["augment"],
        steps=cost["steps"],
        rounds=cost["rounds"],
        seed=snakemake.params.seed,
    )
    write_tsv(times, snakemake.output.times)
