"""The two tokens that a tokenizer must have: one that ends a response, and one that is no text."""

from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

PAD_TOKEN = "<pad>"


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, source: str | Path) -> None:
    """Refuse a tokenizer that cannot say where a response ends.

    Raises:
        ValueError: it has no EOS token.
    """
    if tokenizer.eos_token_id is None:
        raise ValueError(
            f"the tokenizer of {source} has no EOS token, so no response could ever end; "
            "set eos_token in its tokenizer_config.json"
        )


def add_missing_pad(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Give the tokenizer a padding token that is not EOS, and the model a row for it."""
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        tokenizer.add_special_tokens({"pad_token": PAD_TOKEN})
        if len(tokenizer) > model.config.vocab_size:
            model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.config.pad_token_id = tokenizer.pad_token_id
    model.config.eos_token_id = tokenizer.eos_token_id
