"""How the small checkpoint in the package was made: text, exercises, start and training.

`python -m experiments.base_model` trains it again. It stands to a tiny model as pre-training stands
to a large one: it can look things up in its context and knows how such worlds speak, and it has
never met a house, a kind of thing in its household role, or a task of the worlds it is tried on.
"""
