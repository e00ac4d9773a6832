"""Complete configurations by task and name; each says which run supports its values, or `untuned`."""

from collections.abc import Callable

from linsight.training.config import RunConfig
from linsight.training.presets.classify import (
    classify_default,
    classify_listops,
    classify_pathfinder,
    classify_pmnist,
    classify_smnist,
    classify_tiny,
)
from linsight.training.presets.detect import detect_default, detect_tiny
from linsight.training.presets.gaze import gaze_default, gaze_noisy, gaze_tiny
from linsight.training.presets.gaze_video import gaze_video_default, gaze_video_tiny
from linsight.training.presets.generate import GENERATE
from linsight.training.presets.language import language_default, language_mamba, language_tiny
from linsight.training.presets.pose import pose_default, pose_noisy, pose_tiny
from linsight.training.presets.recall import recall_default, recall_tiny
from linsight.training.presets.segment import segment_default, segment_tiny

__all__ = ["PRESETS"]

PRESETS: dict[str, dict[str, Callable[[], RunConfig]]] = {
    "classify": {
        "default": classify_default,
        "listops": classify_listops,
        "pathfinder": classify_pathfinder,
        "pmnist": classify_pmnist,
        "smnist": classify_smnist,
        "tiny": classify_tiny,
    },
    "detect": {"default": detect_default, "tiny": detect_tiny},
    "gaze": {"default": gaze_default, "noisy": gaze_noisy, "tiny": gaze_tiny},
    "gaze_video": {"default": gaze_video_default, "tiny": gaze_video_tiny},
    "generate": GENERATE,
    "language": {"default": language_default, "mamba": language_mamba, "tiny": language_tiny},
    "pose": {"default": pose_default, "noisy": pose_noisy, "tiny": pose_tiny},
    "recall": {"default": recall_default, "tiny": recall_tiny},
    "segment": {"default": segment_default, "tiny": segment_tiny},
}
"""Task kind -> preset name -> function; the first line of its docstring is its help."""
