"""Experiments: compare training arms on the toy world, where the right results are known."""
