"""The `linsight` command: finds the verb, runs it, turns exceptions into one line and an exit code."""

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["VERBS", "Verb", "main", "raised_by_linsight"]

USER_MISTAKES = (ValueError, TypeError, FileNotFoundError, ImportError)


@dataclass(frozen=True)
class Verb:
    """Where a verb lives, its usage and its line in `linsight --help`."""

    module: str
    usage: str
    help: str


VERBS = {
    "train": Verb(
        "linsight.cli.train", "train TASK [options]", "train, evaluate on the test split, write the report"
    ),
    "evaluate": Verb("linsight.cli.evaluate", "evaluate RUN [options]", "measure a trained run on one split"),
    "sample": Verb(
        "linsight.cli.sample", "sample RUN [options]", "draw from a trained run, save the picture"
    ),
    "predict": Verb(
        "linsight.cli.predict", "predict TASK IMAGE [options]", "what a trained run says of a picture"
    ),
    "calibrate": Verb(
        "linsight.cli.calibrate",
        "calibrate SAMPLES [options]",
        "fit a run of gaze to a person, from few pictures",
    ),
    "compress": Verb(
        "linsight.cli.compress",
        "compress IMAGES --out FILE",
        "write binary images losslessly by a run's model",
    ),
    "decompress": Verb(
        "linsight.cli.decompress",
        "decompress FILE --out IMAGES",
        "read them again, each proven by a checksum",
    ),
    "check": Verb(
        "linsight.cli.check", "check SUBJECT [options]", "prove the contract of a mixer, ours or anybody's"
    ),
    "compare": Verb(
        "linsight.cli.compare", "compare TASK [options]", "train several mixers under one budget, one report"
    ),
    "bench": Verb(
        "linsight.cli.bench",
        "bench mixers|kernels [options]",
        "measure time and memory of mixers against the length, or how much faster kernels are",
    ),
    "plan": Verb(
        "linsight.cli.plan", "plan --length T --devices P", "what a device of many holds and sends, on paper"
    ),
    "explain": Verb(
        "linsight.cli.explain",
        "explain TOPIC [options]",
        "show what decay does, or which group a parameter is in",
    ),
    "doctor": Verb(
        "linsight.cli.doctor", "doctor [--json]", "what this machine has, and the path each op takes"
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Codes: 0 done, 1 a failure, 2 the user's mistake, 130 interrupted by Ctrl-C. A mistake or a failure is
    one line on standard error; `--debug`, anywhere on the line, adds the traceback.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt as error:
        return _fail(str(error) or "interrupted", getattr(error, "exit_code", 130), debug)
    except BrokenPipeError:
        # The reader of our output has left (`linsight doctor | head -1`): nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except USER_MISTAKES as error:
        if raised_by_linsight(error):
            return _fail(_sentence(error), 2, debug)
        return _fail(f"{type(error).__name__}: {_sentence(error)}", 1, debug, hint=True)
    except RuntimeError as error:
        return _fail(_sentence(error), 1, debug, hint=not raised_by_linsight(error))
    except OSError as error:
        return _fail(_sentence(error), 1, debug)
    # The last resort of the program, not of a library: whatever else went wrong is still one line.
    except Exception as error:
        return _fail(f"{type(error).__name__}: {_sentence(error)}", 1, debug, hint=True)


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    name, *rest = arguments
    if name in ("-V", "--version"):
        print(f"linsight {_version()}")
        return 0
    if name not in VERBS:
        near = difflib.get_close_matches(name, VERBS, n=1, cutoff=0.5)
        guess = f"did you mean 'linsight {near[0]}'?" if near else f"verbs: {', '.join(VERBS)}"
        kind = "option" if name.startswith("-") else "verb"
        raise ValueError(f"unknown {kind} {name!r}; {guess}")
    return importlib.import_module(VERBS[name].module).run(rest)


def _help() -> str:
    width = max(len(verb.usage) for verb in VERBS.values()) + 2
    lines = [f"  linsight {verb.usage:<{width}}{verb.help}" for verb in VERBS.values()]
    return "\n".join(
        [
            f"linsight {_version()}: linear-time token mixers for PyTorch, and the tasks built on them",
            "",
            *lines,
            "",
            "  --help     after a verb: all of its options",
            "  --version  print the version",
            "  --debug    anywhere: show the traceback of an error",
        ]
    )


def _version() -> str:
    import linsight

    return linsight.__version__


def raised_by_linsight(error: BaseException) -> bool:
    """Whether the innermost Python frame is ours: then the message was written for the user."""
    trace, module = error.__traceback__, ""
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        trace = trace.tb_next
    return module == "linsight" or module.startswith("linsight.")


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _fail(message: str, code: int, debug: bool, *, hint: bool = False) -> int:
    if debug:
        traceback.print_exc()
    elif hint:
        message += " (--debug shows where)"
    print(f"linsight: {message}", file=sys.stderr)
    return code
