"""What a run on the virtual clock has come to, in words."""

from simulation.world.summary import Attempt, Cost, in_words


def test_a_run_in_words():
    first = Attempt(30.0, 30.0, 10, 2, 1, 3, 4, Cost(6e6, 1e6, 30.0, 3.5e6, 30.0))
    second = Attempt(1500.0, 20.0, 10, 8, 0, 1, 1, Cost(6e6, 1e6, 30.0, 0.0, 0.0))
    assert list(in_words([first, second])) == [
        "on the virtual clock: 1,500.0 s in 2 attempts; 20 invitations, 10 updates in time, 5 late, 4 lost",
        "12.0 MB to devices and 2.0 MB back, 25% of them for nothing",
        "60.0 J on the devices, 50% of them for nothing",
    ]
    idle = Attempt(0.0, 0.0, 1, 1, 0, 0, 0, Cost())
    assert len(list(in_words([idle]))) == 2
