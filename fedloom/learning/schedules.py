"""Learning rates over the local steps of a round."""

import math

from fedloom.learning.plan import TrainPlan


def learning_rate(plan: TrainPlan, step: int, total_steps: int) -> float:
    """The rate of step `step` (from 0) out of `total_steps`.

    step: η·factor^⌊t / every⌋. cosine: ½η·(1 + cos(π·t / T)) (Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5).
    """
    match plan.schedule:
        case "constant":
            return plan.learning_rate
        case "step":
            return plan.learning_rate * plan.step_factor ** (step // max(plan.step_every, 1))
        case "cosine":
            return 0.5 * plan.learning_rate * (1.0 + math.cos(math.pi * step / total_steps))
