"""The laws of the contract, a file for each part of it."""

__all__: list[str] = []
