"""The loop on RLlib's actors; the only room that imports `ray.rllib`."""
