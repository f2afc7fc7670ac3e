"""Put a slide's tile probabilities in their places."""

from drunet.console import job
from drunet.grid import Grid
from drunet.heatmap import stitch, write_heatmap
from drunet.tiles import read_table

with job(snakemake.log[0]):
    table, facts = read_table(snakemake.input.tiles)
    grid = Grid.from_dict(facts.pop("grid"))
    write_heatmap(snakemake.output.heatmap, stitch(table, grid), grid, facts)
