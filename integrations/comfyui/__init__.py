"""ComfyUI nodes that try a garment on a person. ComfyUI reads the two mappings."""

from .nodes import Attention, LoadModels, LoadNetwork, PrepareGarment, PreparePerson, TryGarmentOn

NODE_CLASS_MAPPINGS = {
    "SiftvtonLoadNetwork": LoadNetwork,
    "SiftvtonLoadModels": LoadModels,
    "SiftvtonPreparePerson": PreparePerson,
    "SiftvtonPrepareGarment": PrepareGarment,
    "SiftvtonTryOn": TryGarmentOn,
    "SiftvtonAttention": Attention,
}

NODE_DISPLAY_NAME_MAPPINGS = {
    "SiftvtonLoadNetwork": "Load Try-On Network",
    "SiftvtonLoadModels": "Load Preparation Models",
    "SiftvtonPreparePerson": "Prepare Person",
    "SiftvtonPrepareGarment": "Prepare Garment",
    "SiftvtonTryOn": "Try On",
    "SiftvtonAttention": "Where Did It Look?",
}

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
