"""``builtin:tiny``: a Llama of 1.4M parameters and the one command that rebuilds it.

It exists so that the whole path, from sweep file to verdict, runs in minutes on two cores
without a model hub. It is trained from scratch on gold answers to strict_json's training
families, then for a while on partly sloppy ones, so that reinforcement learning has
something to improve. It is no general language model: it knows this task alone. ``citing`` holds
the same for answers with citations.
"""
