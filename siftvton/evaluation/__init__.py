"""Scores of results and measures of attention, with their intervals and tables."""
