"""The toy world: drawn persons in drawn garments, whose truth is known exactly."""
