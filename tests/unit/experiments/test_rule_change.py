"""The study of changed rules: who plays there, what counts as changed, when a model is right."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from dyna.files import write_json
from experiments.studies.continual.rule_change import (
    CHANGED,
    DOORS,
    OTHER,
    Worlds,
    kind_of_turn,
    read_settings,
    section,
    steps_until_right,
)


def test_a_newcomer_tries_the_door_and_then_unlocks_it() -> None:
    played = Worlds(read_settings()).after(name="new", num=40, offset=0)
    shown = [episode for episode in played if episode.behavior == "expert"]
    assert all(episode.turns[-1].outcome.success for episode in shown)
    said = [t.outcome.observation for episode in shown for t in episode.turns]
    locked = [i for i, text in enumerate(said) if text.endswith(" is locked.")]
    assert len(locked) >= 5
    for i in locked:
        assert said[i + 1].startswith("You unlock the ")
        assert said[i + 2].startswith("You open the ")


def test_what_has_changed_is_what_the_old_world_answers_otherwise() -> None:
    worlds = Worlds(read_settings())
    kinds: list[str] = []
    for episode in worlds.after(name="new", num=30, offset=0):
        game = worlds.old.game(
            worlds.old.tasks(split="train", num=30)[int(episode.id.split("/")[-1])]
        )
        game.reset()
        for turn in episode.turns:
            kinds.append(kind_of_turn(turn))
            before = game.clone().step(turn.action.command)[0]
            if kinds[-1] == CHANGED:
                assert before != turn.outcome.observation
            else:
                assert before == turn.outcome.observation
                game.step(turn.action.command)
    assert min(kinds.count(kind) for kind in (CHANGED, DOORS, OTHER)) >= 10


def test_right_is_right_to_the_end() -> None:
    def curve(*values: float) -> list[dict[str, float]]:
        return [{"real_steps": 10.0 * (i + 1), CHANGED: v} for i, v in enumerate(values)]

    assert steps_until_right(curve(0.1, 0.95, 0.9), right_at=0.9) == 20.0
    assert steps_until_right(curve(0.95, 0.1, 0.9), right_at=0.9) == 30.0
    assert steps_until_right(curve(0.95, 0.1), right_at=0.9) is None


def test_the_section_is_made_of_the_file_alone(tmp_path: Path) -> None:
    chosen = replace(read_settings(), strategies={"reservoir": {"name": "reservoir"}})
    point = {CHANGED: 0.95, DOORS: 0.9, OTHER: 0.8, "all": 0.85, "real_steps": 70.0}
    run = {"curve": [point], "steps_until_right": 70.0, "bytes": 49152}
    seeds = [
        {"seed": seed, "before": {**point, CHANGED: 0.0}, "strategies": {"reservoir": run}}
        for seed in (0, 1)
    ]
    write_json(tmp_path / "rule.json", value={"settings": asdict(chosen), "seeds": seeds})
    text = section(tmp_path / "rule.json")
    assert "| reservoir | 70 (2 of 2) | 0.950 [0.950, 0.950] |" in text
    assert "every cabinet and drawer locks" in text
