"""``builtin:tiny_citing``: a small Llama that cites, and the one command that rebuilds it."""
