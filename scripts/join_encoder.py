"""Join an encoder and a head into one classifier of tiles, and check that it answers as the two do."""

from drunet.console import job
from drunet.export.head import join
from drunet.files import read_json, sha256, write_json

with job(snakemake.log[0]):
    inputs, name = snakemake.input, snakemake.wildcards.model
    facts = read_json(inputs.facts)
    joined = join(
        inputs.encoder,
        inputs.head,
        snakemake.output.model,
        kept=snakemake.params.kept,
        metadata={"model": name, "architecture": facts["architecture"]},
        where=name,
    )
    write_json(
        snakemake.output.report,
        {
            **joined,
            "name": name,
            "architecture": f"{facts['architecture']} on {facts['encoder']['name']}",
            "parameters": facts["parameters"],
            "encoder_sha256": facts["encoder"]["sha256"],
            "sha256": sha256(snakemake.output.model),
            "training_slides": facts["training_slides"],
            "mpp": facts.get("mpp"),
            "smallest_tumour_um2": facts.get("smallest_tumour_um2"),
        },
    )
