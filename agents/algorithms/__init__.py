"""Credit assignment: what each action of a trajectory is worth, one algorithm per file."""
