"""Take a finished ONNX model into the results, tried."""

from drunet.console import job
from drunet.export.adoption import adopt
from drunet.files import write_json
from drunet.report.card import write_finished_card
from drunet.settings.finished import FinishedModel

with job(snakemake.log[0]):
    name, role = snakemake.wildcards.model, snakemake.params.role
    report = adopt(
        snakemake.input.model,
        snakemake.output.model,
        name=name,
        role=role,
        size=snakemake.params.size,
        settings=FinishedModel.of(snakemake.params.settings, f"{role}s.{name}"),
    )
    write_json(snakemake.output.report, report)
    write_finished_card(snakemake.output.card, role, report, snakemake.params.settings)
