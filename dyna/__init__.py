"""The framework: nouns, protocols, the Dyna loop, and the rooms that serve it.

It stands at the bottom: it knows policies and world models only through `dyna.protocols`, and
importing it loads no torch, ray or transformers.
"""

__version__ = "0.1.0"
