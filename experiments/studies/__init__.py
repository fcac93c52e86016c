"""Studies: questions put to the whole system, each one command whose answer can be had again."""
