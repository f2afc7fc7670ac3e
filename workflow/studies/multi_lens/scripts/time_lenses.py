"""Time training with and without lenses, in turn, on tiles of a slide."""

import numpy as np

from drunet.augment.pipeline import Augmentation
from drunet.console import job
from drunet.files import write_tsv
from drunet.slide import Slide
from drunet.tiles import read_table
from drunet.training.device import need_gpu
from studies.multi_lens.arms import lenses_of
from studies.multi_lens.training import FORMS, measure_step_times

with job(snakemake.log[0], gpus=snakemake.resources.gpu):
    need_gpu(snakemake.resources.gpu)
    params, classifier = snakemake.params, snakemake.params.classifier
    settings, cost = params.settings, params.settings["cost"]
    lenses, forms = lenses_of(settings["multi_lens"], settings["strength"], cost["size"]), FORMS
    if classifier:
        # Classifiers of slides see lenses in the data pipeline alone.
        lenses, forms = Augmentation.from_config(classifier["augment"]).multi_lens or lenses, ("without", "pipeline")
    table = read_table(snakemake.input.tiles[0])[0]
    drawn = table.sample(cost["steps"] * cost["batch_size"], replace=True, random_state=params.seed)
    with Slide(snakemake.input.slide[0], params.slide, params.mpp) as slide:
        shape = (cost["size"], cost["size"])
        tiles = [slide.read(x, y, shape, params.tile_mpp) for x, y in drawn[["x", "y"]].to_numpy().tolist()]
    times = measure_step_times(settings | (classifier or {}), lenses, params.seed, np.stack(tiles), forms)
    write_tsv(times, snakemake.output.times)
