"""Photos, the crops of faces in them, and the resampling between them: pixels, no face model."""
