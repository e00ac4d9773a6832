"""Laws of parts beside the call: initial scale, random features, discretisations, options, refusals."""

import re

import torch

from linsight.conformance.law import law
from linsight.conformance.needs import discretises, draws_features
from linsight.conformance.needs import mistakes as has_mistakes
from linsight.conformance.needs import options as has_options
from linsight.conformance.subject import Subject
from linsight.conformance.trial import Trial, unravel

__all__ = ["options_count", "refusals", "scale", "stable_discretisation", "unbiased_features"]

DRAWS = 2000


@law(
    statement="A fresh module's output is at most ten times its input, RMS for RMS.",
    reason="It is the branch of a residual block, x + f(x): at the start it is to add to the stream, not to "
    "replace it.",
    breach="The first steps of training undo the initialisation, or diverge.",
    inputs="Four rows of 200 normal tokens, untouched initial weights.",
    tolerance="10: a branch of ten times the residual leaves a hundredth of the stream's variance its own. "
    "Working initialisations are near 1 and below.",
)
def scale(subject: Subject, trial: Trial) -> None:
    """Compare the sizes."""
    adapter = subject.build(moved=False)
    x = trial.tokens(adapter, 4, 200)
    with torch.no_grad():
        y = adapter(x)[0]
    trial.finite(y, "y")
    ratio = (y.double().square().mean() / x.double().square().mean()).sqrt().item()
    trial.below(ratio, 10, "RMS of y over RMS of x")


@law(
    statement="Random features have mean 0: each entry of the matrix, over independent draws.",
    reason="E[phi(q) . phi(k)] = exp(q . k) needs W ~ N(0, I) row by row (Choromanski et al. 2021, arXiv "
    "2009.14794). QR of a Gaussian matrix is Haar only after Q is multiplied by the signs of R's diagonal.",
    breach="The kernel estimate is biased: too small at +x and too large at -x, however many features.",
    inputs="2,000 matrices, 400 in quick mode, drawn anew.",
    tolerance="Each entry's mean within 6 of its own standard errors: 6 sigma fails by chance once in 10^9, "
    "so not once in 10^5 among the entries of a matrix.",
    needs=(draws_features,),
)
def unbiased_features(subject: Subject, trial: Trial) -> None:
    """Average many draws."""
    draw = subject.features
    assert draw is not None
    draws = torch.stack([draw().double() for _ in range(400 if trial.quick else DRAWS)])
    mean, error = draws.mean(0), draws.std(0) / len(draws) ** 0.5
    at = unravel(int((mean.abs() / error).argmax()), mean.shape)
    what = f"entry {list(at)}, of mean {mean[at]:.3f}, in standard errors"
    trial.below((mean[at].abs() / error[at]).item(), 6.0, what)


@law(
    statement="A stable system stays stable when it is discretised: |A_bar| < 1 where Re A < 0, and A_bar "
    "is exp(dt A) to second order.",
    reason="ZOH is exp(dt A), the bilinear rule (1 - dt A / 2)^-1 (1 + dt A / 2); both map the left half "
    "plane into the unit disc.",
    breach="A sign flipped: states explode with the length.",
    inputs="A = -0.5, -0.5 + 3.14 i and -1, dt = 0.1.",
    tolerance="|A_bar - exp(dt A)| <= |dt A|^3 / 6: the bilinear rule's error is |dt A|^3 / 12 to leading "
    "order, ZOH's is 0.",
    needs=(discretises,),
)
def stable_discretisation(subject: Subject, trial: Trial) -> None:
    """Look at three modes."""
    modes, step = torch.tensor([-0.5, -0.5 + 3.14j, -1.0], dtype=torch.complex128), 0.1
    assert subject.discretise is not None
    stepped = subject.discretise(modes, step).to(torch.complex128)
    for mode, got in zip(modes, stepped, strict=True):
        want = (step * mode).exp()
        with trial.saying(f"A = {mode.item():.3g}"):
            trial.holds(
                got.abs().item() < 1, f"|A_bar| = {got.abs():.4f} instead of {want.abs():.4f}: it grows"
            )
            trial.below((got - want).abs().item(), (step * mode).abs().item() ** 3 / 6, "A_bar")


@law(
    statement="An option that can be set makes a difference.",
    reason="An option that is silently ignored is the costliest kind of mistake: the user believes it.",
    breach="A study of the option compares a model with itself.",
    inputs="Two rows of 20 normal tokens; the module, and the module with the option changed, from one "
    "seed, parameters moved by noise that their names alone decide.",
    tolerance="Exact: some output differs.",
    needs=(has_options,),
)
def options_count(subject: Subject, trial: Trial) -> None:
    """Change each option."""
    adapter = subject.build()
    x = trial.tokens(adapter, 2, 20)
    for name, make in subject.options.items():
        other = Subject(subject.name, make).build()
        with torch.no_grad():
            differs = not torch.equal(other(x)[0], adapter(x)[0])
        trial.holds(differs, f"{name} changes nothing: it is ignored")


@law(
    statement="A wrong argument is refused by a ValueError or TypeError whose one line names it.",
    reason="The reader of the message has the argument in front of them, not the source.",
    breach="Hours spent in somebody else's traceback.",
    inputs="The mistakes that the subject names.",
    tolerance="Exact: the type, one line, the argument's name in it.",
    needs=(has_mistakes,),
)
def refusals(subject: Subject, trial: Trial) -> None:
    """Make each mistake."""
    for name, call in subject.mistakes.items():
        with trial.saying(f"mistake in {name}"):
            try:
                call()
            except (ValueError, TypeError) as error:
                message = str(error)
                named = re.search(rf"\b{re.escape(name)}\b", message) is not None
                trial.holds(named, f"{type(error).__name__} without its name: {message[:150]!r}")
                trial.holds(
                    "\n" not in message, f"{type(error).__name__} of several lines: {message[:150]!r}"
                )
            except Exception as error:
                trial.holds(False, f"{type(error).__name__}: {' '.join(str(error).split())[:150]}")
            else:
                trial.holds(False, "it is accepted")
