"""Sequence models: embedding, blocks with any mixer, head, generation, and densities made of them."""

from linsight.models.sequence.density import ImageDensity, ImageDensityConfig, LabelPlace
from linsight.models.sequence.embedding import Context, RasterEmbedding, TokenEmbedding
from linsight.models.sequence.generation import generate, restrict
from linsight.models.sequence.model import SequenceModel, SequenceState
from linsight.models.sequence.patches import Patches
from linsight.models.sequence.stack import Block, SequenceConfig, Stack

__all__ = [
    "Block",
    "Context",
    "ImageDensity",
    "ImageDensityConfig",
    "LabelPlace",
    "Patches",
    "RasterEmbedding",
    "SequenceConfig",
    "SequenceModel",
    "SequenceState",
    "Stack",
    "TokenEmbedding",
    "generate",
    "restrict",
]
