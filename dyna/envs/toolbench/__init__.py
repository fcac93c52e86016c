"""ToolBench: answer a query by calling APIs, invented ones or StableToolBench's."""

from dyna.envs.toolbench.judge import Judge, OpenAIJudge, Verdict
from dyna.envs.toolbench.mirror import ToolBenchMirrorWorld
from dyna.envs.toolbench.mirror_score import score_mirror
from dyna.envs.toolbench.world import ToolBenchWorld

__all__ = [
    "Judge",
    "OpenAIJudge",
    "ToolBenchMirrorWorld",
    "ToolBenchWorld",
    "Verdict",
    "score_mirror",
]
