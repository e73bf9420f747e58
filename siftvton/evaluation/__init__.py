"""Scores of results and measures of attention, with intervals and tables."""
