"""Reward functions as TRL's GRPOTrainer takes them: nothing here knows strictune."""

import re

NUMBER = re.compile(r"-?\d+")
MAX_CHARACTERS = 80


def last_number(completion):
    """Return the last whole number of a text, None without any."""
    found = NUMBER.findall(completion)
    return int(found[-1][:12]) if found else None


def format_reward(completions, **kwargs):
    """A short answer that holds a number."""
    return [
        float(last_number(text) is not None and len(text) <= MAX_CHARACTERS) for text in completions
    ]


def closeness_reward(completions, answer, **kwargs):
    """The nearer the last number, the better; it does not apply where there is none."""
    rewards = []
    for text, right in zip(completions, answer, strict=True):
        number = last_number(text)
        rewards.append(None if number is None else 1.0 / (1.0 + abs(number - right) / right))
    return rewards


def accuracy_reward(completions, answer, log_metric, **kwargs):
    """The last number is the right one."""
    pairs = zip(completions, answer, strict=True)
    rewards = [float(last_number(text) == right) for text, right in pairs]
    log_metric("accuracy", sum(rewards) / len(rewards))
    return rewards
