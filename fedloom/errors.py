"""The errors that both ends share.

fedloom.link (QueueFullError), edge_client (NotJoinedError), aggregator (RivalError, DamagedError), strategies
(FusionError) and simulation (FleetError) derive their own.

FedloomError
├── InputError          something a person wrote or supplied is wrong: exit status 2, one line with the remedy
│   ├── ConfigError     a configuration or job file
│   └── DataError       a data file, or what is in it
│       └── CellError   one value in it, which must not be repeated to others
├── Refused             a message from the network is not believed; carries the wire's `Reason`
├── TrustError          keys, credentials or root documents on this host do not fit together
├── LinkError           the broker cannot be reached, or refuses us
└── StoreError          durable state is missing, damaged or held by somebody else
"""

from enum import StrEnum


class FedloomError(Exception):
    """The root; its text is fit to be shown to a user."""

    exit_status = 2
    """Of the command that it ends: 2 where the remedy is the user's (what was written, keys)."""


class InputError(FedloomError):
    """A person's input is wrong: names where, which field, the value, and what to do instead."""

    def __init__(self, where: str, field: str, problem: str, remedy: str) -> None:
        place = f"{where}: {field}" if field else where
        super().__init__(f"{place}: {problem}; {remedy}")
        self.where = where
        self.field = field
        self.problem = problem
        self.remedy = remedy


class ConfigError(InputError):
    """A configuration or job file does not say something that fedloom can do."""


class DataError(InputError):
    """A data file cannot be read, or holds what no model can be trained on."""

    def __init__(self, where: str, field: str, problem: str, remedy: str) -> None:
        super().__init__(where, field, problem, remedy)
        self._name = where.rsplit("/", 1)[-1]
        self.shareable = f"{self._name}: {field}: {problem}" if field else f"{self._name}: {problem}"
        """What may be told to the aggregator: no directory, and nothing that the data holds."""


class CellError(DataError):
    """One value in a data file is not what it must be."""

    def __init__(self, where: str, field: str, problem: str, remedy: str) -> None:
        super().__init__(where, field, problem, remedy)
        self.shareable = f"{self._name}: {field}: its value cannot be used; the device's log shows it"


class Reason(StrEnum):
    """Why a message was refused. The values are wire codes: never renamed, only added to."""

    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    UNKNOWN_VERSION = "unknown_version"
    UNKNOWN_SUITE = "unknown_suite"
    UNKNOWN_TYPE = "unknown_type"
    WRONG_FEDERATION = "wrong_federation"
    WRONG_TOPIC = "wrong_topic"
    UNKNOWN_SENDER = "unknown_sender"
    UNKNOWN_KEY = "unknown_key"
    WRONG_RECIPIENT = "wrong_recipient"
    NOT_INVITED = "not_invited"
    WRONG_JOB = "wrong_job"
    WRONG_ROUND = "wrong_round"
    WRONG_MANIFEST = "wrong_manifest"
    LATE = "late"
    REVOKED = "revoked"
    CONFLICT = "conflict"
    TOO_MANY = "too_many"
    BAD_SIGNATURE = "bad_signature"
    BAD_CREDENTIAL = "bad_credential"
    EXPIRED = "expired"
    CANNOT_OPEN = "cannot_open"
    WRONG_LENGTH = "wrong_length"
    WRONG_ENCODING = "wrong_encoding"
    NON_FINITE = "non_finite"
    NORM_EXCEEDED = "norm_exceeded"
    SAMPLES_EXCEEDED = "samples_exceeded"
    STEPS_EXCEEDED = "steps_exceeded"
    BAD_METRICS = "bad_metrics"
    OLD = "old"
    HASH_MISMATCH = "hash_mismatch"
    BUSY = "busy"
    UNKNOWN_TOKEN = "unknown_token"  # noqa: S105 - a code, not a secret
    REJECTED = "rejected"


class Refused(FedloomError):
    """A message is not believed. Costs constant memory; `reason` goes into the receipt and the metrics."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail


class TrustError(FedloomError):
    """Keys, credentials or root documents on this host are missing, readable by others, or do not fit together."""


class LinkError(FedloomError):
    """The broker cannot be reached, or refuses us; or somebody in its place does, so starting again may mend it."""

    exit_status = 1


class StoreError(FedloomError):
    """Durable state is missing, damaged, or held by another process."""

    exit_status = 1
