"""A cohort's clients one after the other, each trained by one compiled function (numba)."""
