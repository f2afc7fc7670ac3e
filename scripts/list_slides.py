"""Gather the status of all slides in one table."""

from drunet.console import job, say
from drunet.errors import DrunetError
from drunet.files import read_json, whole_file
from drunet.inspection import status_table

with job(snakemake.log[0]):
    table = status_table([read_json(path) for path in snakemake.input])
    bad = table[table["status"] != "ok"]
    for row in bad.itertuples():
        say(f"left out: {row.slide_id}: {row.status}: {row.reason}. {row.mend}")
    if len(bad) and snakemake.params.on_bad_slide == "fail":
        raise DrunetError(
            "there are slides that cannot be used",
            where="cohort",
            found=", ".join(f"{row.slide_id} ({row.status})" for row in bad.itertuples()),
            mend="Mend them as said above, take them out of the sheet, or set `cohort.on_bad_slide: skip`.",
        )
    with whole_file(snakemake.output.table) as temporary:
        table.to_csv(temporary, sep="\t", index=False)
