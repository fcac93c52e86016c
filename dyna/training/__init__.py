"""Training on tokens: models, packing, losses and the algorithm-blind trainer."""
