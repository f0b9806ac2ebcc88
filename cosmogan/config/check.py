"""Check one setting, and raise a line that names it."""


def check(good: bool, message: str) -> None:
    """Raise ValueError with a message that begins with the setting's name, unless all is good."""
    if not good:
        raise ValueError(message)
