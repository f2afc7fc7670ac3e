"""Pass labelled tiles through a MobileNetV2 and keep its features."""

from drunet.console import job
from drunet.tiles import TileRules, write_table
from drunet.training.device import need_gpu
from drunet.training.readers import split_slides
from studies.common.clustering.features import embed_tiles

with job(snakemake.log[0], gpus=snakemake.resources.gpu):
    need_gpu(snakemake.resources.gpu)
    inputs, params = snakemake.input, snakemake.params
    training, validation, _ = split_slides(
        params.slides, params.training, inputs.slides, inputs.tiles, inputs.annotations
    )
    features, facts = embed_tiles(
        snakemake.wildcards.model,
        params.weights,
        training,
        validation,
        tiles=params.most,
        rules=TileRules(**params.rules),
        seed=params.seed,
        start={"weights": inputs.weights, "facts": inputs.start} if inputs.start else None,
    )
    write_table(snakemake.output.features, features, facts)
