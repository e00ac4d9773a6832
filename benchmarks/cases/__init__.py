"""The cases of the registry, a file for each op."""
