"""WebShop as a world of tasks: every goal of a catalogue is one, and a purchase ends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dyna.envs.episode import EpisodeClock
from dyna.envs.extras import require
from dyna.envs.task_range import check_range, take
from dyna.envs.webshop.catalogue import load_catalogue
from dyna.envs.webshop.expert import Explorer, Oracle, search_words
from dyna.envs.webshop.files import find_files
from dyna.envs.webshop.goals import Goal, GoalKind
from dyna.envs.webshop.nouns import find_tagger
from dyna.envs.webshop.pages import Observation, read_plain, read_rich
from dyna.envs.webshop.session import Place, Session
from dyna.envs.webshop.shop import Shop
from dyna.types import Action, Outcome, Start, Task

_NAME = "webshop"


class WebShopWorld:
    """Example: `WebShopWorld(data="webshop/data", max_turns=15)`; the invented shop without `data`.

    Raises `MissingExtraError` without the extra `webshop`, `ValueError` for a wrong parameter,
    `FileNotFoundError` and `DamagedFileError` for a catalogue that is missing or damaged.
    """

    expert: Oracle
    """Buys what was asked for, in as few turns as the search allows."""
    explorer: Explorer
    """Errs as a hasty customer would: what a model of this world must have seen."""

    def __init__(
        self,
        *,
        data: str = "",
        goals: str = GoalKind.SYNTHETIC.value,
        num_products: int = 0,
        observation: str = Observation.TEXT.value,
        admissible: bool = True,
        actions_in_text: bool = False,
        show_attributes: bool = False,
        expose_hidden_state: bool = False,
        max_turns: int = 0,
        price_seed: int = 0,
        tagger: str = "",
    ) -> None:
        """`data` is a folder of WebShop's files or one `items_shuffle*.json`; `goals` are
        `synthetic` or `human`; `num_products` takes the first so many entries, 0 all; `observation`
        is `text` or `text_rich`; `actions_in_text` ends every page with the list of actions, as
        AgentGym does; `show_attributes` adds the button that shows a product's attributes;
        `expose_hidden_state` tells the world model what the goal is after; `max_turns` of 0 means
        no limit of the world's own; `price_seed` draws open prices and price bounds; `tagger` is a
        `module:attribute` that finds the nouns of a title."""
        require(_NAME, world=_NAME)
        if num_products < 0:
            raise ValueError(f"num_products must be >= 0 (0 for all), got {num_products}")
        for name, value, allowed in (
            ("goals", goals, list(GoalKind)),
            ("observation", observation, list(Observation)),
        ):
            if value not in allowed:
                choices = ", ".join(allowed)
                raise ValueError(f"webshop {name} must be one of {choices}, got {value!r}")
        EpisodeClock(max_turns=max_turns)
        products = load_catalogue(find_files(data), num_products=num_products)
        self.shop = Shop(
            products, kind=GoalKind(goals), price_seed=price_seed, tagger=find_tagger(tagger)
        )
        self.observation = Observation(observation)
        self.admissible = admissible
        self.actions_in_text = actions_in_text
        self.show_attributes = show_attributes
        self.expose_hidden_state = expose_hidden_state
        self.max_turns = max_turns
        self.expert = Oracle(self.open_session)
        self.explorer = Explorer(self.expert)

    @property
    def splits(self) -> Mapping[str, int | None]:
        return {name: len(indices) for name, indices in self.shop.splits.items()}

    def tasks(self, *, split: str, num: int, offset: int = 0) -> Sequence[Task]:
        check_range(split, num=num, offset=offset, splits=self.shop.splits)
        indices = take(self.shop.splits[split], split=split, num=num, offset=offset)
        return [self._task(index, split=split) for index in indices]

    def fingerprint(self, task: Task) -> str:
        """The goal's words and target; goals for one product with other options are others."""
        return self.goal(task).fingerprint

    def goal(self, task: Task) -> Goal:
        """What the customer wants. Raises `ValueError` for a task of another world or catalogue."""
        if task.world != _NAME:
            raise ValueError(f"task {task.id!r} is of world {task.world!r}, not of {_NAME}")
        goals = self.shop.goals
        if task.params.get("shop") != self.shop.fingerprint or not 0 <= task.seed < len(goals):
            raise ValueError(
                f"task {task.id!r} is of another catalogue, or of other goals, num_products or "
                "price_seed; make the world with those that the task was made with"
            )
        return goals[task.seed]

    def open_session(self, task: Task) -> Session:
        return Session(shop=self.shop, goal=self.goal(task), show_attributes=self.show_attributes)

    def make(self) -> WebShopEnv:
        return WebShopEnv(self)

    def hidden_state(self, goal: Goal) -> str:
        """What the goal is after, in words, for the world model."""
        product = self.shop.product(goal.asin)
        return "\n".join(
            [
                f"The customer wants {product.asin}: {product.title}",
                f"attributes: {', '.join(goal.attributes)}",
                f"options: {', '.join(goal.options) or 'none'}",
                f"price: ${self.shop.prices[goal.asin]:.2f}, at most ${goal.max_price:.2f}",
            ]
        )

    def _task(self, index: int, *, split: str) -> Task:
        goal = self.shop.goals[index]
        family = self.shop.product(goal.asin).category or "other"
        return Task(
            id=f"{_NAME}/{family}/{split}/{self.shop.kind.value}-{index}-{goal.fingerprint}",
            world=_NAME,
            family=family,
            split=split,
            seed=index,
            params={"shop": self.shop.fingerprint},
        )


