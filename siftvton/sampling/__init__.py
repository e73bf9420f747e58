"""Weights -> pictures: loading of any checkpoint, the pipeline, how it runs, folders of results."""
