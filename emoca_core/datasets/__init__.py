"""Faces with labels: one manifest format, one way to read it."""

from emoca_core.datasets.manifest import Manifest, ManifestRow, write_manifest

__all__ = ["Manifest", "ManifestRow", "write_manifest"]
