"""What exporters share: the photo's camera, the rig, normals and codes of a face, its picture, the contact sheet."""

from emoca_core.export.camera import GltfCamera, camera_to_gltf, crop_camera_to_photo
from emoca_core.interfaces import FaceMesh, PhotoCamera

__all__ = ["FaceMesh", "GltfCamera", "PhotoCamera", "camera_to_gltf", "crop_camera_to_photo"]
