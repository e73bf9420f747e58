"""The toy world: drawn persons and garments, for which the right result of a try-on is known exactly."""
