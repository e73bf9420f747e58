"""Reproduce the published scores: fetch weights, check data, match, train, sample, score and judge."""
