"""Corrections of client drift: what a device adds to its gradients, and how what it remembers goes on.

A device that takes many steps walks to the optimum of its own data. It remembers a vector of its own, which starts at
zero, and adds a linear term b to each step's gradient:

- SCAFFOLD: remembers its control variate c_i; b = c − c_i, where c is the mean of all devices', which the aggregator
  broadcasts. Then c_i⁺ = c_i − c + (w − y_i)/(K·η), the mean of the gradients that it has seen (option II); K·η is the
  sum of the steps' learning rates, as they may follow a schedule. The device sends Δc_i = c_i⁺ − c_i.
- FedDyn: remembers g_i; b = −g_i, beside a proximal term of weight α. Then g_i⁺ = g_i − α·(y_i − w), which the
  aggregator computes too, from the update.

w is the round's model, y_i what the device has trained it to. Either vector advances by what the aggregator counts, to
the bit: by what is left of a change when it has been encoded.

Source: Karimireddy, Kale, Mohri, Reddi, Stich, Suresh 2020, "SCAFFOLD: stochastic controlled averaging for federated
learning", arXiv:1910.06378, algorithm 1; Acar, Zhao, Matas Navarro, Mattina, Whatmough, Saligrama 2021, "Federated
learning based on dynamic regularization", arXiv:2111.04263, algorithm 1.
"""

import numpy as np

from fedloom.learning.layout import Vector


def scaffold_term(own: Vector, common: Vector) -> Vector:
    """b = c − c_i, (p,); `own` is c_i, `common` is c."""
    return common - own


def scaffold_change(delta: Vector, rate_sum: float, common: Vector) -> Vector:
    """Δc_i = −c − Δ/(K·η), (p,); `delta` is Δ = y_i − w, `rate_sum` is K·η, above 0.

    >>> one = np.ones(1, np.float32)
    >>> float(scaffold_change(delta=-one, rate_sum=0.5, common=0 * one)[0])  # it stepped by 1 at a rate of ½: c_i⁺ = 2
    2.0
    """
    change: Vector = delta * np.float32(-1.0 / rate_sum)
    change -= common
    return change


def feddyn_term(own: Vector) -> Vector:
    """b = −g_i, (p,)."""
    return -own


def feddyn_change(delta: Vector, alpha: float) -> Vector:
    """g_i⁺ − g_i = −α·Δ, (p,)."""
    return delta * np.float32(-alpha)
