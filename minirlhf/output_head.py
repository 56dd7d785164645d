"""The output head of a language model, and how to let it say log-probs instead of logits.

Most models end with `logits = head(hidden)`, a linear layer. While `speaking` runs, that layer's
place is taken by a function of the hidden states, so the model itself, called as ever, gives what
the function makes of them. Some models do more to their logits (Gemma bends them, Cohere and
Granite scale them): `linear_head` finds out by trying, and says None.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from minirlhf.chunked_log_probs import chunked_log_probs
from minirlhf.log_probs import gather_log_probs

_TRIED: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()  # once for each model


@contextmanager
def speaking(head: nn.Linear, what: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Let the model give `what(hidden)` in place of `head(hidden)` inside the block.

    Args:
        head: the model's output layer.
        what: from hidden states (B, width, H) to any (B, R, n).
    """
    head.forward = what  # type: ignore[assignment]
    try:
        yield
    finally:
        del head.forward  # the class's own is there again


def linear_head(model: PreTrainedModel) -> nn.Linear | None:
    """The head, where a model's logits are W·h + b and nothing else; None where they are more.

    The first call for a model tries it: four tokens, read both ways.

    Args:
        model: a causal language model.
    """
    head = model.get_output_embeddings()
    # layers that hold W in another way (LoRA, 4 bits) have a forward of their own
    if not isinstance(head, nn.Linear) or type(head).forward is not nn.Linear.forward:
        return None
    if model not in _TRIED:
        _TRIED[model] = _says_the_same(model, head)
    return head if _TRIED[model] else None


@torch.no_grad()
def _says_the_same(model: PreTrainedModel, head: nn.Linear) -> bool:
    """Whether log-probs that are made in the head come out as those made from the logits."""
    ids = torch.arange(4, device=head.weight.device)[None] % head.weight.shape[0]

    def log_probs(hidden: Tensor) -> Tensor:
        return chunked_log_probs(hidden, head.weight, head.bias, ids)[..., None]

    options = {"attention_mask": torch.ones_like(ids), "use_cache": False}
    with torch.autocast(ids.device.type, enabled=False):
        from_logits = gather_log_probs(model(ids, **options).logits, ids)
        try:
            with speaking(head, log_probs):
                from_head = model(ids, **options).logits
        except (IndexError, RuntimeError):  # it looked for V logits
            return False
    # what a model adds to its logits, or scales or bends them by, shows in these numbers as well
    return from_head.shape == (1, 4, 1) and torch.allclose(
        from_head[..., 0].to(from_logits.dtype), from_logits, rtol=1e-4
    )
