"""The one exception that means "what you gave me cannot be used", with a sentence fit to be shown to a user."""


class InputError(ValueError):
    """Unusable input or an unwritable place for output; the message is one plain sentence naming what and why.

    It is one line, whatever line breaks are in names that it tells and in sentences of libraries.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(" ".join(line.strip() for line in sentence.splitlines()))
