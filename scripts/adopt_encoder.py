"""Take an encoder, a finished ONNX file, into the results, tried."""

from drunet.console import job
from drunet.export.adoption import adopt
from drunet.files import write_json
from drunet.settings.encoder import EncoderSettings

with job(snakemake.log[0]):
    name, params = snakemake.wildcards.encoder, snakemake.params
    report = adopt(
        snakemake.input.model,
        snakemake.output.model,
        name=name,
        role="encoder",
        size=params.size,
        settings=EncoderSettings.of(params.settings, f"encoders.{name}"),
    )
    write_json(snakemake.output.report, report)
