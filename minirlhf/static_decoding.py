"""Sampling on a GPU: all memory is taken once, and a step is one CUDA graph.

A decode step of a small model is some hundred tiny kernels; starting them one by one from Python
takes far longer than running them. So every tensor of a step has a fixed place, a step never asks
the CPU anything, and the GPU replays the recorded step as a whole. `generate` in
`minirlhf.generation` samples the same tokens with a cache that grows; it is the one to read first.

    slot:     0 … P−1 | P     P+1 …           one row of the cache; the prompt is padded on the left
    step t:   reads A_{t−1} at slot P+t−1, opens that slot for attention, samples A_t
"""

import copy
import importlib.util
import warnings
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, StaticCache

from minirlhf.backbone import attention_inputs
from minirlhf.batch import Prompts, Responses
from minirlhf.generation import BROKEN, draw
from minirlhf.masks import at_least_float32, response_mask_from_lengths

PROMPT_STEP = 32  # prompts are padded to a multiple, so that batches share one recorded step
LOOK_EVERY = 16  # steps between questions whether every response has ended
WARM_UP = 3  # steps before recording: kernels are chosen and memory is taken in them
COMPILE_FROM = 50_000_000  # parameters; below, compiling takes longer than it saves


def can_decode_statically(model: PreTrainedModel) -> bool:
    """Whether a step of this model can be recorded.

    Its weights are on one GPU and stay at their places (FSDP moves them), transformers promises a
    step without surprises, and every layer sees all slots.
    """
    layers = getattr(model.config, "layer_types", None) or ["full_attention"]
    in_place = not any(hasattr(module, "unshard") for module in model.modules())
    simple = bool(model._can_compile_fullgraph) and set(layers) == {"full_attention"}
    return model.device.type == "cuda" and in_place and simple


