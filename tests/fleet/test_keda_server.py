"""What the scaler's process does beside answering."""

import asyncio
import gc

import pytest

pytest.importorskip("grpc")

from quantum_control.fleet import keda


@pytest.fixture
def put_aside(monkeypatch):
    """Give the numbers of targets at which what stays was put aside, of those that are seen."""

    class EndedError(Exception):
        pass

    def played(sizes):
        looked, aside = iter(sizes), []

        class Fleet:
            now = 0

            def __len__(self):
                return self.now

        fleet = Fleet()

        async def looks(seconds):
            assert seconds == keda.SETTLED
            try:
                fleet.now = next(looked)
            except StopIteration:
                raise EndedError from None

        monkeypatch.setattr(keda.asyncio, "sleep", looks)
        monkeypatch.setattr(gc, "freeze", lambda: aside.append(fleet.now))
        with pytest.raises(EndedError):
            asyncio.run(keda._put_aside(fleet))
        return aside

    return played


def test_targets_are_put_aside_once_their_number_has_come_to_rest(put_aside):
    assert put_aside([0, 500, 900, 1000, 1000, 1000, 1000]) == [1000]


def test_they_are_again_after_others_have_come_or_gone(put_aside):
    assert put_aside([3, 3, 3, 5, 5, 4, 4]) == [3, 5, 4]


def test_nothing_is_put_aside_where_there_is_nothing(put_aside):
    assert put_aside([0, 0, 0]) == []
