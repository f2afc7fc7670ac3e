"""DRU-Net: lung tumour in whole-slide images.

The library never imports Snakemake and nothing is imported here, so that a script which only reads a table does not pay
for TensorFlow.
"""

__version__ = "0.1.0"
