"""Policies: how they act, and how they learn from experience, real or imagined."""
