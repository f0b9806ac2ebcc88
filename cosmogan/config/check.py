"""What all sections check with."""


def check(good: bool, message: str) -> None:
    """Raise ValueError with a message that begins with the setting's name, unless all is good."""
    if not good:
        raise ValueError(message)
