"""The Hugging Face Hub, asked only for what is no file or folder here."""

import socket
import urllib.request
from urllib.parse import urlsplit

from huggingface_hub import constants


def check_hub(kind: str, source: object) -> None:
    """Refuse at once, not after a minute of retries, when the Hub cannot be reached.

    Args:
        kind: what is wanted, such as "model".
        source: the name that was given.

    Raises:
        ValueError: this computer has no connection, or no name service.
    """
    if constants.HF_HUB_OFFLINE or urllib.request.getproxies():
        return  # cached files only, or a proxy that looks names up for us
    host = urlsplit(constants.ENDPOINT).hostname
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        raise ValueError(
            f"there is no {kind} {source} here, and {host} cannot be reached to look for it "
            "(HF_HUB_OFFLINE=1 uses what was downloaded earlier)"
        ) from None
