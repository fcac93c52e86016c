"""The `dyna` commands that are not about one run: data and worlds. Each adds itself to the parser.

A command imports what it needs when it is called, so that `dyna --help` stays quick.
"""
