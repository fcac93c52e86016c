"""Commands beyond training: data, worlds, earlier models. Each adds itself to the parser.

A command imports what it needs when it is called, so that `dyna --help` stays quick.
"""
