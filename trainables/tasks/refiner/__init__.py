"""An agent's reasoning and search output, refined into a short answer with citations."""
