"""Suites of real-world schemas that an installed package or a hub holds.

``strictune evaluate --suite NAME`` or ``NAME:PART`` puts them to a model. Their prompts show
the schema, because nobody wrote an instruction that says all that these schemas ask for.
"""
