"""Studies of continual learning: chains of experiences, and what keeps old skills alive."""
