"""Live captures to other programs."""
