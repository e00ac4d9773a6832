"""Which law catches which planted defect: a defect is an honest mixer with one thing changed."""

import faults_attention as attention
import faults_convolved as convolved
import faults_decayed as decayed
import faults_features as features
import faults_numbers as numbers
import faults_parts as parts
import faults_states as states

MODULES = (attention, states, numbers, decayed, convolved, features, parts)

CAUGHT = {
    "any-length": [attention.MultiplesOnly],
    "split": [
        states.AlmostBlock,
        states.LostPosition,
        states.LostBlockPhase,
        states.RoundedState,
        states.SingleState,
        decayed.LateDecay,
        decayed.LastChunkOnly,
        decayed.LastTokenOnly,
        decayed.LoneStaleChunk,
        convolved.ShortWindow,
        features.StaleSums,
    ],
    "decode": [
        states.StepAhead,
        numbers.CoarseStep,
        decayed.FilledChunk,
        convolved.ActivationsKept,
        convolved.BriefWindow,
        convolved.FlippedTaps,
        convolved.BiasTwice,
    ],
    "prefill": [decayed.LastChunkOnly, decayed.FilledChunk, convolved.ActivationsKept],
    "reset": [states.Haunted, states.OtherBeginning, states.HiddenCache],
    "fork": [
        states.InPlace,
        states.StaticBuffer,
        states.SharedRoom,
        states.HiddenCache,
        convolved.RolledInPlace,
    ],
    "causality": [
        attention.LeakyFuture,
        attention.TensorScale,
        decayed.SlippedMask,
        decayed.LoneLateSlip,
        convolved.Centred,
        features.LeakyStabiliser,
    ],
    "prefix": [attention.LengthNormaliser, attention.LeakyFuture, features.LeakyStabiliser],
    "sight": [
        attention.Forgetful,
        attention.OwnTokenUnseen,
        attention.BlindBucket,
        attention.WholeBlocksOnly,
    ],
    "forms": [
        attention.ReadBeforeWrite,
        attention.DeafForm,
        attention.SilentFallback,
        attention.OtherWhenShort,
        attention.TransposedInOneForm,
        decayed.DecayAfterWrite,
        decayed.LateDecay,
        decayed.StaleChunk,
        convolved.WindowlessForm,
        features.EpsAfterShift,
        features.StaleSums,
    ],
    "padding": [
        states.NoRowsLeft,
        attention.UnmaskedKey,
        attention.UnmaskedInOneForm,
        attention.MaskedValueOnly,
        attention.MultipliedMask,
        attention.UnmaskedOutput,
        attention.TrimmedToLongest,
        states.StateAtTheEnd,
        states.EmptyRowForgets,
        decayed.DecayingPadding,
        convolved.WindowOfPadding,
        convolved.SteppingPadding,
        features.FinitePadding,
    ],
    "ragged": [
        states.LostPosition,
        states.SharedPosition,
        states.StateAtTheEnd,
        states.EmptyRowForgets,
        decayed.LastTokenOnly,
        convolved.WindowOfPadding,
    ],
    "padding-gradients": [attention.PaddedGradient, attention.MultipliedMask, decayed.RootOfZero],
    "batch": [
        attention.BatchNormed,
        attention.TensorScale,
        attention.SqueezedRow,
        decayed.SharedDecay,
    ],
    "select": [states.BatchSecond, states.HiddenCache, states.StaticBuffer],
    "state": [
        states.BatchSecond,
        states.HalfState,
        states.StateOfTheWeights,
        states.StateOfTheAutocast,
        states.StateOfFloat16,
        states.SingleState,
        states.RealPosition,
        states.ShortPosition,
        convolved.HiddenOfTheWeights,
    ],
    "state-size": [states.Underweight, states.SizeOfTheWeights, states.Hoarder],
    "step-cost": [states.RebuiltTable, states.Hoarder],
    "accumulation": [states.RoundedState, states.StateOfTheWeights, states.SumsOfTheAutocast],
    "gradients": [
        attention.DeafForm,
        numbers.HalfGradient,
        decayed.LostDecayGradient,
        decayed.CutChunks,
    ],
    "carried-gradients": [states.Detached, decayed.CutChunks, convolved.DetachedWindow],
    "state-gradients": [attention.DeafForm, states.DeafNormaliser, decayed.DetachedStart],
    "gradcheck": [numbers.WrongBackward, numbers.LostParameter],
    "dtype-ladder": [
        numbers.HalfPositions,
        numbers.CoarseProducts,
        numbers.RareOverflow,
        numbers.WideOutput,
    ],
    "extremes": [
        decayed.UnitKeys,
        decayed.RootOfZero,
        features.Unstabilised,
    ],
    "no-rows": [numbers.EmptyBatch],
    "decay-extremes": [decayed.CumsumDifference, decayed.MaskAfterExp, decayed.ExpOfMinus],
    "uninitialised": [numbers.Uninitialised, numbers.UnwrittenRow],
    "determinism": [numbers.AlwaysDropped, numbers.OverwrittenInput, features.RedrawnAtEachCall],
    "evaluation": [
        numbers.TrainingStatistics,
        numbers.NoStateInTraining,
        numbers.OtherWithoutGradient,
        features.RedrawnInTraining,
    ],
    "save-load": [features.UnsavedFeatures, numbers.LateBuffer, convolved.CachedDecay],
    "export": [numbers.PythonBranch, numbers.ShapelessOperation],
    "compile": [numbers.OtherWhenCompiled, numbers.ShapelessOperation],
    "scale": [numbers.Loud],
    "unbiased-features": [parts.UNFIXED_SIGNS, parts.POSITIVE_FEATURES],
    "stable-discretisation": [parts.FLIPPED_BILINEAR, parts.FORWARD_EULER, parts.HALF_STEP],
    "options-count": [parts.IGNORED_OPTION, parts.UNREAD_PARAMETER],
    "refusals": [parts.ACCEPTING, parts.UNCHECKED, parts.NAMELESS, parts.ASSERTING, parts.VERBOSE],
}
"""Every defect, under each law that is there for it."""

