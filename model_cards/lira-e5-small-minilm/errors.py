"""The one family of errors that a command turns into one clear line."""


class LiraError(ValueError):
    """Bad input: the message names the offending value and what to do."""
