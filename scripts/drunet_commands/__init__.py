"""The command `drunet`, a module or folder per command.

They stand beside the library, which knows none of them: what they offer must work on a broken configuration, or while a
run holds its lock.
"""
