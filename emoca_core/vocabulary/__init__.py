"""Words and tables of the field: ARKit expressions, emotions, landmark sets."""
