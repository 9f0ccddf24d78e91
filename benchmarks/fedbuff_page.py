"""The page that fedbuff_time.py makes."""

HEAD = """# FedBuff on the clock

Simulated time until {target:.0%} of scikit-learn's digits are named, on samples that no device has: buffers beside
synchronous rounds, where devices differ in speed. Made by `benchmarks/fedbuff_time.py`, which says how; do not
edit.

- {devices} devices with 14 samples each, their classes from a Dirichlet distribution with α = {alpha}; 64-32-10,
  one local epoch with batches of ten. All devices are at work all the time, whatever the method, and links take no
  time.
- The median device needs a second for a round; ln(speed) has the deviation σ from device to device, and {jitter}
  from round to round.
- `synchronous` waits for all {devices}; `over-selected` asks all and closes with the first {cohort}, the others'
  work being wasted (Bonawitz et al. 2019); `fedbuff` fuses every {buffer} updates, scaled down by their staleness
  (Nguyen et al. 2022, [arXiv:2106.06639](https://arxiv.org/abs/2106.06639)).
- Each method has, for each σ, the learning rates whose median time over {seeds} seeds is the shortest: of {rates}
  on the devices and {server_rates} on the server. Times are in seconds, with their range over the seeds; ∞ is not
  within {most:,} updates.

Nguyen et al. report up to 3.3 times less than synchronous rounds, on other data and with half-normal delays. A
log-normal tail costs a synchronous round what it costs no buffer, so that the factor here grows with σ. What
FedBuff pays is that fast devices count more often: where slow ones have data of their own, see
[how to choose](job.md#asynchronous).
"""
