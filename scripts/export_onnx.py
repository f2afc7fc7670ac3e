"""Convert a trained model to ONNX and check that both answer alike."""

from drunet.console import job
from drunet.export.onnx_model import export_trained
from drunet.files import read_json, sha256, write_json
from drunet.refine import SCALE

with job(snakemake.log[0]):
    facts = read_json(snakemake.input.facts)
    report = export_trained(
        facts,
        snakemake.input.weights,
        snakemake.output.model,
        opset=snakemake.params.opset,
        name=snakemake.wildcards.model,
        metadata={SCALE: str(facts["mpp"])} if facts.get("mpp") else None,
    )
    write_json(
        snakemake.output.report,
        {
            **report,
            "name": snakemake.wildcards.model,
            "architecture": facts["architecture"],
            "sha256": sha256(snakemake.output.model),
            "training_slides": facts["training_slides"],
            "validated_on_wta": facts.get("validated_on_wta", False),
            "mpp": facts.get("mpp"),
            **{key: facts[key] for key in ("stain_normalisation",) if key in facts},
            "smallest_tumour_um2": facts.get("smallest_tumour_um2"),
        },
    )
