"""Samples to gradients: packing, token losses, one optimizer step. Needs torch."""
