"""From weights to pictures: loading of checkpoints, the pipeline, how it runs, and folders of results."""
