"""Exact likelihoods: log_prob and sample."""

from linsight.densities.autoregressive import Autoregressive, LabelKind, LabelPlace
from linsight.densities.base import Density, check_images, check_labels, check_temperature
from linsight.densities.bernoulli import IndependentBernoulli, NaiveBayes
from linsight.densities.build import AnyPixelDensityConfig, build, config, kinds
from linsight.densities.deepnade import DeepNADE, DeepNADEConfig
from linsight.densities.draws import draw
from linsight.densities.fvsbn import FVSBN, FVSBNConfig
from linsight.densities.gated_pixelcnn import GatedPixelCNN, GatedPixelCNNConfig
from linsight.densities.given import Given
from linsight.densities.inpainting import Inpainted, InpaintMode, exact_mode, inpaint
from linsight.densities.made import MADE, MADEConfig
from linsight.densities.nade import NADE, NADEConfig
from linsight.densities.pixelcnn import PixelCNN, PixelCNNConfig
from linsight.densities.pixelwise import PixelDensity, PixelDensityConfig
from linsight.densities.realnvp import RealNVP
from linsight.densities.states import state_bytes, take_rows

__all__ = [
    "FVSBN",
    "MADE",
    "NADE",
    "AnyPixelDensityConfig",
    "Autoregressive",
    "DeepNADE",
    "DeepNADEConfig",
    "Density",
    "FVSBNConfig",
    "GatedPixelCNN",
    "GatedPixelCNNConfig",
    "Given",
    "IndependentBernoulli",
    "InpaintMode",
    "Inpainted",
    "LabelKind",
    "LabelPlace",
    "MADEConfig",
    "NADEConfig",
    "NaiveBayes",
    "PixelCNN",
    "PixelCNNConfig",
    "PixelDensity",
    "PixelDensityConfig",
    "RealNVP",
    "build",
    "check_images",
    "check_labels",
    "check_temperature",
    "config",
    "draw",
    "exact_mode",
    "inpaint",
    "kinds",
    "state_bytes",
    "take_rows",
]
