"""Sequence models: embedding, blocks with any mixer, head, generation, and densities made of them."""

from linsight.models.sequence.classifier import ClassifierConfig, SequenceClassifier
from linsight.models.sequence.decoding import Steps, decode_error, why_eager
from linsight.models.sequence.density import ImageDensity, ImageDensityConfig
from linsight.models.sequence.embedding import Context, RasterEmbedding, TokenEmbedding
from linsight.models.sequence.generation import generate, restrict
from linsight.models.sequence.model import SequenceModel, SequenceState
from linsight.models.sequence.patches import Patches
from linsight.models.sequence.patterns import PATTERNS, transnormer
from linsight.models.sequence.published import from_published
from linsight.models.sequence.rwkv import RWKVLayerState, RWKVModel, RWKVModelConfig, rwkv_from_published
from linsight.models.sequence.stack import Block, SequenceConfig, Stack, stacks_in, with_stacks
from linsight.models.sequence.tokens import TokenModelConfig

__all__ = [
    "PATTERNS",
    "Block",
    "ClassifierConfig",
    "Context",
    "ImageDensity",
    "ImageDensityConfig",
    "Patches",
    "RWKVLayerState",
    "RWKVModel",
    "RWKVModelConfig",
    "RasterEmbedding",
    "SequenceClassifier",
    "SequenceConfig",
    "SequenceModel",
    "SequenceState",
    "Stack",
    "Steps",
    "TokenEmbedding",
    "TokenModelConfig",
    "decode_error",
    "from_published",
    "generate",
    "restrict",
    "rwkv_from_published",
    "stacks_in",
    "transnormer",
    "why_eager",
    "with_stacks",
]
