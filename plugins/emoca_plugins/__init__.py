"""The built-in components. This file is a table: adding a component adds one line."""

from emoca_core import ComponentSpec, hookimpl

_COMPONENTS = (
    # face models
    ComponentSpec("face_model", "open_head", "emoca_plugins.face_models.open_head:OpenHead"),
    ComponentSpec("face_model", "flame", "emoca_plugins.face_models.flame:Flame"),
    ComponentSpec("face_model", "bfm09", "emoca_plugins.face_models.bfm09:Bfm09"),
    ComponentSpec("face_model", "bfm_3ddfa", "emoca_plugins.face_models.bfm_3ddfa:Bfm3ddfa"),
    ComponentSpec("face_model", "bfm_expnet", "emoca_plugins.face_models.bfm_expnet:BfmExpnet"),
    ComponentSpec("face_model", "ict_facekit", "emoca_plugins.face_models.ict_facekit:IctFaceKit"),
    ComponentSpec("face_model", "gnm", "emoca_plugins.face_models.gnm:GnmHead", extra="gnm"),
    # encoders
    ComponentSpec("encoder", "landmark_fit", "emoca_plugins.encoders.landmark_fit.encoder:LandmarkFit"),
    ComponentSpec("encoder", "refined_fit", "emoca_plugins.encoders.refined_fit:RefinedFit"),
    ComponentSpec("encoder", "refined_fit_free", "emoca_plugins.encoders.refined_fit_free:RefinedFitFree"),
    ComponentSpec("encoder", "encoded_codes", "emoca_plugins.encoders.encoded_codes:EncodedCodes"),
    ComponentSpec("encoder", "deca", "emoca_plugins.encoders.deca:Deca"),
    ComponentSpec("encoder", "emoca", "emoca_plugins.encoders.emoca:Emoca"),
    ComponentSpec("encoder", "deep3dface", "emoca_plugins.encoders.deep3dface:Deep3DFace"),
    ComponentSpec("encoder", "tddfa_v2", "emoca_plugins.encoders.tddfa_v2:TddfaV2"),
    ComponentSpec("encoder", "mgcnet", "emoca_plugins.encoders.mgcnet:Mgcnet"),
    ComponentSpec("encoder", "expnet", "emoca_plugins.encoders.expnet:Expnet"),
    ComponentSpec("encoder", "smirk", "emoca_plugins.encoders.smirk:Smirk"),
    ComponentSpec("encoder", "point_regressor", "emoca_plugins.encoders.point_regressor:PointRegressor"),
    ComponentSpec("encoder", "regressor", "emoca_plugins.encoders.regressor:Regressor"),
    ComponentSpec("encoder", "codes_from_disk", "emoca_plugins.encoders.codes_from_disk:CodesFromDisk"),
    ComponentSpec(
        "encoder", "mediapipe_blendshapes", "emoca_plugins.encoders.mediapipe_blendshapes:MediapipeBlendshapes"
    ),
    # renderers
    ComponentSpec("renderer", "zbuffer", "emoca_plugins.renderers.zbuffer:ZBuffer"),
    ComponentSpec("renderer", "pytorch3d", "emoca_plugins.renderers.pytorch3d:PyTorch3DRenderer", "pytorch3d"),
    ComponentSpec("renderer", "nvdiffrast", "emoca_plugins.renderers.nvdiffrast:NvdiffrastRenderer", "nvdiffrast"),
    # landmarkers
    ComponentSpec("landmarker", "mediapipe", "emoca_plugins.landmarkers.mediapipe:MediaPipeLandmarker"),
    # trackers
    ComponentSpec("tracker", "appearance", "emoca_plugins.trackers.appearance:AppearanceTracker"),
    # emotion backbones
    ComponentSpec("emotion_backbone", "timm", "emoca_plugins.emotion.timm_backbone:TimmBackbone"),
    ComponentSpec("emotion_backbone", "open_emotion", "emoca_plugins.emotion.open_emotion:OpenEmotion"),
    ComponentSpec("emotion_backbone", "open_emotion_free", "emoca_plugins.emotion.open_emotion_free:OpenEmotionFree"),
    ComponentSpec("emotion_backbone", "emonet", "emoca_plugins.emotion.emonet:EmoNet"),
    ComponentSpec("emotion_backbone", "fer_mini_xception", "emoca_plugins.emotion.fer_mini_xception:FerMiniXception"),
    ComponentSpec(
        "emotion_backbone", "face_api_expression", "emoca_plugins.emotion.face_api_expression:FaceApiExpression"
    ),
    # losses
    ComponentSpec("loss", "emotion_consistency", "emoca_plugins.losses.emotion_consistency:EmotionConsistency"),
    ComponentSpec("loss", "emotion_witness", "emoca_plugins.losses.emotion_witness:EmotionWitness"),
    ComponentSpec("loss", "shown_emotion", "emoca_plugins.losses.shown_emotion:ShownEmotion"),
    ComponentSpec("loss", "photometric", "emoca_plugins.losses.photometric:Photometric"),
    ComponentSpec("loss", "landmark_reprojection", "emoca_plugins.losses.landmark_reprojection:LandmarkReprojection"),
    ComponentSpec("loss", "eye_closure", "emoca_plugins.losses.eye_closure:EyeClosure"),
    ComponentSpec("loss", "mouth_closure", "emoca_plugins.losses.mouth_closure:MouthClosure"),
    ComponentSpec("loss", "lip_corner_distance", "emoca_plugins.losses.lip_corner_distance:LipCornerDistance"),
    ComponentSpec("loss", "code_prior", "emoca_plugins.losses.code_prior:CodePrior"),
    ComponentSpec("loss", "code_gaussian", "emoca_plugins.losses.code_gaussian:CodeGaussian"),
    ComponentSpec("loss", "jaw_prior", "emoca_plugins.losses.jaw_prior:JawPrior"),
    ComponentSpec("loss", "lighting_prior", "emoca_plugins.losses.lighting_prior:LightingPrior"),
    ComponentSpec("loss", "code_truth", "emoca_plugins.losses.code_truth:CodeTruth"),
    ComponentSpec("loss", "vertex_truth", "emoca_plugins.losses.vertex_truth:VertexTruth"),
    ComponentSpec("loss", "detail_photometric", "emoca_plugins.losses.detail_photometric:DetailPhotometric"),
    ComponentSpec("loss", "displacement_prior", "emoca_plugins.losses.displacement_prior:DisplacementPrior"),
    ComponentSpec("loss", "shading_smoothness", "emoca_plugins.losses.shading_smoothness:ShadingSmoothness"),
    ComponentSpec("loss", "displacement_symmetry", "emoca_plugins.losses.displacement_symmetry:DisplacementSymmetry"),
    ComponentSpec("loss", "id_mrf", "emoca_plugins.losses.id_mrf:IdMrf"),
    ComponentSpec("loss", "identity", "emoca_plugins.losses.identity:Identity"),
    # datasets
    ComponentSpec("dataset", "manifest", "emoca_plugins.datasets.manifest:ManifestFaces"),
    ComponentSpec("dataset", "encoded_faces", "emoca_plugins.datasets.encoded_faces:EncodedFaces"),
    ComponentSpec("dataset", "synthetic_faces", "emoca_plugins.datasets.synthetic_faces:SyntheticFaces"),
    # detail
    ComponentSpec("detail", "deca", "emoca_plugins.detail.deca:DecaDetail"),
    # exporters
    ComponentSpec("exporter", "glb", "emoca_plugins.exporters.glb:Glb"),
    ComponentSpec("exporter", "obj", "emoca_plugins.exporters.obj:Obj"),
    ComponentSpec("exporter", "ply", "emoca_plugins.exporters.ply:Ply"),
    ComponentSpec("exporter", "codes", "emoca_plugins.exporters.codes:Codes"),
    ComponentSpec("exporter", "overlay", "emoca_plugins.exporters.overlay:Overlay"),
    ComponentSpec("exporter", "arkit_csv", "emoca_plugins.exporters.arkit_csv:ArkitCsv"),
    ComponentSpec("exporter", "page", "emoca_plugins.exporters.page:Page"),
    ComponentSpec("exporter", "parquet", "emoca_plugins.exporters.parquet:Parquet"),
    ComponentSpec("exporter", "usd", "emoca_plugins.exporters.usd:UsdZip", extra="usd"),
    ComponentSpec("exporter", "json", "emoca_plugins.exporters.record:Record"),
    # senders
    ComponentSpec("sender", "preview", "emoca_plugins.senders.preview:Preview"),
    ComponentSpec("sender", "live_link", "emoca_plugins.senders.live_link:LiveLink"),
    ComponentSpec("sender", "vmc", "emoca_plugins.senders.vmc:Vmc"),
)


