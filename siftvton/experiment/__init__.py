"""Controlled comparisons of training arms on the toy world, where the truth is known."""
