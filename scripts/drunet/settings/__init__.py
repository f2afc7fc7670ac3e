"""The configuration as typed models, one module per block of config.yaml.

A rule's script imports the modules of the blocks that it reads and no other: an edit to one block's model reruns what
reads this block. `config` puts the blocks together and `references` compares them; only the rules import those two.
"""
