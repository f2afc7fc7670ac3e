"""Assign the cases to the readers, and write their sheets and the key."""

import hashlib
from pathlib import Path

from drunet.console import job
from drunet.export.mask_image import read_mask_image
from drunet.files import write_tsv
from drunet.outcome import without_failed
from studies.scores.sheets import deal_cases, with_pictures, write_reader

with job(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    cases, (masks, drawn) = without_failed([tuple(case) for case in params.cases], inputs.masks, inputs.pictures)
    digests = {
        case: hashlib.sha256(read_mask_image(path).tobytes()).hexdigest()
        for case, path in zip(cases, masks, strict=True)
    }
    key = with_pictures(deal_cases(cases, params.readers, params.repeats, params.seed), digests)
    pictures = dict(zip(cases, drawn, strict=True))
    for reader, *paths in zip(params.readers, output.sheets, output.cases, output.instructions, strict=True):
        write_reader(*paths, key[key["reader"] == reader], pictures, Path(inputs.template))
    write_tsv(key, output.key)