class StaticDecoder:
    """Samples responses for one batch size and one length, as often as it is asked.

    Args:
        model: a causal language model; read anew for every batch, so it may be trained in between.
        rows: B.
        prompt_width: P, slots for the prompt.
        longest: R, the longest response, EOS included.
        dtype: of weights and cache while sampling; another one than the model's makes a copy.
        record: replay one recorded step (CUDA only); False runs the same step from Python.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        rows: int,
        prompt_width: int,
        longest: int,
        *,
        dtype: torch.dtype,
        record: bool,
    ) -> None:
        self.source, self.device = model, model.device
        self.model = model if model.dtype == dtype else copy.deepcopy(model)
        torch.nn.Module.to(self.model, dtype)  # nothing to do for the model itself
        self.shape, self.dtype = (rows, prompt_width, longest), dtype
        self.rows, self.prompt_width, self.longest = self.shape
        slots = prompt_width + longest
        self.cache = StaticCache(config=model.config, max_cache_len=slots)
        place: dict[str, Any] = {"device": self.device}
        self.closed = torch.finfo(dtype).min  # added to the attention score of a slot not yet read
        self.bias = torch.zeros(rows, 1, 1, slots, dtype=dtype, **place)
        self.token = torch.zeros(rows, 1, dtype=torch.long, **place)
        self.position = torch.zeros(rows, 1, dtype=torch.long, **place)
        self.step = torch.zeros(1, dtype=torch.long, **place)  # t of the token to be sampled
        self.noise = torch.zeros(rows, longest, dtype=torch.float64, **place)
        self.ids = torch.zeros(rows, longest, dtype=torch.long, **place)
        self.log_probs = torch.zeros(rows, longest, **place)
        self.ended = torch.zeros(rows, dtype=torch.bool, **place)
        self.lengths = torch.zeros(rows, dtype=torch.long, **place)
        self.eos = self.pad = 0
        self.temperature = 1.0
        self.record = record
        self.graph: torch.cuda.CUDAGraph | None = None
        self.read: Any = self.model  # what a decode step calls; perhaps compiled

    @torch.no_grad()
    def generate(
        self,
        prompts: Prompts,
        *,
        noise: Tensor,
        eos_token_id: int,
        pad_token_id: int,
        temperature: float = 1.0,
    ) -> Responses:
        """Sample one response to each prompt; arguments and result as in `generation.generate`.

        Raises:
            ValueError: the model gives NaN.
        """
        settings = (eos_token_id, pad_token_id, temperature)
        if settings != (self.eos, self.pad, self.temperature):
            self.graph = None  # a recorded step holds these numbers
            self.eos, self.pad, self.temperature = settings
        self.refresh()
        prompts = self.widened(prompts)
        with torch.autocast(self.device.type, enabled=False):
            if self.record and self.graph is None and self.longest > 1:
                self.graph = self.recorded(prompts, noise)
            self.read_prompts(prompts, noise)
            for t in range(1, self.longest):
                if t % LOOK_EVERY == 0 and bool(self.ended.all()):
                    break
                self.graph.replay() if self.graph else self.decode()
        return self.responses()

    def refresh(self) -> None:
        """Take over the weights as they are now, where sampling has a copy of its own."""
        if self.model is not self.source:
            pairs = zip(self.model.parameters(), self.source.parameters(), strict=True)
            for mine, theirs in pairs:
                mine.copy_(theirs)

    def widened(self, prompts: Prompts) -> Prompts:
        """The prompts with more padding on the left, P slots in all."""
        more = self.prompt_width - prompts.prompt_ids.shape[1]
        pad = torch.nn.functional.pad
        ids = pad(prompts.prompt_ids, (more, 0), value=self.pad)
        return Prompts(ids, pad(prompts.prompt_mask, (more, 0), value=False)).to(self.device)

    def read_prompts(self, prompts: Prompts, noise: Tensor) -> None:
        """Forget the last batch, read the prompts in one pass, and sample every A_0."""
        self.cache.reset()
        width, slots = self.prompt_width, self.prompt_width + self.longest
        for tensor in (self.step, self.ended, self.lengths, self.log_probs):
            tensor.zero_()
        self.noise.copy_(noise)
        self.ids.fill_(self.pad)
        attended = torch.zeros(self.rows, slots, dtype=torch.bool, device=self.device)
        attended[:, :width] = prompts.prompt_mask
        self.bias.copy_(self.as_bias(attended)[:, None, None])
        inputs = attention_inputs(prompts.prompt_mask, width)
        self.position.copy_(inputs["position_ids"][:, -1:])
        below = torch.ones(width, slots, dtype=torch.bool, device=self.device).tril()
        # padding attends itself: a row of closed slots alone would be NaN in some kernels
        itself = torch.eye(width, slots, dtype=torch.bool, device=self.device)
        mask = self.as_bias((attended[:, None] & below) | itself)[:, None]
        logits = self.model(
            prompts.prompt_ids,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
            attention_mask=mask,
            position_ids=inputs["position_ids"],
        ).logits
        self.choose(logits[:, -1])

    def as_bias(self, attended: Tensor) -> Tensor:
        """0 where a slot may be attended, a very low number where not."""
        bias = torch.zeros(attended.shape, dtype=self.bias.dtype, device=self.device)
        return bias.masked_fill_(~attended, self.closed)

    def decode(self) -> None:
        """One step: read the token that was sampled last, sample the next. Never asks the CPU."""
        logits = self.read(
            self.token,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
            attention_mask=self.bias,
            position_ids=self.position,
        ).logits
        self.choose(logits[:, -1])

    def choose(self, logits: Tensor) -> None:
        """Sample A_t from logits (B, V), write it down, and make it the next input."""
        log_pi = torch.log_softmax(at_least_float32(logits) / self.temperature, dim=-1)
        noise = self.noise.index_select(1, self.step)[:, 0]
        token = draw(log_pi, noise).masked_fill(self.ended, self.pad)[:, None]
        self.ids.index_copy_(1, self.step, token)
        chosen = log_pi.gather(1, token).to(self.log_probs.dtype)
        self.log_probs.index_copy_(1, self.step, chosen)
        self.lengths += ~self.ended
        self.ended |= token[:, 0] == self.eos
        self.token.copy_(token)
        self.position += 1
        self.bias.index_fill_(3, self.step + self.prompt_width, 0.0)  # the slot of A_t opens
        self.step += 1

    def recorded(self, prompts: Prompts, noise: Tensor) -> torch.cuda.CUDAGraph:
        """One step, recorded; of a large model compiled before, where a compiler is there."""
        size = sum(p.numel() for p in self.model.parameters())
        if size >= COMPILE_FROM and importlib.util.find_spec("triton"):
            self.read = torch.compile(self.model, dynamic=False)
            try:
                return self.recorded_as_is(prompts, noise)
            except Exception as error:
                first_line = (str(error).splitlines() or [type(error).__name__])[0]
                warnings.warn(f"sampling without a compiler: {first_line}", stacklevel=2)
                self.read = self.model
        return self.recorded_as_is(prompts, noise)

    def recorded_as_is(self, prompts: Prompts, noise: Tensor) -> torch.cuda.CUDAGraph:
        """Run some steps to warm up, then record one."""
        self.read_prompts(prompts, noise)
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            for _ in range(min(WARM_UP, self.longest - 1)):
                self.decode()
                self.step.clamp_(max=self.longest - 1)
        torch.cuda.current_stream(self.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.decode()
        return graph

    def responses(self) -> Responses:
        """What was sampled, as wide as the longest response; a copy, since the places are reused.

        Raises:
            ValueError: the model gives NaN.
        """
        width = int(self.lengths.max())
        mask = response_mask_from_lengths(self.lengths, width)
        log_probs = self.log_probs[:, :width].clone()
        if bool(log_probs.isnan().any()):
            raise ValueError(BROKEN.format(type(self.source).__name__))
        return Responses(self.ids[:, :width].clone(), mask, self.ended.clone(), log_probs)
