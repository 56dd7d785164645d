"""What the four roles share: a Hugging Face model, its tokenizer, a device, trained or frozen.

Any `AutoModelForCausalLM` can act and any causal `AutoModelForSequenceClassification` with one
label can score, so every folder that is saved here opens with plain transformers. Weights are read
from safetensors only and no code from a model repository is ever run.

Dropout is never on: every role stays in evaluation mode, at rollout and at update, so that on the
first minibatch the actor that learns is exactly the actor that sampled.
"""

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import (
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from minirlhf.adapter_files import save_adapter
from minirlhf.loading import check_weights, loading_errors, quiet
from minirlhf.lora import about_lora, adapter_parameters, adapter_rank, add_adapter, merged
from minirlhf.processes import here
from minirlhf.special_tokens import add_missing_pad, check_tokenizer


def pick_device(name: str | None = None) -> torch.device:
    """The device to run on: the one named, else the GPU when there is one, else the CPU.

    Of several processes each has its own, which the launcher chose.

    Raises:
        ValueError: the name is unknown, that device is not there, or the launcher chose another.
    """
    own = here().device
    if own is not None:
        if name not in (None, own.type, str(own)):
            raise ValueError(
                f"device {name!r} was asked for, and the launcher gave this process {own}; "
                "leave it out (on CPUs: ACCELERATE_USE_CPU=true before the command)"
            )
        return own
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.zeros(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        first_line = str(error).splitlines()[0]
        raise ValueError(f"device {name!r} cannot be used: {first_line}") from None


class Role(nn.Module):
    """One of the four models of RLHF: a Hugging Face model with its tokenizer.

    Attributes:
        model: the Hugging Face model, in evaluation mode.
        tokenizer: shared by all roles of a run.
        gradient_checkpointing: passes with gradient are computed twice, to save memory; set by
            `minirlhf.checkpointing`.
        shares: whose weights this role reads with, such as "the Actor's trunk"; "" = its own.
    """

    auto_class: Any  # the transformers Auto class that opens this role's folder
    extra_load_options: dict[str, Any] = {}  # noqa: RUF012  (read, never changed)
    gradient_checkpointing: bool = False
    shares: str = ""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__()
        self.model = model.eval()
        self.tokenizer = tokenizer

    @classmethod
    def from_pretrained(
        cls, source: str | Path, *, device: str | torch.device | None = None
    ) -> Self:
        """Load this role from a folder or a Hub name.

        Args:
            source: a folder in Hugging Face format, or the name of a model on the Hub.
            device: "cpu", "cuda", …; None = the GPU when there is one.

        Raises:
            ValueError: there is no such model, a file is damaged, a weight is not finite, or it
                is of the wrong kind.
        """
        target = device if isinstance(device, torch.device) else pick_device(device)
        # plain attention beats SDPA's CPU kernel on short texts, which is what a CPU is used for
        attention = "eager" if target.type == "cpu" else "sdpa"
        with loading_errors(source):
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            model, report = cls.auto_class.from_pretrained(
                source,
                output_loading_info=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                attn_implementation=attention,
                **cls.extra_load_options,
            )
        check_tokenizer(tokenizer, source)
        check_weights(model, report["missing_keys"], source)
        add_missing_pad(model, tokenizer)
        return cls(model.to(target), tokenizer)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def filler(self) -> int:
        """Token id for places that no mask counts: the padding token, or EOS where there is none.

        Masks are made from lengths, so nothing ever reads what stands there.
        """
        pad = self.tokenizer.pad_token_id
        return int(self.tokenizer.eos_token_id if pad is None else pad)

    @property
    def trainable(self) -> bool:
        """True when an optimiser may change this role."""
        return bool(self.trained_parameters())

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that an optimiser may change, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def add_adapter(self, rank: int, *, seed: int = 0) -> Self:
        """Train LoRA matrices of this rank, and a score head, instead of all weights.

        Args:
            rank: r ≥ 1; 0 changes nothing.
            seed: of the matrices' first values.

        Raises:
            ValueError: the package peft is missing, or the role has an adapter already.
        """
        if rank:
            add_adapter(self.model, rank, seed=seed)
        return self

    @property
    def lora_rank(self) -> int:
        """Rank of the adapter; 0 = there is none, and every weight is trained."""
        return adapter_rank(self.model)

    def own_parameters(self) -> dict[str, nn.Parameter]:
        """What this role adds to memory, by name: all, or adapter and head on a shared trunk."""
        return adapter_parameters(self.model) if self.shares else dict(self.named_parameters())

    @property
    def context(self) -> int | None:
        """How many tokens the model reads at most, prompt and response together; None = any."""
        context: int | None = getattr(self.model.config, "max_position_embeddings", None)
        return context

    def freeze(self) -> Self:
        """Never train this role again: no parameter asks for a gradient any more."""
        self.requires_grad_(False)
        for parameter in self.parameters():
            parameter.grad = None
        return self

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode whatever is asked: dropout would make ratios differ from 1."""
        return super().train(False)

    def save(self, folder: str | Path) -> None:
        """Write model (safetensors) and tokenizer, to be opened by any other tool.

        A LoRA adapter is merged into the weights; by itself, as peft knows it, it is in `adapter`.
        """
        adapted = bool(self.lora_rank)
        with quiet():
            (merged(self.model) if adapted else self.model).save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
            if adapted:
                save_adapter(self.model, Path(folder) / "adapter", name_trunk=True)

    def summary(self) -> str:
        """One line: name, own parameters, trained or frozen, device, bytes, what is shared."""
        parameters = list(self.own_parameters().values())
        count = sum(p.numel() for p in parameters)
        size = sum(p.numel() * p.element_size() for p in parameters)
        state = "trained" if self.trainable else "frozen"
        shares = f"   shares {self.shares}" if self.shares else ""
        return (
            f"{type(self).__name__:<12}{count / 1e6:10.3f} M parameters   {state:<8}"
            f"{self.device!s:<8}{size / 2**20:10.1f} MiB{about_lora(self.model)}{shares}"
        )


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Matrix products in bfloat16 where the settings' precision asks for it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def check_same_vocabulary(*roles: Role) -> None:
    """Refuse roles that read token ids differently.

    Raises:
        ValueError: names the two roles whose vocabularies differ.
    """
    first, *others = roles
    for other in others:
        if other.tokenizer.get_vocab() != first.tokenizer.get_vocab():
            raise ValueError(
                f"{type(first).__name__} and {type(other).__name__} have different vocabularies; "
                "all four models must share one tokenizer"
            )


def attention_inputs(
    prompt_mask: Tensor, width: int, *, context: int | None = None
) -> dict[str, Tensor]:
    """Attention mask and position ids of `width` slots that begin with a left-padded prompt.

    Slots after the prompt are all attended: in a causal model a response's right padding comes
    after every counted token and cannot touch it.

    Args:
        prompt_mask: (B, P) bool, False on left padding.
        width: slots of the input, P or more.
        context: positions that the model has; None = any number. Only right padding can lie beyond
            it, where the longest prompt of a batch and the longest response are of two rows.

    Returns:
        attention_mask and position_ids, (B, width) int each; the first real token of each row
        has position 0.
    """
    rows, prompt_width = prompt_mask.shape
    attended = prompt_mask.new_ones(rows, width)
    attended[:, :prompt_width] = prompt_mask
    last = None if context is None else context - 1
    position_ids = (attended.cumsum(dim=1) - 1).clamp(min=0, max=last)
    return {"attention_mask": attended.long(), "position_ids": position_ids}
