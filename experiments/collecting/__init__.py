"""Gathering real experience at scale: who plays what, in which process, and where it is kept."""
