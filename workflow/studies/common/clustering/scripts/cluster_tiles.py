"""Find clusters among embedded tiles by differential evolution, and show what they hold."""

from drunet.console import job
from drunet.files import whole_file, write_json
from drunet.report.figures import save
from drunet.slide import Slide
from drunet.tiles import read_table, write_table
from studies.common.clustering.figures import choose_examples, montage
from studies.common.clustering.settings import Search
from studies.common.clustering.tiles import cluster_tiles

with job(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    model = snakemake.wildcards.model
    where = f"classifiers.{model}.data.clustering"
    features, facts = read_table(inputs.features)
    search = Search.of(params.clustering, where)
    table, clusters, validity, known = cluster_tiles(features, search, seed=params.seed, where=where)
    for path, frame in ((output.fitness, clusters.curve), (output.validity, validity)):
        with whole_file(path) as temporary:
            frame.to_csv(temporary, sep="\t", index=False)
    slides = {s["slide_id"]: (path, s["mpp"]) for s, path in zip(params.slides, inputs.slides, strict=True)}
    examples = choose_examples(table, params.examples, seed=params.seed)

    def pixels(tile):
        """Read a tile of the montage."""
        path, mpp = slides[tile["slide"]]
        with Slide(path, tile["slide"], mpp) as slide:
            return slide.read(tile["x"], tile["y"], (facts["size"], facts["size"]), facts["mpp"])

    picture = montage(examples, pixels, known["members"], facts["size"] * facts["mpp"])
    save(picture, output.montage, dpi=220)
    write_json(output.facts, known)
    write_table(output.clusters, table, facts)
