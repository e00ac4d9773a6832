"""The command line: one file a verb, and a dispatcher that loads only the verb asked for."""

__all__: list[str] = []
