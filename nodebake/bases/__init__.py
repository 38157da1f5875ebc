"""Operating systems under an image: released ones, put onto a partition once and kept."""
