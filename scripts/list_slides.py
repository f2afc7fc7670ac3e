"""Gather the status of all slides in one table."""

from drunet.console import job, say
from drunet.files import read_json, whole_file
from drunet.inspection import status_table
from drunet.outcome import stop_for

with job(snakemake.log[0]):
    rows = zip(snakemake.input, snakemake.params.sheet, strict=True)
    remarks = snakemake.params.remarks
    table = status_table([{**read_json(path), **row} for path, row in rows], remarks)
    if remarks:
        say(f"WARNING  {len(remarks)} slides share their file or their outlines with another: {', '.join(remarks)}.")
    bad = table[table["status"] != "ok"]
    for row in bad.itertuples():
        say(f"left out: {row.slide_id}: {row.status}: {row.reason}. {row.mend}")
    if snakemake.params.on_bad_slide == "fail":
        stop_for(dict(zip(bad["slide_id"], bad["status"], strict=True)))
    with whole_file(snakemake.output.table) as temporary:
        table.to_csv(temporary, sep="\t", index=False)
