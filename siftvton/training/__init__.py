"""Training: Eq. 3 over a stream of images that does not depend on batch size, workers, processes or stops."""
