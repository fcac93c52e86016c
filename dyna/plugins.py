"""Parts by name: `resolve("policies", "llm")`, or `resolve("policies", "mylab.agents:Cautious")`.

A name is an alias for `package.module:Name`. The built-in aliases are the table below, plain
strings, so that listing them imports nothing; a package publishes more as entry points. Nothing
registers itself at import time, so a remote worker resolves exactly what the driver did.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any, Protocol

from dyna.config import RunConfig
from dyna.nearest import did_you_mean

KINDS = (
    "policies",
    "world_models",
    "environments",
    "algorithms",
    "replay_buffers",
    "regularizers",
    "engines",
    "parsers",
)

BUILT_IN: dict[str, dict[str, str]] = {
    "policies": {
        "llm": "agents.llm:LLMPolicy",
        "random": "agents.scripted:RandomPolicy",
        "expert": "agents.scripted:ExpertPolicy",
        "explorer": "agents.scripted:ExplorerPolicy",
        "noisy_expert": "agents.scripted:NoisyExpertPolicy",
        "invalid": "agents.invalid:InvalidPolicy",
        "tabular": "agents.tabular:TabularPolicy",
        "openai": "agents.chat:ChatPolicy",
    },
    "world_models": {
        "llm": "worldmodels.llm:LLMWorldModel",
        "tabular": "worldmodels.tabular:TabularWorldModel",
        "oracle": "worldmodels.oracle:OracleWorldModel",
        "openai": "worldmodels.chat:ChatWorldModel",
    },
    "environments": {
        "household": "dyna.envs.household:HouseholdWorld",
        "corridor": "dyna.envs.corridor:CorridorWorld",
        "alfworld": "dyna.envs.alfworld:AlfworldWorld",
        "scienceworld": "dyna.envs.scienceworld:ScienceWorld",
        "textworld": "dyna.envs.textworld:TextWorldWorld",
        "textworld_express": "dyna.envs.textworld_express:TextWorldExpressWorld",
        "webshop": "dyna.envs.webshop:WebShopWorld",
        "toolbench": "dyna.envs.toolbench:ToolBenchWorld",
        "toolbench_mirror": "dyna.envs.toolbench:ToolBenchMirrorWorld",
        "gymnasium": "dyna.envs.gymnasium:GymnasiumWorld",
        "openenv": "dyna.envs.openenv:OpenEnvWorld",
        "stream": "dyna.envs.stream:StreamWorld",
    },
    "algorithms": {
        "filtered_bc": "agents.algorithms.filtered_bc:FilteredBC",
        "reinforce": "agents.algorithms.reinforce:Reinforce",
        "grpo": "agents.algorithms.grpo:GRPO",
        "ppo_clip": "agents.algorithms.ppo_clip:PPOClip",
    },
    "replay_buffers": {
        "fifo": "dyna.replay:FifoBuffer",
        "reservoir": "dyna.replay:ReservoirBuffer",
        "task_balanced": "dyna.replay:TaskBalancedBuffer",
        "experience_balanced": "dyna.replay:ExperienceBalancedBuffer",
        "prioritized": "dyna.replay:PrioritizedBuffer",
        "surprise": "dyna.replay:SurpriseBuffer",
        "dual": "dyna.replay:DualBuffer",
        "gss": "dyna.replay:GradientBuffer",
        "der": "dyna.replay:DarkExperienceBuffer",
    },
    "regularizers": {
        "lwf": "worldmodels.regularizers.lwf:LearningWithoutForgetting",
        "l2": "worldmodels.regularizers.l2:L2Anchor",
        "ewc": "worldmodels.regularizers.ewc:OnlineEWC",
        "averaging": "worldmodels.regularizers.averaging:WeightAveraging",
        "lora_per_experience": "worldmodels.regularizers.lora_per_experience:LoRAPerExperience",
    },
    "engines": {
        "transformers": "dyna.engines.transformers:TransformersEngine",
        "scripted": "dyna.engines.scripted:ScriptedEngine",
        "openai": "dyna.engines.openai:OpenAIEngine",
        "vllm": "dyna.engines.vllm.engine:VLLMEngine",
    },
    "parsers": {
        "plain": "agents.parsers:parse_plain",
        "react": "agents.parsers:parse_react",
        "toolbench": "agents.parsers:parse_toolbench",
    },
}


class PluginError(ValueError):
    """A name that leads to no part, or a part that cannot be made as asked."""


class Named(Protocol):
    """What `build` reads of a config section: `PluginConfig`, `WorldConfig`, `PolicyConfig`, ..."""

    @property
    def name(self) -> str: ...

    @property
    def params(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    kind: str
    name: str
    target: str
    """`package.module:Name`."""
    origin: str
    """`built in`, or the distribution that publishes it."""


def list_plugins() -> list[Plugin]:
    """Everything that has a name here, kind by kind. Imports none of it."""
    return [plugin for kind in KINDS for plugin in _table(kind).values()]


def resolve(kind: str, name: str) -> Any:
    """The class or function behind an alias or a `package.module:Name`.

    Raises `PluginError` for an unknown kind, name, module or attribute; an import that fails
    inside an existing module propagates as it is.
    """
    target = check_name(kind, name)
    module_name, _, attribute = target.partition(":")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise PluginError(
            f"{_label(kind, name)}: there is no module `{error.name}`; is its package installed"
            " in this environment, or its folder on PYTHONPATH?"
        ) from None
    found: Any = module
    for part in attribute.split("."):
        if part not in dir(found):
            near = did_you_mean(part, [entry for entry in dir(found) if not entry.startswith("_")])
            raise PluginError(f"{_label(kind, name)}: `{module_name}` has no `{part}`{near}")
        found = getattr(found, part)
    return found


def build(kind: str, config: Named, **offered: Any) -> Any:
    """Make a part: `params` of the config, and of what is `offered` all that its signature names.

    A part takes what it needs by name (`engine`, `renderer`, `seed`, ...) and need not mention the
    rest; one with `**kwargs` gets everything. Params that it does not know raise `PluginError`.
    """
    label = _label(kind, config.name)
    factory: Callable[..., Any] = resolve(kind, config.name)
    parameters = inspect.signature(factory).parameters.values()
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    named = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    unknown = [] if takes_all else [key for key in config.params if key not in named]
    if unknown:
        free = [name for name in named if name not in offered]
        hint = did_you_mean(unknown[0], free) or f"; it takes: {', '.join(free) or 'none'}"
        raise PluginError(f"{label} has no parameter `{unknown[0]}`{hint}")
    given = {key: value for key, value in offered.items() if takes_all or key in named}
    given |= config.params
    required = [p.name for p in parameters if p.default is p.empty and p.name in named]
    missing = [name for name in required if name not in given]
    if missing:
        raise PluginError(
            f"{label} needs `{missing[0]}`: set it in its params"
            f" (offered to every part of this kind: {', '.join(offered) or 'nothing'})"
        )
    return factory(**given)


def check_name(kind: str, name: str) -> str:
    """The `package.module:Name` that a name stands for; raises `PluginError`. Imports no part."""
    if kind not in KINDS:
        raise PluginError(f"unknown kind of plug-in `{kind}`; kinds: {', '.join(KINDS)}")
    if ":" in name:
        module, _, attribute = name.partition(":")
        parts = [*module.split("."), *attribute.split(".")]
        if not all(part.isidentifier() for part in parts):
            raise PluginError(f"{_label(kind, name)} must read `package.module:Name`")
        if find_spec(parts[0]) is None:
            raise PluginError(f"{_label(kind, name)}: there is no package `{parts[0]}`")
        return name
    table = _table(kind)
    if name not in table:
        hint = did_you_mean(name, table) or f"; known: {', '.join(table)}, or `package.module:Name`"
        raise PluginError(f"{_label(kind, name)} is unknown{hint}")
    return table[name].target


def check_config(config: RunConfig) -> None:
    """Raise `PluginError` if any name in the config stands for nothing."""
    check_name("environments", config.world.name)
    check_name("policies", config.policy.name)
    check_name("parsers", config.policy.parser)
    check_name("algorithms", config.policy_learner.algorithm.name)
    check_name("world_models", config.world_model.name)
    check_name("engines", config.engine.name)
    check_name("replay_buffers", config.replay.name)
    for regularizer in config.world_model_learner.regularizers:
        check_name("regularizers", regularizer.name)
    check_name("policies", config.real.expert.name)
    check_name("policies", config.real.exploration.name)


def _table(kind: str) -> dict[str, Plugin]:
    plugins = [
        Plugin(kind=kind, name=name, target=target, origin="built in")
        for name, target in BUILT_IN[kind].items()
    ]
    for entry in entry_points(group=f"dyna.{kind}"):
        origin = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown"
        plugins.append(Plugin(kind=kind, name=entry.name, target=entry.value, origin=origin))
    for name, count in Counter(plugin.name for plugin in plugins).items():
        if count > 1:
            owners = [f"{p.origin} ({p.target})" for p in plugins if p.name == name]
            raise PluginError(
                f"{_label(kind, name)} is published {count} times: {', '.join(owners)};"
                " uninstall one, or name the part as `package.module:Name`"
            )
    return {plugin.name: plugin for plugin in plugins}


def _label(kind: str, name: str) -> str:
    return f"{kind} `{name}`"
