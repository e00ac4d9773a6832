"""Speed of linsight's ops, measured: `python -m benchmarks`."""