ALONE = {
    "sight": [attention.OwnTokenUnseen, attention.BlindBucket],
    "forms": [attention.SilentFallback],
    "padding": [attention.UnmaskedOutput, attention.TrimmedToLongest, features.FinitePadding],
    "ragged": [states.SharedPosition],
    "state": [states.ShortPosition],
    "state-size": [states.Underweight],
    "gradients": [numbers.HalfGradient],
    "gradcheck": [numbers.WrongBackward, numbers.LostParameter],
    "dtype-ladder": [numbers.RareOverflow, numbers.WideOutput],
    "no-rows": [numbers.EmptyBatch],
    "decay-extremes": [decayed.CumsumDifference],
    "evaluation": [features.RedrawnInTraining],
    "save-load": [features.UnsavedFeatures],
}
"""The subtlest: they break one law and no other, which shows that law to be needed."""

KEPT = [
    (attention.LengthNormaliser, "causality", "a perturbed future leaves the length as it is"),
    (attention.PaddedGradient, "padding", "no value changes"),
    (attention.TransposedInOneForm, "split", "every form agrees with itself"),
    (states.LostBlockPhase, "forms", "every call begins at the beginning"),
    (decayed.LastChunkOnly, "decode", "neither steps nor outputs go through the state of two chunks"),
    (decayed.LastTokenOnly, "prefill", "no call of several tokens is given a state"),
    (decayed.DetachedStart, "forms", "values are right"),
    (decayed.CutChunks, "gradcheck", "its few tokens are one chunk"),
    (features.EpsAfterShift, "split", "each form has its own peak, and keeps it"),
]
"""Laws that say nothing of a defect, and why: a defect is told by the laws that it breaks."""
