"""The demo cohort, and the small slides that tests make.

Everything is drawn from noise and seeds: no picture of a person's tissue is in it.
"""
