"""The APIs, one module per group of domains."""
