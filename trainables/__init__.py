"""One trial: a spec goes in, metrics and artifacts come out; runs without Ray."""
