"""What the widgets that look at one response of a rollout share."""

from typing import Any

import traitlets
from transformers import PreTrainedTokenizerBase

from minirlhf.batch import Rollout
from minirlhf.config import OnlineConfig, PPOConfig
from minirlhf.widgets.live import LiveWidget
from minirlhf.widgets.token_rows import Extras, one_response, response_data


class ResponseWidget(LiveWidget):
    """A widget over a copy of one response, with settings that can be put back.

    Args:
        rollout: from `collect_rollout`, or a step record.
        tokenizer: turns ids into words.
        config: settings to start with; None = `PPOConfig()`.
        row: which response.
        language: of the words around the numbers.
        **traits: any of the widget's attributes, to start with.

    Raises:
        ValueError: there is no such row.
    """

    _response: Any = traitlets.Dict().tag(sync=True)
    _start: Any = traitlets.Dict().tag(sync=True)  # traits that the reset button puts back

    def __init__(
        self,
        rollout: Rollout,
        tokenizer: PreTrainedTokenizerBase,
        *,
        config: OnlineConfig | None = None,
        row: int = 0,
        language: str = "en",
        **traits: Any,
    ) -> None:
        self._one, self._tokenizer = one_response(rollout, row), tokenizer
        start = self._settings(config or PPOConfig())
        sent = {"_start": start, "_response": self._data()}
        super().__init__(language=language, **{**start, **sent, **traits})

    def _settings(self, config: OnlineConfig) -> dict[str, Any]:
        """The traits that a config decides."""
        raise NotImplementedError

    def _data(self) -> dict[str, Any]:
        """What the browser needs of the response, as JSON values."""
        return response_data(self._one, 0, self._tokenizer, Extras(None, None, None))
