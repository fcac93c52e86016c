"""The GPU check list: what a machine's GPU does, beside what it could; `make gpu-check`."""
