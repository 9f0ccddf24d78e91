"""One thread, as on a device: the peer's results and times are then comparable."""

import torch

torch.set_num_threads(1)
