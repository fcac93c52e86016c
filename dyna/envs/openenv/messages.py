"""What our servers say and understand, as OpenEnv's messages. Needs the extra to be imported."""
# pyright: reportMissingImports=false, reportMissingTypeStubs=false
# pyright: reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUntypedBaseClass=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from openenv.core.env_server.types import Action as OpenEnvAction
from openenv.core.env_server.types import Observation as OpenEnvObservation
from pydantic import Field

# Metadata of an observation does not travel in OpenEnv 0.2, so all we say is in fields.


class CommandAction(OpenEnvAction):
    """One command, as text."""

    command: str = Field(description="What to do, in the words of the world")


class TextObservation(OpenEnvObservation):
    """What the world says, and what it knows beside its words."""

    text: str = Field(description="What the agent sees; the first text holds its goal")
    admissible: list[str] | None = Field(
        default=None, description="The commands possible now; null where the world lists none"
    )
    success: bool = Field(default=False, description="The task is done; apart from the reward")
    terminated: bool = Field(default=False, description="The task ended, and was not merely cut")
    stop: str | None = Field(
        default=None,
        description="Why the episode ended: `terminated`, `step_limit`, ...",
    )
    valid: bool | None = Field(
        default=None, description="Whether the command was carried out; null if unknown"
    )
    confidence: float = Field(
        default=1.0, description="How sure a world model is of this answer, in [0, 1]"
    )
    task_id: str = Field(default="", description="The task that is played")
    family: str = Field(default="", description="The kind of task")
    source: str = Field(default="real", description="`real`, or `imagined` by a world model")
    hidden_state: str | None = Field(
        default=None, description="The privileged state at the start, if the server gives it"
    )


__all__ = ["CommandAction", "TextObservation"]
