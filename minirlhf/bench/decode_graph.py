"""Writing R tokens with one captured step: the floor's way on a GPU.

A decode step is some hundred small kernels, and starting each of them from Python takes longer than
its work. A CUDA graph records the step once and starts it with a single call. For that nothing in
the step may change but the contents of tensors: the slot that is written is a tensor, the cache
always has all slots, and the token is drawn on the device.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from minirlhf.bench.decode import Texts, draw, prepare
from minirlhf.bench.plain_model import PlainModel


class DecodeGraph:
    """Memory and one step for texts of a given size; captured on a GPU, plain calls elsewhere.

    Args:
        model: the actor; its matrices are read anew for each batch.
        rows: B.
        prompt: P slots.
        response: R tokens.
        temperature: T > 0.
        dtype: of the matrices, such as bfloat16 under autocast.

    Attributes:
        captured: whether a CUDA graph runs the steps.
        refused: why not, where one was tried.
    """

    def __init__(
        self,
        model: PlainModel,
        *,
        rows: int,
        prompt: int,
        response: int,
        temperature: float,
        dtype: torch.dtype,
    ) -> None:
        self.source, self.model = model, model.twin(dtype)
        self.prompt, self.slots, self.temperature = prompt, prompt + response, temperature
        device = model.tokens.device
        self.cache = self.model.new_fixed_cache(rows, self.slots, dtype)
        mask = torch.ones(rows, prompt, dtype=torch.bool, device=device)
        self.texts = prepare(mask.long(), mask, response, model.tokens.dtype)
        self.noise = torch.zeros(rows, self.slots, dtype=torch.float64, device=device)
        self.slot = torch.zeros(1, dtype=torch.long, device=device)  # read next
        self.graph: torch.cuda.CUDAGraph | None = None
        self.captured, self.refused = False, ""

    def write(self, prompt_ids: Tensor, prompt_mask: Tensor, noise: Tensor) -> Texts:
        """Sample R tokens after each prompt.

        Args:
            prompt_ids: (B, P) int, left-padded.
            prompt_mask: (B, P) bool.
            noise: (B, R) in [0, 1); decides the tokens.

        Returns:
            Copies, which the next call does not change.
        """
        # a graph must not hold casts that autocast keeps for a while and then frees
        bfloat16 = self.model.head.dtype == torch.bfloat16
        kind = self.texts.ids.device.type
        with (
            torch.no_grad(),
            torch.autocast(kind, torch.bfloat16, enabled=bfloat16, cache_enabled=False),
        ):
            self.begin(prompt_ids, prompt_mask, noise)
            steps = self.slots - self.prompt - 1
            if steps and self.texts.ids.is_cuda and self.graph is None and not self.refused:
                self.capture()
            for _ in range(steps):
                if self.graph is None:
                    self.step()
                else:
                    self.graph.replay()
        return Texts(*(tensor.clone() for tensor in self.texts))

    def begin(self, prompt_ids: Tensor, prompt_mask: Tensor, noise: Tensor) -> None:
        """Take over weights and texts, read the prompts and draw the first token."""
        response = self.slots - self.prompt
        self.model.refresh(self.source)
        new = prepare(prompt_ids, prompt_mask, response, self.texts.bias.dtype)
        for tensor, value in zip(self.texts, new, strict=True):
            tensor.copy_(value)
        self.noise.copy_(F.pad(noise.double(), (self.prompt, 0)))
        self.read(torch.arange(self.prompt, device=self.texts.ids.device))
        self.slot.fill_(self.prompt)

    def step(self) -> None:
        """Read the newest token, draw the next one, move on."""
        self.read(self.slot)
        self.slot.add_(1)

    def read(self, slots: Tensor) -> None:
        """Read these slots, (t,), and draw the token of the slot behind the last of them."""
        self.cache.slots = slots
        ids, positions, bias = self.texts
        hidden = self.model.hidden_states(
            ids.index_select(1, slots),
            positions.index_select(1, slots),
            bias.index_select(2, slots),
            self.cache,
        )
        after = slots[-1:] + 1
        logits = self.model.read(hidden[:, -1:])
        token = draw(logits, self.noise.index_select(1, after), self.temperature)
        ids.index_copy_(1, after, token[:, None])

    def capture(self) -> None:
        """Record `step`; where that fails, say why in `refused` and go on without.

        Warm-up steps and the recording move the slot and write a token; both are put back.
        """
        before = self.texts.ids.clone()
        try:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(2):  # libraries take their work space on first use
                    self.slot.fill_(self.prompt)
                    self.step()
            torch.cuda.current_stream().wait_stream(side)
            self.slot.fill_(self.prompt)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self.step()
            self.graph, self.captured = graph, True
        except RuntimeError as error:
            torch.cuda.synchronize()
            self.refused = (str(error).splitlines() or ["unknown"])[0]
        self.texts.ids.copy_(before)
        self.slot.fill_(self.prompt)
