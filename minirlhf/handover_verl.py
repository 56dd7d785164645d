"""A PPO run as overrides of verl 0.9.1: `python3 -m verl.trainer.main_ppo`."""

from minirlhf.config import PPOConfig
from minirlhf.handover import NO_LIMIT, Job, Line, per_gpu, without_counterpart

ACTOR, ROLLOUT, REWARD = (
    "actor_rollout_ref.actor",
    "actor_rollout_ref.rollout",
    "reward.reward_model",
)
ESTIMATORS = {"k1": "kl", "k2": "mse", "k3": "low_var_kl"}


def verl(config: PPOConfig, job: Job) -> list[Line]:
    """Every setting of ours, and what it becomes there."""
    return [
        *_models(job),
        *_work(config, job),
        *_memory(config, job),
        *_steps(config),
        *_formulas(config),
    ]


def _models(job: Job) -> list[Line]:
    return [
        Line("Actor", "actor_rollout_ref.model.path", job.actor),
        Line("Reward model", f"{REWARD}.enable", "True"),
        Line(
            "Reward model",
            f"{REWARD}.model_path",
            job.reward_model,
            "Actor and Reward model are asked through a chat template: the tokenizers need one",
        ),
        Line("Reward model", f"{REWARD}.rollout.name", "vllm"),
        Line("Reward model", f"{REWARD}.rollout.tensor_model_parallel_size", "1"),
        Line("score_shift", remark="the score_shift of config.json is not subtracted there"),
        Line("Critic", "critic.model.path", job.reward_model),
        Line("prompts", "data.train_files", job.prompts),
        Line("prompts", "data.val_files", job.prompts),
        Line("prompts", "data.max_prompt_length", str(job.prompt_tokens)),
        Line("out", "trainer.default_local_dir", job.out),
        Line("GPUs", "trainer.n_gpus_per_node", str(job.gpus)),
        Line("GPUs", "trainer.nnodes", "1"),
        Line("GPUs", f"{ROLLOUT}.name", "vllm"),
        Line("GPUs", f"{ROLLOUT}.tensor_model_parallel_size", "1"),
    ]


def _work(config: PPOConfig, job: Job) -> list[Line]:
    return [
        Line("iterations", "trainer.total_training_steps", str(config.iterations)),
        Line("iterations", "trainer.save_freq", str(config.iterations)),
        Line("batch_size", "data.train_batch_size", str(config.batch_size)),
        Line("minibatch_size", f"{ACTOR}.ppo_mini_batch_size", str(config.minibatch_size)),
        Line("ppo_epochs", f"{ACTOR}.ppo_epochs", str(config.ppo_epochs)),
        Line("max_response_tokens", "data.max_response_length", str(config.max_response_tokens)),
        Line("temperature", f"{ROLLOUT}.temperature", f"{config.temperature:g}"),
        Line("seed", "data.seed", str(config.seed), "their random numbers are others"),
        Line("precision", f"{ROLLOUT}.dtype", "bfloat16"),
    ]


def _memory(config: PPOConfig, job: Job) -> list[Line]:
    each, rank = str(per_gpu(config, job.gpus)), config.lora_rank
    passes = (
        f"{ACTOR}.ppo_micro_batch_size_per_gpu",
        "critic.ppo_micro_batch_size_per_gpu",
        f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu",
        "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu",
    )
    again = str(config.gradient_checkpointing)
    return [
        *(Line("microbatch_size", name, each, "theirs is for each GPU") for name in passes),
        *(
            line
            for model in ("actor_rollout_ref.model", "critic.model")
            for line in (
                Line("lora_rank", f"{model}.lora_rank", str(rank)),
                Line("lora_rank", f"{model}.lora_alpha", str(2 * rank or 16)),
                Line(
                    "gradient_checkpointing",
                    f"{model}.enable_gradient_checkpointing",
                    again,
                ),
            )
        ),
        Line("offload", "actor_rollout_ref.ref.fsdp_config.param_offload", str(config.offload)),
    ]


def _steps(config: PPOConfig) -> list[Line]:
    return [
        line
        for name, where, rate in (
            ("actor_lr", ACTOR, config.actor_lr),
            ("critic_lr", "critic", config.critic_lr),
        )
        for line in (
            Line(name, f"{where}.optim.lr", f"{rate:g}"),
            Line(name, f"{where}.optim.betas", "[0.9,0.95]"),
            Line(name, f"{where}.optim.weight_decay", "0"),
            Line("grad_clip", f"{where}.optim.clip_grad", f"{config.grad_clip:g}"),
        )
    ]


def _formulas(config: PPOConfig) -> list[Line]:
    moved = NO_LIMIT if config.value_clip_range is None else config.value_clip_range
    clips = ("clip_ratio", "clip_ratio_low", "clip_ratio_high")
    return [
        Line("kl_coef", "algorithm.use_kl_in_reward", "True"),
        Line("kl_coef", "algorithm.kl_ctrl.kl_coef", f"{config.kl_coef:g}"),
        Line("kl_estimator", "algorithm.kl_penalty", ESTIMATORS[config.kl_estimator]),
        Line("gamma", "algorithm.gamma", f"{config.gamma:g}"),
        Line("lam", "algorithm.lam", f"{config.lam:g}"),
        Line("lam", "algorithm.adv_estimator", "gae"),
        Line("score_clip", remark="scores are not clipped there"),
        Line("missing_eos_penalty", remark="a response that was cut costs nothing there"),
        *(Line("clip_range", f"{ACTOR}.{clip}", f"{config.clip_range:g}") for clip in clips),
        Line("clip_range", f"{ACTOR}.clip_ratio_c", f"{NO_LIMIT:g}"),  # no second clip
        Line("value_clip_range", "critic.cliprange_value", f"{moved:g}"),
        *without_counterpart(config),
    ]
