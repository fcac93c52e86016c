"""Fault injection: kills every part of a run in every phase; `python -m experiments.chaos`."""
