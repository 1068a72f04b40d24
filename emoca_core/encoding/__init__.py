"""Any number of faces to codes, cameras, landmarks, emotion and quality, in shards that a stopped run does not lose."""

from emoca_core.encoding.run import EncodeSettings, encode_manifest

__all__ = ["EncodeSettings", "encode_manifest"]
