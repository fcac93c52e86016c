"""Experiments that answer a question, each run as `python -m experiments.studies.NAME`."""
