"""What a capture becomes on disk: meshes (GLB, OBJ), codes, the photo's camera, pictures and a contact sheet."""

from emoca_core.export.camera import GltfCamera, PhotoCamera, camera_to_gltf, crop_camera_to_photo
from emoca_core.export.gltf import glb_bytes, write_glb
from emoca_core.export.mesh import FaceMesh
from emoca_core.export.obj import write_obj

__all__ = [
    "FaceMesh",
    "GltfCamera",
    "PhotoCamera",
    "camera_to_gltf",
    "crop_camera_to_photo",
    "glb_bytes",
    "write_glb",
    "write_obj",
]
