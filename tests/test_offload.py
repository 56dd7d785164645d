"""Offload: frozen roles are where they are needed while they read, and wait elsewhere.

A machine without a GPU has one device after all that PyTorch can tell from "cpu" and compute on:
"cpu:0". `.to` it is a real copy.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from tiny_models import four_roles, four_trainer, ragged, same_bits, weights

from minirlhf import Reference, RewardModel
from minirlhf.backbone import Role
from minirlhf.evaluation import evaluate
from minirlhf.offload import visiting, wait_on_cpu

ELSEWHERE = torch.device("cpu", 0)


def places(role: Role) -> list[int]:
    return [tensor.data_ptr() for tensor in (*role.parameters(), *role.buffers())]


@pytest.mark.parametrize("shape", ["gpt2", "llama"])  # Llama has a buffer of its own
def test_a_visitor_is_copied_reads_the_same_and_goes_back(shape: str) -> None:
    four, (x, y, mask) = four_roles(shape), ragged()
    for role in (four.reference, four.reward_model.freeze()):
        before, wanted = places(role), weights(role)
        with visiting(role, ELSEWHERE):
            assert not set(places(role)) & set(before)
            assert same_bits(weights(role), wanted)
            inside = role.log_probs(x, y) if role is four.reference else role.scores(x, y, mask)
        assert places(role) == before
        again = role.log_probs(x, y) if role is four.reference else role.scores(x, y, mask)
        assert torch.equal(inside, again)


def test_one_that_is_there_already_stays() -> None:
    reference = four_roles().reference
    before = places(reference)
    with visiting(reference, torch.device("cpu")):
        assert places(reference) == before


def test_an_error_while_reading_brings_it_back_too() -> None:
    reference = four_roles().reference
    before = places(reference)
    with pytest.raises(ZeroDivisionError), visiting(reference, ELSEWHERE):
        raise ZeroDivisionError
    assert places(reference) == before


def test_waiting_moves_what_is_not_shared_and_on_a_cpu_nothing() -> None:
    reference = four_roles().reference
    before = places(reference)
    wait_on_cpu(reference)
    assert places(reference) == before

    class OnGPU(SimpleNamespace):
        """As much of a tensor on a GPU as is asked for."""

        device = torch.device("cuda", 0)

        @property
        def as_cpu(self) -> torch.Tensor:
            return torch.zeros(2)

    far = [OnGPU(data=SimpleNamespace(cpu=lambda: torch.ones(2))) for _ in range(3)]
    role = SimpleNamespace(parameters=lambda: far[:2], buffers=lambda: far[2:])
    actor = SimpleNamespace(parameters=lambda: [far[0]], buffers=list)
    shared = far[0].data
    wait_on_cpu(role, beside=[actor])
    assert far[0].data is shared  # with LoRA the Reference reads with the Actor's weights
    assert torch.equal(far[1].data, torch.ones(2)) and torch.equal(far[2].data, torch.ones(2))


def test_a_run_with_offload_is_the_same_and_only_readers_are_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = four_trainer(four_roles())
    wanted = [record.metrics for record in plain]
    told, visits = [], []

    @contextmanager
    def fetch(role: Role, device: torch.device) -> Iterator[None]:
        before = places(role)
        visits.append((type(role), device))
        with visiting(role, ELSEWHERE):
            assert places(role) != before
            yield

    for module in ("rollout", "evaluation"):
        monkeypatch.setattr(f"minirlhf.{module}.visiting", fetch)
    monkeypatch.setattr(
        "minirlhf.online_trainer.wait_on_cpu",
        lambda role, *, beside: told.append((role, beside)),
    )
    four = four_roles()
    trainer = four_trainer(four, offload=True)
    assert told == [
        (four.reference, [four.actor, four.critic]), (four.reward_model, [four.actor, four.critic])
    ]  # fmt: skip
    for record, right in zip(trainer, wanted, strict=True):
        assert {**record.metrics, "seconds": 0} == {**right, "seconds": 0}
    assert visits == [(Reference, torch.device("cpu")), (RewardModel, torch.device("cpu"))] * 2
    assert same_bits(weights(*plain.roles.values()), weights(*trainer.roles.values()))
    visits.clear()
    evaluate(four.actor, four.reference, four.reward_model, ["the :"], max_response_tokens=3)
    assert [role for role, _ in visits] == [Reference, RewardModel]


def test_without_offload_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minirlhf.online_trainer.wait_on_cpu", lambda *_, **__: 1 / 0)
    four_trainer(four_roles())