class WebShopEnv:
    """One visit at a time to a `WebShopWorld`'s shop."""

    def __init__(self, world: WebShopWorld) -> None:
        self._world = world
        self._clock = EpisodeClock(max_turns=world.max_turns)
        self._session: Session | None = None

    async def reset(self, task: Task) -> Start:
        world = self._world
        session = self._session = world.open_session(task)
        self._clock.begin()
        commands = self._commands(session)
        return Start(
            observation=self._read(session, commands=commands),
            hidden_state=world.hidden_state(session.goal) if world.expose_hidden_state else None,
            admissible=commands if world.admissible else None,
        )

    async def step(self, action: Action) -> Outcome:
        """A purchase ends the episode, right or wrong; what cannot be done leaves the page."""
        self._clock.check()
        session = self._session
        if session is None:
            raise RuntimeError("this env is closed; call reset before step")
        valid = session.act(action.command)
        verdict = session.verdict
        stop = self._clock.tick(terminated=verdict is not None)
        commands = self._commands(session)
        return Outcome(
            observation=self._read(session, commands=commands),
            reward=verdict.reward if verdict else 0.0,
            terminated=verdict is not None,
            success=verdict is not None and verdict.reward == 1.0,
            stop=stop,
            valid=valid,
            admissible=commands if self._world.admissible else None,
        )

    async def clone(self) -> WebShopEnv:
        """Another visit at this very point; the two go on apart."""
        other = WebShopEnv(self._world)
        other._clock = self._clock.copy()
        other._session = self._session.copy() if self._session else None
        return other

    async def close(self) -> None:
        self._session = None

    def _commands(self, session: Session) -> tuple[str, ...]:
        world = self._world
        if not world.admissible and not world.actions_in_text:
            return ()
        return session.commands(suggestion=search_words(session.goal.instruction))

    def _read(self, session: Session, *, commands: Sequence[str]) -> str:
        if self._world.observation is Observation.TEXT:
            text = read_plain(session.nodes)
        else:
            text = read_rich(session.nodes, is_clicked=session.is_clicked)
        if not self._world.actions_in_text or session.place is Place.DONE:
            return text
        lines = [
            "'search[<your query>]'," if command.startswith("search[") else f"'{command}',"
            for command in commands
        ]
        listed = "\n".join(["[", *lines, "]."])
        return f"{text}\n\nYour admissible actions of the current situation are: \n{listed}"


__all__ = ["WebShopEnv", "WebShopWorld"]
