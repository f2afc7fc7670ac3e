"""Side-studies that the configuration at hand has no ground for: their targets say why, and nothing else is kept from running."""

for unavailable in [s for s in STUDIES.values() if s.problem]:

    for refused in unavailable.targets:

        rule:
            name:
                refused
            input:
                refuse(unavailable),