@hookimpl
def emoca_components() -> tuple[ComponentSpec, ...]:
    """Everything in this package."""
    return _COMPONENTS


@hookimpl
def emoca_formats() -> tuple[str, ...]:
    """The published files of this package's models, the more special ones first."""
    return (
        "emoca_plugins.face_models.flame_files:FORMATS",
        "emoca_plugins.detail.deca_files:FORMATS",
        "emoca_plugins.face_models.vertex_lists:FORMATS",  # before the Basel model's parts: any list of numbers is one
        "emoca_plugins.face_models.bfm_files:FORMATS",
        "emoca_plugins.face_models.head_files:FORMATS",
        "emoca_plugins.encoders.network_files:FORMATS",
        "emoca_plugins.emotion.network_files:FORMATS",
        "emoca_plugins.losses.recognition_files:FORMATS",
    )


@hookimpl
def emoca_crops() -> dict[str, str]:
    """How the published methods cut faces."""
    return {
        "emoca": "emoca_plugins.encoders.box_crops:EmocaCrop",
        "smirk": "emoca_plugins.encoders.box_crops:SmirkCrop",
        "3ddfa_v2": "emoca_plugins.encoders.box_crops:TddfaCrop",
        "expnet": "emoca_plugins.encoders.box_crops:ExpnetCrop",
        "emonet": "emoca_plugins.emotion.emonet_crop:EmonetCrop",
        "deep3dface": "emoca_plugins.encoders.point_crops:Deep3DFaceCrop",
        "mgcnet": "emoca_plugins.encoders.point_crops:MgcnetCrop",
        "upright": "emoca_plugins.encoders.point_crops:UprightCrop",
    }
