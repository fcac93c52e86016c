"""Measures of policies and world models: pure functions on numbers, no model in sight.

Names and definitions are those of the field; each function says where its own comes from.
"""
