"""Whether the model hub answers."""

import urllib.error
import urllib.request

from strictune.doctor.findings import Finding, Place, ok, warning

__all__ = ["check_hub"]

DEFAULT_ENDPOINT = "https://huggingface.co"
TIMEOUT_S = 5.0
WITHOUT = (
    "Without it there are the models at hand (see chat templates), local folders and, from the "
    "package index, package:smollm2-135m."
)


def check_hub(place: Place) -> Finding:
    """Ask the hub for anything: a sweep of models that are at hand does without it."""
    environ = place.environ
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE"):
            return warning(
                "model hub",
                f"offline, by {variable}",
                cure=f"To have models downloaded: unset {variable}. {WITHOUT}",
            )
    endpoint = environ.get("HF_ENDPOINT", DEFAULT_ENDPOINT).rstrip("/")
    try:
        # Only the address is checked for, so what the hub says to it does not matter.
        urllib.request.urlopen(
            urllib.request.Request(endpoint, method="HEAD"), timeout=TIMEOUT_S
        ).close()
    except urllib.error.HTTPError as error:
        error.close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        return warning(
            "model hub",
            f"offline: {endpoint} does not answer ({reason})",
            cure=f"Check the network, HTTPS_PROXY and HF_ENDPOINT. {WITHOUT}",
        )
    has_token = bool(environ.get("HF_TOKEN"))
    token = "a token is set" if has_token else "no HF_TOKEN, which gated models such as Gemma need"
    return ok("model hub", f"{endpoint} answers; {token}")
