"""Buffers of real experience, and how they are stored on disk."""
