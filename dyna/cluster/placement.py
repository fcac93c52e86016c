"""Where a run's engine actors stand: room for all of them is reserved at once, or refused.

Each engine actor has one bundle of a placement group, so it is on one node with all its GPUs. Where
an engine and a learner take fractions of a GPU, they share a bundle, hence the very same GPU. In a
Tune trial the trial's own group ends with these bundles.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.placement_group import (
    PlacementGroup,
    get_current_placement_group,
    get_placement_group,
    placement_group,
    remove_placement_group,
)
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from dyna.config import EngineConfig, RunConfig

_log = logging.getLogger(__name__)

Bundle = dict[str, float]
"""Amounts of Ray's resources, such as `{"CPU": 1.0, "GPU": 1.0}`."""


class PlacementError(RuntimeError):
    """The cluster has no room for what the run asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What is reserved for the engine actors."""

    group: PlacementGroup
    first: int
    """The bundle of the first engine actor; those of the others follow it."""
    is_own: bool
    """False in a Tune trial, whose group holds everything of the trial."""

    def strategy(self, index: int) -> PlacementGroupSchedulingStrategy:
        """Ray's scheduling strategy for engine actor `index`."""
        return PlacementGroupSchedulingStrategy(
            placement_group=self.group,
            placement_group_bundle_index=self.first + index,
            placement_group_capture_child_tasks=True,
        )

    def release(self) -> None:
        if self.is_own:
            remove_placement_group(self.group)


def engine_resources(engine: EngineConfig) -> Bundle:
    """Of one engine actor."""
    asked = {"CPU": engine.num_cpus, "GPU": engine.num_gpus}
    # A bundle must ask for something; this little is never in anybody's way.
    return {name: amount for name, amount in asked.items() if amount} or {"CPU": 0.001}


def is_colocated(config: RunConfig) -> bool:
    """Whether engines and learners share GPUs."""
    shares = (config.engine.num_gpus, config.runtime.gpus_per_learner)
    return (
        config.engine.num_actors > 0
        and config.runtime.num_learners > 0
        and min(shares) > 0
        and sum(shares) <= 1
    )


def engine_bundles(config: RunConfig, *, num_roles: int) -> list[Bundle]:
    """One for each engine actor of a run whose parts talk to engines in `num_roles` roles.

    With colocated learners the first ones have room for a learner each.
    """
    per_role = 1 if config.engine.shared else num_roles
    bundles = [engine_resources(config.engine)] * (config.engine.num_actors * per_role)
    if not is_colocated(config):
        return bundles
    # RLlib gives a learner with a GPU no CPU of its own.
    both = bundles[0] | {"GPU": config.engine.num_gpus + config.runtime.gpus_per_learner}
    num_both = min(config.runtime.num_learners, len(bundles))
    alone = {"GPU": config.runtime.gpus_per_learner}
    return (
        [both] * num_both + bundles[num_both:] + [alone] * (config.runtime.num_learners - num_both)
    )


def trial_bundles(config: RunConfig, *, others: Sequence[Bundle], num_roles: int) -> list[Bundle]:
    """All bundles of a Tune trial: `others` as RLlib asks for them, then those of the engines."""
    bundles = engine_bundles(config, num_roles=num_roles)
    # RLlib's last ones are the learners'; colocated, they are in the engines'.
    kept = others[: -config.runtime.num_learners] if is_colocated(config) else others
    return [*kept, *bundles]


def learner_group(config: RunConfig) -> PlacementGroup | None:
    """Where the learners go: beside the engines of the run, or None for wherever there is room."""
    if not is_colocated(config):
        return None
    return get_current_placement_group() or get_placement_group(config.runtime.engine_group)


def reserve(config: RunConfig, *, num_roles: int, name: str) -> Room:
    """Room for the run's engine actors.

    Raises `PlacementError` when there is none within `runtime.placement_timeout_s`, and at once
    where the cluster is this machine alone, which cannot grow.
    """
    bundles = engine_bundles(config, num_roles=num_roles)
    current = get_current_placement_group()
    if current is not None:
        return Room(group=current, first=_first_in_trial(current, bundles=bundles), is_own=False)
    timeout_s = config.runtime.placement_timeout_s
    if not config.runtime.address and not _can_fit(bundles):
        raise PlacementError(_refusal(bundles, waited_s=0.0))
    group = placement_group(bundles, strategy="PACK", name=name)
    if not group.wait(timeout_s):
        remove_placement_group(group)
        raise PlacementError(_refusal(bundles, waited_s=timeout_s))
    return Room(group=group, first=0, is_own=True)


def _first_in_trial(group: PlacementGroup, *, bundles: Sequence[Bundle]) -> int:
    """Where in a trial's group the engines' bundles begin."""
    found = group.bundle_specs[-len(bundles) :]
    fit = len(found) == len(bundles) and all(
        has.get(name, 0.0) >= amount
        for has, wants in zip(found, bundles, strict=True)
        for name, amount in wants.items()
    )
    if not fit:
        raise PlacementError(
            f"the trial's resources must end with a bundle for each of the run's {len(bundles)} "
            f"engine actors, of {_amounts(bundles[0])}; leave them to "
            "Dyna.default_resource_request, or add them"
        )
    return len(group.bundle_specs) - len(bundles)


def _can_fit(bundles: Sequence[Bundle]) -> bool:
    """Whether the nodes could hold them, were nothing else running."""
    left = [dict(node) for node in _nodes()]
    for bundle in bundles:
        for node in left:
            if all(node.get(name, 0.0) >= amount for name, amount in bundle.items()):
                for name, amount in bundle.items():
                    node[name] -= amount
                break
        else:
            return False
    return True


def _nodes() -> list[Mapping[str, float]]:
    """The resources of each node that is alive."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _refusal(bundles: Sequence[Bundle], *, waited_s: float) -> str:
    available: dict[str, Any] = ray.available_resources()
    nodes = [_amounts(node) for node in _nodes()]
    return (
        f"no room for the run's {len(bundles)} engine actors, each with {_amounts(bundles[0])}"
        + (f", within runtime.placement_timeout_s={waited_s:g}" if waited_s else "")
        + f": the cluster has {len(nodes)} nodes ({'; '.join(nodes)}), of which "
        f"{_amounts(available)} is free; lower engine.num_actors, engine.num_gpus or "
        "engine.num_cpus, use engine.shared, or add nodes"
    )


def _amounts(resources: Mapping[str, float]) -> str:
    shown = [f"{resources.get(name, 0.0):g} {name}" for name in ("CPU", "GPU") if name in resources]
    return " and ".join(shown) or "neither CPU nor GPU"
