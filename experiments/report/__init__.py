"""The report of a run: one HTML page that opens offline, and the table a run ends with."""

from __future__ import annotations

from experiments.report.page import build_report
from experiments.report.summary import summary_table

__all__ = ["build_report", "summary_table"]
