"""A tiny model for any world: its words learned from real episodes, its skill from the base.

The package's base checkpoint can look things up in its context and knows how a household speaks.
`tiny` as a model's path gives a run that skill in the words of its own world, learned from the
demonstrations and explorations that the run plays anyway, so that it costs no real step more.
"""
