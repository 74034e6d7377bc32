"""A client that submits in bulks: part after part, and one word at the end; it drops some, and says some twice."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from aioqueue.errors import BulkUnknown, DiskLow, QueueFull, TooManyBulks
from tests.simulator.checker import Checker, Violation
from tests.simulator.drafts import Draft, Drafts
from tests.simulator.network import Reply
from tests.simulator.peers import Client


class Part(NamedTuple):
    """What one part carries."""

    bulk: bytes
    number: int
    drafts: list[Draft]
    resent: bool = False


class Word(NamedTuple):
    """The last word on a bulk."""

    bulk: bytes
    parts: int
    first: bytes


class Bulk:
    """One bulk as its client keeps it: `said` parts are on their way or answered, `answered` are the first so many."""

    def __init__(self, bulk: bytes, parts: list[Part]) -> None:
        self.id = bulk
        self.parts = parts
        self.said = 0
        self.answered = 0
        self.committing = False

    @property
    def word(self) -> Word:
        return Word(self.id, len(self.parts), self.parts[0].drafts[0].id)


class Stager(Client):
    """See the module. `unanswered` is what the world waits for."""

    def __init__(self, name: str, rng: Random, checker: Checker, drafts: Drafts) -> None:
        super().__init__(name, rng, checker, drafts)
        self._bulk: Bulk | None = None
        self._bulks = 0
        # Of which the broker may not have heard that they were dropped.
        self._dropped: list[bytes] = []

    def act(self, wall_ms: int) -> None:
        connection = self.connection
        if connection is None or not self.welcome:
            return
        if self._knocking or (self.steady and self._bulk is None):
            for bulk in self._dropped if self._rng.random() < 0.1 else ():
                connection.ask("drop", bulk)
            super().act(wall_ms)
            return
        if self._bulk is None:
            self._begin(wall_ms)
        elif self._rng.random() < 0.06 and not self.steady:
            self._drop()
        elif self._bulk.said < len(self._bulk.parts):
            self._say(self._bulk.said)
            self._bulk.said += 1
        elif self._bulk.answered == len(self._bulk.parts):
            self._bulk.committing = True
            connection.ask("commit", self._bulk.word)
        elif self._rng.random() < 0.3:
            self._say(self._rng.randrange(self._bulk.said))

    def _begin(self, wall_ms: int) -> None:
        rng = self._rng
        self._bulks += 1
        bulk = f"{self.name}.{self._bulks}".encode().ljust(16)
        parts = [
            Part(bulk, number, [self._drafts.make(wall_ms, plain=True) for _ in range(rng.randint(1, 5))])
            for number in range(rng.randint(1, 4))
        ]
        for part in parts:
            self._checker.drafts.update({draft.id: draft for draft in part.drafts})
        self._bulk = Bulk(bulk, parts)
        self.unanswered[bulk] = None  # type: ignore[assignment]

    def _say(self, number: int) -> None:
        assert self.connection is not None
        assert self._bulk is not None
        part = self._bulk.parts[number]
        self.connection.ask("stage", part._replace(resent=number < self._bulk.said))

    def _drop(self) -> None:
        assert self.connection is not None
        assert self._bulk is not None
        if self._bulk.committing:
            # It may be so already: nobody takes back the last word.
            return
        self._dropped.append(self._bulk.id)
        self.connection.ask("drop", self._bulk.id)
        self._over()

    def _over(self) -> None:
        assert self._bulk is not None
        del self.unanswered[self._bulk.id]
        self._bulk = None

    def welcomed(self, fresh: bool) -> None:
        hidden = {} if self._bulk is None else {self._bulk.id: self.unanswered.pop(self._bulk.id)}
        super().welcomed(fresh)
        self.unanswered.update(hidden)
        if self._bulk is not None:
            # In their order, from the first of which nothing is known.
            for number in range(self._bulk.answered, self._bulk.said):
                self._say(number)

    def answered(self, reply: Reply) -> None:
        content, answer = reply.to.content, reply.answer
        match reply.to.kind:
            case "stage":
                self._staged(content, answer)
            case "commit":
                self._committed(content, answer)
            case "drop":
                pass
            case _:
                super().answered(reply)

    def _staged(self, part: Part, answer: object) -> None:
        bulk = self._bulk
        if bulk is None or part.bulk != bulk.id:
            return
        if isinstance(answer, QueueFull | DiskLow | TooManyBulks):
            self._drop()
        elif isinstance(answer, BulkUnknown):
            # The part before it was refused, or its answer is still to come.
            if part.number <= bulk.answered:
                raise Violation(f"I2: part {part.number} of bulk {bulk.id!r} was not taken: {answer}")
            bulk.said = min(bulk.said, part.number)
        elif isinstance(answer, Exception):
            raise Violation(f"I1: a part was refused: {answer}")
        elif part.number == bulk.answered:
            bulk.answered += 1

    def _committed(self, word: Word, answer: object) -> None:
        bulk = self._bulk
        if isinstance(answer, Exception):
            raise Violation(f"I2: bulk {word.bulk!r} was staged whole, and was not committed: {answer}")
        if bulk is None or word.bulk != bulk.id:
            return
        for part in bulk.parts:
            for draft in part.drafts:
                self._checker.accepted(draft.id)
                self._mine.append(draft.id)
                if draft.endless:
                    self._endless[draft.id] = None
                self._wait(draft.id)
        self._over()
