"""`python -m linsight` is the `linsight` command."""

from linsight.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
