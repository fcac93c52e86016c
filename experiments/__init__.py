"""The composition root: configurations, the command line, studies and reports."""
