rule make_demo_slide:
    output:
        slide=f"{DEMO}/{{demo_slide}}.tif",
        annotation=f"{DEMO}/{{demo_slide}}.geojson",
    log:
        "<logs>/make_demo_slide/{demo_slide}.log",
    benchmark:
        "<benchmarks>/make_demo_slide/{demo_slide}.tsv"
    wildcard_constraints:
        demo_slide="|".join(map(re.escape, DEMO_SLIDES)),
    conda:
        "../../envs/data.yaml"
    params:
        seed=config["seed"],
        code=lambda wildcards: code("make_demo_slide"),
    resources:
        mem_mb=1500,
        runtime=10,
    message:
        "Making the demo slide {wildcards.demo_slide}"
    script:
        "../../scripts/make_demo_slide.py"
