"""`python -m benchmarks` is the benchmark command."""

from benchmarks.run import main

if __name__ == "__main__":
    raise SystemExit(main())
