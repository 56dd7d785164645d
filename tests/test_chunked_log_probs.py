"""Log-probs in chunks: the same numbers and gradients as from whole logits, in less memory."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from torch.testing import assert_close

from minirlhf import gather_log_probs
from minirlhf.chunked_log_probs import (
    chunk_tokens,
    chunked_log_probs,
    chunked_log_probs_and_entropy,
    most_bytes,
)
from minirlhf.log_probs import entropy

B, R, H, V = 3, 5, 6, 11


def parts(*, dtype: torch.dtype = torch.float64, bias: bool = True) -> list[Tensor | None]:
    """Hidden states (B, R, H), W (V, H) and b (V,), with gradient."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(B, R, H), (V, H), (V,)]
    tensors = [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes]
    made = [x.to(dtype).requires_grad_() for x in tensors]
    return made if bias else [*made[:2], None]


IDS = torch.randint(V, (B, R), generator=torch.Generator().manual_seed(1))
COUNTS = torch.randn(B, R, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def gradients(log_probs: Tensor, inputs: list[Tensor | None]) -> list[Tensor]:
    """Of a sum in which every token weighs differently."""
    total = (log_probs * COUNTS.to(log_probs.dtype)).sum()
    wanted = [x for x in inputs if x is not None]
    return list(torch.autograd.grad(total, wanted, retain_graph=True))


@given(chunk=st.integers(1, B * R + 3), temperature=st.sampled_from([1.0, 0.7]), bias=st.booleans())
def test_any_chunk_gives_the_numbers_and_the_gradients_of_whole_logits(
    chunk: int, temperature: float, bias: bool
) -> None:
    hidden, weight, b = inputs = parts(bias=bias)
    logits = F.linear(hidden, weight, b)
    whole = gather_log_probs(logits, IDS, temperature=temperature)
    ours = chunked_log_probs(hidden, weight, b, IDS, temperature=temperature, chunk=chunk)
    assert_close(ours, whole, rtol=0, atol=1e-12)
    for mine, wanted in zip(gradients(ours, inputs), gradients(whole, inputs), strict=True):
        assert_close(mine, wanted, rtol=0, atol=1e-12)
    both = chunked_log_probs_and_entropy(
        hidden, weight, b, IDS, temperature=temperature, chunk=chunk
    )
    assert torch.equal(both[0], ours) and not both[0].requires_grad
    assert_close(both[1], entropy(logits, temperature=temperature), rtol=0, atol=1e-12)


def test_its_gradient_is_the_derivative() -> None:
    def read(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return chunked_log_probs(hidden, weight, bias, IDS, temperature=0.7, chunk=4)

    assert gradcheck(read, tuple(parts()))


def test_a_frozen_head_gets_no_gradient_and_the_hidden_states_still_do() -> None:
    hidden, weight, bias = parts()
    ours = chunked_log_probs(hidden, weight.detach(), bias.detach(), IDS, chunk=4)
    whole = gather_log_probs(F.linear(hidden, weight, bias), IDS)
    assert_close(gradients(ours, [hidden]), gradients(whole, [hidden]))
    only_head = chunked_log_probs(hidden.detach(), weight, bias, IDS, chunk=4)
    assert_close(gradients(only_head, [weight, bias]), gradients(whole, [weight, bias]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_under_autocast_products_are_half_and_numbers_float32(dtype: torch.dtype) -> None:
    """Weights in float32 under autocast, or in bfloat16 by themselves."""
    hidden, weight, bias = inputs = parts(dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.float32):
        ours = chunked_log_probs(hidden, weight, bias, IDS, chunk=4)
        both = chunked_log_probs_and_entropy(hidden, weight, bias, IDS, chunk=4)
        whole = gather_log_probs(F.linear(hidden, weight, bias), IDS)
    assert ours.dtype == both[0].dtype == both[1].dtype == torch.float32
    assert_close(ours, whole, rtol=0, atol=1e-6)  # both from logits in half precision
    exact = gather_log_probs(F.linear(hidden.float(), weight.float(), bias.float()), IDS)
    assert dtype == torch.bfloat16 or (ours - exact).abs().max() > 1e-4
    for mine, wanted in zip(gradients(ours, inputs), gradients(whole, inputs), strict=True):
        assert mine.dtype == wanted.dtype == dtype
        assert_close(mine, wanted, rtol=0.02, atol=0.02)


def test_a_chunk_is_half_as_large_as_the_logits_that_may_be_held() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert (most_bytes(cpu), most_bytes(gpu)) == (64 * 2**20, 1024 * 2**20)
    assert chunk_tokens(torch.empty(50257, 1)) == 166  # 166·50,257·4 bytes = 31.8 MiB
    assert chunk_tokens(torch.empty(2**25, 1)) == 1  # one token's are more than that already


def test_shapes_that_do_not_fit_are_refused() -> None:
    hidden, weight, bias = parts()
    for bad, ids in [(hidden[:, 1:], IDS), (hidden[0], IDS), (hidden[:0], IDS[:0])]:
        for read in (chunked_log_probs, chunked_log_probs_and_entropy):
            with pytest.raises(ValueError, match=r"hidden must be \(B, R, H\)"):
                read(bad, weight, bias, ids)
    with pytest.raises(ValueError, match="temperature must be a positive number"):
        chunked_log_probs(hidden, weight, bias, IDS, temperature=0.0)
    empty = chunked_log_probs(hidden[:, :0], weight, bias, IDS[:, :0])
    assert empty.shape == (B, 0)


def peak_bytes(step: object) -> int:
    """The most that PyTorch held at one time, beyond what there was before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step()
    events = seen.profiler.kineto_results.events()
    sizes = [event.nbytes() for event in events if event.name() == "[memory]"]
    return max(itertools.accumulate(sizes))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_peak_is_far_below_one_tensor_of_all_logits(precision: str) -> None:
    """256 tokens × 16,000 words in chunks of 32; W is small beside that, as in real training."""
    tokens, words, width = 256, 16_000, 16
    hidden = torch.randn(1, tokens, width, requires_grad=True)
    head = torch.nn.Linear(width, words, bias=False)
    ids = torch.zeros(1, tokens, dtype=torch.long)

    def step(chunk: int | None) -> None:
        hidden.grad = head.weight.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            if chunk is None:
                log_probs = gather_log_probs(head(hidden), ids)
            else:
                log_probs = chunked_log_probs(hidden, head.weight, None, ids, chunk=chunk)
        log_probs.sum().backward()

    whole_logits = 4 * tokens * words
    assert peak_bytes(lambda: step(None)) > 1.9 * whole_logits  # the measure sees them
    assert peak_bytes(lambda: step(32)) < 0.75 * whole_logits
