"""Small shared modules and functions."""

from linsight.nn import upsampling
from linsight.nn.feature_maps import FeatureMap, feature_map, feature_maps
from linsight.nn.glu import GatedMLP
from linsight.nn.hints import Hinted
from linsight.nn.hippo import (
    HippoMeasure,
    NormalLowRank,
    discretise,
    hippo,
    hippo_basis,
    hippo_density,
    legs_transition,
    normal_low_rank,
    reconstruct,
)
from linsight.nn.norms import GatedRMSNorm, LayerNorm, simple_rms_norm
from linsight.nn.positions import rotary
from linsight.nn.random_features import RandomProjection, Scaling, orthogonal_gaussian
from linsight.nn.ranks import AcrossRanks, SequenceGroup
from linsight.nn.relative_bias import RelativeBias
from linsight.nn.short_convolution import ShortConvolution
from linsight.nn.token_shift import token_shift

__all__ = [
    "AcrossRanks",
    "FeatureMap",
    "GatedMLP",
    "GatedRMSNorm",
    "Hinted",
    "HippoMeasure",
    "LayerNorm",
    "NormalLowRank",
    "RandomProjection",
    "RelativeBias",
    "Scaling",
    "SequenceGroup",
    "ShortConvolution",
    "discretise",
    "feature_map",
    "feature_maps",
    "hippo",
    "hippo_basis",
    "hippo_density",
    "legs_transition",
    "normal_low_rank",
    "orthogonal_gaussian",
    "reconstruct",
    "rotary",
    "simple_rms_norm",
    "token_shift",
    "upsampling",
]
