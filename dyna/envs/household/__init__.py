"""The embedded world: ALFWorld's household in pure Python, of any size and any words."""

from __future__ import annotations

from dyna.envs.household.alfworld_vocabulary import ALFWORLD
from dyna.envs.household.env import HouseholdEnv
from dyna.envs.household.expert import Expert, SearchOrder, expert_command
from dyna.envs.household.game import HouseholdGame
from dyna.envs.household.generator import SPLITS, HouseSpec, generate_house, split_of
from dyna.envs.household.hidden_state import describe_goal, describe_hidden_state
from dyna.envs.household.house import Family, Goal, GoalNaming, House, HouseObject, Receptacle
from dyna.envs.household.invented_vocabulary import vocabulary_named
from dyna.envs.household.vocabulary import (
    ObjectKind,
    Process,
    Property,
    ReceptacleKind,
    Room,
    Vocabulary,
)
from dyna.envs.household.world import HouseholdWorld

__all__ = [
    "ALFWORLD",
    "SPLITS",
    "Expert",
    "Family",
    "Goal",
    "GoalNaming",
    "House",
    "HouseObject",
    "HouseSpec",
    "HouseholdEnv",
    "HouseholdGame",
    "HouseholdWorld",
    "ObjectKind",
    "Process",
    "Property",
    "Receptacle",
    "ReceptacleKind",
    "Room",
    "SearchOrder",
    "Vocabulary",
    "describe_goal",
    "describe_hidden_state",
    "expert_command",
    "generate_house",
    "split_of",
    "vocabulary_named",
]
