"""The sections of a configuration, as `dyna.config` offers them."""
