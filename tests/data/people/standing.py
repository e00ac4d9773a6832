"""Bodies and surroundings by hand, for the tests of people."""

import numpy as np

from linsight.data.people import Angles, Clothes, Surroundings
from linsight.data.people.population import ANGLES, angles_of
from linsight.data.people.skeleton import PLACES


def still(batch: int = 1, **angles: object) -> Angles:
    """Bodies that stand with hanging arms, except for these angles."""
    zero = Angles(
        scale=np.ones(batch),
        turn=np.zeros((batch, 3)),
        trunk=np.zeros((batch, 2)),
        head=np.zeros((batch, 2)),
        hip=np.zeros((batch, 2, 2)),
        knee=np.zeros((batch, 2)),
        shoulder=np.zeros((batch, 2, 2)),
        elbow=np.zeros((batch, 2)),
    )
    given = {
        name: np.broadcast_to(np.asarray(value, float), getattr(zero, name).shape)
        for name, value in angles.items()
    }
    return zero._replace(**given)


def drawn(batch: int = 24) -> Angles:
    return angles_of(np.random.default_rng(3).random((batch, ANGLES)))


def place(name: str) -> int:
    return PLACES.index(name)


def plain(
    batch: int = 1, light: tuple[float, float, float] = (0.0, 0.0, -1.0)
) -> tuple[Clothes, Surroundings]:
    """Colours that are told apart, before a grey wall."""

    def colour(*values: float) -> np.ndarray:
        return np.tile(np.array(values, np.float32), (batch, 1))

    return (
        Clothes(
            skin=colour(0.9, 0.7, 0.6),
            hair=colour(0.1, 0.1, 0.2),
            shirt=colour(0.24, 0.8, 0.16),
            trousers=colour(0.1, 0.2, 0.7),
            shoes=colour(0.2, 0.0, 0.0),
        ),
        Surroundings(
            light=np.tile(np.array(light, np.float32), (batch, 1)),
            ambient=np.full(batch, 0.5, np.float32),
            coarse=np.full((batch, 3, 3, 3), 0.4, np.float32),
            fine=np.full((batch, 3, 7, 6), 0.5, np.float32),
        ),
    )
