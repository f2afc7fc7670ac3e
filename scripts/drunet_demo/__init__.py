"""The demo cohort, drawn from noise and seeds: no picture of a person's tissue is in it."""
