"""A PPO run as options of OpenRLHF 0.11.2: `python3 -m openrlhf.cli.train_ppo_ray`."""

from decimal import Decimal

from minirlhf.config import PPOConfig
from minirlhf.handover import NO_LIMIT, Job, Line, per_gpu, without_counterpart


def openrlhf(config: PPOConfig, job: Job) -> list[Line]:
    """Every setting of ours, and what it becomes there."""
    return [*_models(job), *_work(config, job), *_steps(config), *_formulas(config)]


def _models(job: Job) -> list[Line]:
    roles = ("actor", "critic", "ref", "reward")
    return [
        Line("Actor", "--actor.model_name_or_path", job.actor),
        Line("Reward model", "--reward.model_name_or_path", job.reward_model),
        Line("score_shift", "--reward.normalize_enable"),  # reads mean and std of config.json
        Line("Critic", "--critic.model_name_or_path", job.reward_model),
        Line("prompts", "--data.prompt_dataset", job.prompts),
        Line("prompts", "--data.input_key", "prompt"),
        Line("out", "--ckpt.output_dir", job.out),
        *(Line("GPUs", f"--{role}.num_gpus_per_node", str(job.gpus)) for role in roles),
        Line("GPUs", "--vllm.num_engines", str(job.gpus)),
        Line("GPUs", "--vllm.gpu_memory_utilization", "0.5"),
        Line("GPUs", "--train.colocate_all"),
        Line("GPUs", "--vllm.enable_sleep"),
        Line("GPUs", "--ds.enable_sleep"),
    ]


def _work(config: PPOConfig, job: Job) -> list[Line]:
    longest = job.prompt_tokens + config.max_response_tokens
    each, offload = str(per_gpu(config, job.gpus)), config.offload
    checkpointing = "--actor.gradient_checkpointing_enable"
    return [
        Line("iterations", "--train.num_episodes", "1"),  # the prompts have a row for each response
        Line("batch_size", "--rollout.batch_size", str(config.batch_size)),
        Line("minibatch_size", "--train.batch_size", str(config.minibatch_size)),
        Line("microbatch_size", "--train.micro_batch_size", each, "theirs is for each GPU"),
        Line("microbatch_size", "--rollout.micro_batch_size", each),
        Line("ppo_epochs", "--train.max_epochs", str(config.ppo_epochs)),
        Line("max_response_tokens", "--rollout.max_new_tokens", str(config.max_response_tokens)),
        Line("max_response_tokens", "--data.max_len", str(longest)),
        Line("temperature", "--rollout.temperature", f"{config.temperature:g}"),
        Line("seed", "--train.seed", str(config.seed), "their random numbers are others"),
        Line("precision", "--ds.param_dtype", "bf16"),
        Line("lora_rank", "--ds.lora.rank", str(config.lora_rank)),
        Line("lora_rank", "--ds.lora.alpha", str(2 * config.lora_rank or 16)),
        Line("gradient_checkpointing", checkpointing if config.gradient_checkpointing else ""),
        Line("offload", "--ref.offload" if offload else ""),
        Line("offload", "--reward.offload" if offload else ""),
    ]


def _steps(config: PPOConfig) -> list[Line]:
    """Optimisers: theirs warm up and decay unless told not to."""
    return [
        line
        for role, rate in (("actor", config.actor_lr), ("critic", config.critic_lr))
        for line in (
            Line(f"{role}_lr", f"--{role}.adam.lr", f"{rate:g}"),
            Line(f"{role}_lr", f"--{role}.lr_scheduler", "constant"),
            Line(f"{role}_lr", f"--{role}.lr_warmup_ratio", "0"),
            Line("grad_clip", f"--{role}.max_norm", f"{config.grad_clip:g}"),
        )
    ]


def _formulas(config: PPOConfig) -> list[Line]:
    limit = NO_LIMIT if config.score_clip is None else config.score_clip
    moved = NO_LIMIT if config.value_clip_range is None else config.value_clip_range
    return [
        Line("kl_coef", "--algo.kl.init_coef", f"{config.kl_coef:g}"),
        Line("kl_estimator", "--algo.kl.estimator", config.kl_estimator, "cut to −10 … 10 there"),
        Line("gamma", "--algo.advantage.gamma", f"{config.gamma:g}"),
        Line("lam", "--algo.advantage.lambd", f"{config.lam:g}"),
        # a negative number in e-notation would be taken for an option
        Line("score_clip", "--reward.clip_range", f"{Decimal(repr(-limit)):f} {limit:g}"),
        Line(
            "missing_eos_penalty",
            remark="they replace or scale the score of a cut response, and cannot subtract from it",
        ),
        Line("clip_range", "--actor.eps_clip", f"{config.clip_range:g}"),
        Line("value_clip_range", "--critic.value_clip", f"{moved:g}"),
        *without_counterpart(config),
    ]
