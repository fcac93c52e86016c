"""The config tree: frozen dataclasses, parsed once, saved with every run.

YAML and `key=value` overrides enter through `dyna.configuring.load` and nowhere else. A name that
can be plugged in is a `PluginConfig`: an alias such as `household`, or
`package.module:Name`, with the parameters that its author chose.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dyna.sections.continual import (
    AlarmConfig,
    AlarmScope,
    Boundaries,
    DriftConfig,
    DriftTest,
    ExperienceConfig,
    RehearsalConfig,
    StreamConfig,
)
from dyna.sections.learning import (
    GateBurden,
    GateConfig,
    GateTest,
    ImaginationConfig,
    OptimizerConfig,
    PolicyLearnerConfig,
    ReplayConfig,
    WorldModelLearnerConfig,
)
from dyna.sections.models import (
    ActionMode,
    EngineConfig,
    LoRAConfig,
    ModelConfig,
    PolicyConfig,
    WorldModelConfig,
)
from dyna.sections.running import (
    Backend,
    EvaluationConfig,
    RuntimeConfig,
    Sharding,
    TrackingConfig,
)
from dyna.sections.worlds import (
    Isolation,
    PluginConfig,
    RealConfig,
    WorkerConfig,
    WorldConfig,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    name: str = "household"
    seed: int = 0
    """Everything random in the run follows from it."""
    rounds: int = 6
    """Turns of the Dyna loop. In a stream each experience has a number of its own."""
    output: str = "runs"
    """Folder under which the run makes its own."""
    max_real_steps: int = 0
    """The run ends when this many real steps are spent; 0 means no such limit."""
    max_spend: float = 0.0
    """The run ends before calls of priced model servers cost more; 0 means no such limit."""
    world: WorldConfig = field(default_factory=WorldConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    policy_learner: PolicyLearnerConfig = field(default_factory=PolicyLearnerConfig)
    world_model: WorldModelConfig = field(default_factory=WorldModelConfig)
    world_model_learner: WorldModelLearnerConfig = field(default_factory=WorldModelLearnerConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    real: RealConfig = field(default_factory=RealConfig)
    imagination: ImaginationConfig = field(default_factory=ImaginationConfig)
    stream: StreamConfig = field(default_factory=StreamConfig)
    rehearsal: RehearsalConfig = field(default_factory=RehearsalConfig)
    alarm: AlarmConfig = field(default_factory=AlarmConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


__all__ = [
    "ActionMode",
    "AlarmConfig",
    "AlarmScope",
    "Backend",
    "Boundaries",
    "DriftConfig",
    "DriftTest",
    "EngineConfig",
    "EvaluationConfig",
    "ExperienceConfig",
    "GateBurden",
    "GateConfig",
    "GateTest",
    "ImaginationConfig",
    "Isolation",
    "LoRAConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PluginConfig",
    "PolicyConfig",
    "PolicyLearnerConfig",
    "RealConfig",
    "RehearsalConfig",
    "ReplayConfig",
    "RunConfig",
    "RuntimeConfig",
    "Sharding",
    "StreamConfig",
    "TrackingConfig",
    "WorkerConfig",
    "WorldConfig",
    "WorldModelConfig",
    "WorldModelLearnerConfig",
]
