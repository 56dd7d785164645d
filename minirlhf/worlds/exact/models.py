"""Models that act in the exact world, and their tables: what each says at every state.

The actor is a GPT-2 shape like the café's, only smaller; any causal language model with these
twelve tokens will do.
"""

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from minirlhf.actor import Actor
from minirlhf.backbone import Role
from minirlhf.batch import Prompts
from minirlhf.config import OnlineConfig, SFTConfig
from minirlhf.critic import Critic
from minirlhf.data import encode_prompts, pad_prompts
from minirlhf.noise import HEAD_INIT, key
from minirlhf.reference import Reference
from minirlhf.reward_model import RewardModel
from minirlhf.sft_trainer import SFTTrainer
from minirlhf.worlds.exact.tree import WORLD, Tree
from minirlhf.worlds.exact.truth import Truth, exact_truth
from minirlhf.worlds.exact.words import PROMPT, STEPS, build_tokenizer, sft_rows

ROWS_AT_A_TIME = 20_000


def new_actor(*, seed: int = 0, width: int = 32, layers: int = 1) -> Actor:
    """A GPT-2 shape of 13,344 parameters with random weights, which knows no word yet."""
    tokenizer = build_tokenizer()
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=1 + STEPS,
        n_embd=width,
        n_layer=layers,
        n_head=2,
        initializer_range=0.1,
        activation_function="gelu_pytorch_tanh",
        bos_token_id=WORLD.eos,
        eos_token_id=WORLD.eos,
    )
    config._attn_implementation = "eager"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(seed, HEAD_INIT) % 2**63)
        return Actor(GPT2LMHeadModel(config), tokenizer)


def sft_trainer(*, seed: int = 0) -> SFTTrainer:
    """Stage 1 in this world: about a second, and the actor writes what its people write."""
    config = SFTConfig(steps=150, batch_size=64, lr=1e-2, seed=seed)
    return SFTTrainer(new_actor(seed=seed), sft_rows(), config)


def sft_actor(*, seed: int = 0) -> Actor:
    """The actor after stage 1."""
    trainer = sft_trainer(seed=seed)
    for _ in trainer:
        pass
    return trainer.actor


def policy_table(role: Actor | Reference, tree: Tree = WORLD, temperature: float = 1.0) -> Tensor:
    """(S, V) nats: log π(a|s) at every state, from one batched pass, with gradient."""
    ids = _leaves(tree, role)
    actor = role if isinstance(role, Actor) else Actor(role.model, role.tokenizer)
    logits = actor.logits(_prompt(actor, len(ids)), ids)
    return torch.log_softmax(tree.at_each_state(logits) / temperature, dim=-1)


def value_table(critic: Critic, tree: Tree = WORLD) -> Tensor:
    """(S,) reward units: what the critic says at every state, with gradient."""
    ids = _leaves(tree, critic)
    return tree.at_each_state(critic.values(_prompt(critic, len(ids)), ids))


@torch.no_grad()
def score_table(reward_model: RewardModel, tree: Tree = WORLD) -> Tensor:
    """(S, V) reward units: the score of every answer; 0 where the answer goes on."""
    ids, mask = (x.to(reward_model.device) for x in tree.answers())
    batches = zip(ids.split(ROWS_AT_A_TIME), mask.split(ROWS_AT_A_TIME), strict=True)
    scores = [reward_model.scores(_prompt(reward_model, len(y)), y, m) for y, m in batches]
    table = torch.zeros(tree.n_states, tree.n_tokens, dtype=scores[0].dtype, device=ids.device)
    table[tree.is_last.to(ids.device)] = torch.cat(scores)
    return table


@torch.no_grad()
def truth_of(
    actor: Actor,
    reference: Actor | Reference,
    scores: Tensor,
    config: OnlineConfig,
    tree: Tree = WORLD,
) -> Truth:
    """What is true of an actor under a run's settings, in float64 and without gradient.

    Args:
        actor: π.
        reference: π_ref.
        scores: (S, V) reward units, without penalty; `gold_table()` or `score_table(...)`.
        config: β, γ, estimator, penalty, clip and temperature.
        tree: which answers there are.
    """
    return exact_truth(
        policy_table(actor, tree, config.temperature).double(),
        policy_table(reference, tree, config.temperature).double(),
        scores.double(),
        tree,
        kl_coef=config.kl_coef,
        gamma=config.gamma,
        kl_estimator=config.kl_estimator,
        missing_eos_penalty=config.missing_eos_penalty,
        score_clip=config.score_clip,
    )


class KnownReward(RewardModel):
    """A reward model whose score of every answer is looked up: gold itself, for instance.

    Its trunk is the actor's and its head is zero, which gives a Critic made from it a fair start;
    its own weights say nothing about the scores.
    """

    def __init__(self, reward_model: RewardModel, table: Tensor, tree: Tree) -> None:
        super().__init__(reward_model.model, reward_model.tokenizer)
        self.tree = tree
        precision = torch.promote_types(next(self.parameters()).dtype, torch.float32)
        self.register_buffer("table", table.to(precision))

    @classmethod
    def from_table(cls, actor: Actor, table: Tensor, tree: Tree = WORLD) -> "KnownReward":
        """Look scores up in a table (S, V), in the world and with the trunk of this actor."""
        reward_model = RewardModel.from_actor(actor)
        torch.nn.init.zeros_(reward_model.model.score.weight)
        return cls(reward_model, table, tree)

    def scores(self, prompts: Prompts, response_ids: Tensor, response_mask: Tensor) -> Tensor:
        """(B,) reward units: the table at each response's last counted token."""
        states = self.tree.states_of(response_ids, response_mask)
        last = (response_mask.sum(dim=1) - 1).clamp(min=0)[:, None]
        table = self.get_buffer("table")
        return table[states.gather(1, last)[:, 0], response_ids.gather(1, last)[:, 0]]


def _leaves(tree: Tree, role: Role) -> Tensor:
    """(leaves, steps) int: every longest prefix, and one more place that no model reads."""
    if len(role.tokenizer) != tree.n_tokens:
        raise ValueError(f"wanted a model of {tree.n_tokens} tokens, got {len(role.tokenizer)}")
    leaves = tree.leaves()
    return torch.cat([leaves, torch.zeros_like(leaves[:, :1])], dim=1).to(role.device)


def _prompt(role: Role, rows: int) -> Prompts:
    """The world's one prompt, `rows` times."""
    one = pad_prompts(encode_prompts(role.tokenizer, [PROMPT]), role.filler).to(role.device)
    return Prompts(one.prompt_ids.expand(rows, -1), one.prompt_mask.expand(rows, -1))
