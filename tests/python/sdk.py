"""The SDK that is installed, and the class that each HTTP status becomes in it: 0.190 knows fewer."""

import importlib.metadata

import daytona
from daytona import DaytonaError, DaytonaValidationError

VERSION = tuple(int(part) for part in importlib.metadata.version("daytona").split("."))
_KNOWS_ALL = VERSION >= (0, 200)

BAD_REQUEST = DaytonaValidationError
TIMEOUT = daytona.DaytonaTimeoutError if _KNOWS_ALL else DaytonaError
FORBIDDEN = daytona.DaytonaForbiddenError if _KNOWS_ALL else daytona.DaytonaAuthorizationError
FILE_NOT_FOUND = daytona.DaytonaFileNotFoundError if _KNOWS_ALL else daytona.DaytonaNotFoundError
INVALID_FILE_PATH = daytona.DaytonaInvalidFilePathError if _KNOWS_ALL else DaytonaValidationError
