"""The table of laws, in the order in which they are tried and told."""

from linsight.conformance.law import Law
from linsight.conformance.laws import (
    artefacts,
    batching,
    causality,
    computing,
    gradients,
    growth,
    numbers,
    padding,
    parts,
    splitting,
    states,
)

__all__ = ["LAWS"]

LAWS: dict[str, Law] = {
    law.name: law
    for law in (
        computing.any_length,
        splitting.split,
        splitting.decode,
        splitting.prefill,
        splitting.reset,
        splitting.fork,
        causality.causality,
        causality.prefix,
        causality.sight,
        computing.forms,
        padding.padding,
        padding.ragged,
        padding.padding_gradients,
        batching.batch,
        batching.select,
        states.state,
        states.state_size,
        states.step_cost,
        states.accumulation,
        gradients.gradients,
        gradients.carried_gradients,
        gradients.state_gradients,
        gradients.gradcheck,
        numbers.dtype_ladder,
        numbers.long_row,
        numbers.extremes,
        numbers.no_rows,
        numbers.decay_extremes,
        numbers.uninitialised,
        computing.determinism,
        computing.evaluation,
        artefacts.save_load,
        artefacts.export,
        artefacts.compile,
        parts.scale,
        parts.unbiased_features,
        parts.stable_discretisation,
        parts.options_count,
        parts.refusals,
        growth.cost_growth,
    )
}
"""Every law by its name."""
