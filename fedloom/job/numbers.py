"""The ranges of numbers that several parts of a job have in common."""

from typing import Annotated

import msgspec

Share = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]
PositiveInt = Annotated[int, msgspec.Meta(ge=1)]
