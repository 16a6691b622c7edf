"""A language model for the data engine: found out whether it sees and calls tools, then handed in."""

from masklet.engine.verify.by_language import LanguageTalk, with_odds
from masklet.errors import InputError
from masklet.llm.pace import MOST_AT_ONCE
from masklet.llm.transports import ServedModel
from masklet.workflows.asking.ask_agent import Planner, check_server


def open_language_model(served: Planner) -> LanguageTalk:
    """The model behind a server. Raises: InputError when it may not be asked, cannot call tools, or sees no images."""
    server = served.server()
    able = check_server(served, lambda _: None)
    if able.way is None or not able.sees:
        why = able.notes[0] if able.notes else "it answered wrongly about a test image"
        lack = "calls no tools" if able.way is None else "sees no images"
        raise InputError(f"{server.url} cannot verify masks: its model {lack} ({why}); name a model that sees")
    name = f"{served.model} at {server.url}"
    talk = LanguageTalk(model=ServedModel(server=server, way=able.way), name=name, at_once=MOST_AT_ONCE)
    return with_odds(talk, server)
