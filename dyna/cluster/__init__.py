"""Ray's own door: the connection, and the engine actors that a run's players share.

Importing the room loads no Ray: `connection` must set up the environment before Ray is imported.
"""
