"""A trace as one page: what was asked, said and done, with the drawings that the planner saw.

Words of planners and servers are not trusted: all text is escaped, and the page may load and run nothing.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "section{border-left:4px solid #bbb;padding:.3rem 1rem;margin:1rem 0}"
    "section.reply{border-color:#2b6cb0}section.ran{border-color:#2f855a}section.finish{border-color:#c05621}"
    "h2{font-size:1rem;margin:.2rem 0}pre{white-space:pre-wrap;margin:.3rem 0}img{max-width:100%}"
)
TITLES = {
    "ask": "The planner is asked",
    "reply": "The planner says",
    "unreachable": "The planner cannot be asked",
    "ran": "Done",
    "finish": "The end",
}


def story_page(events: Sequence[Mapping[str, Any]]) -> str:
    """The page of a trace."""
    first = events[0]
    sections = "\n".join(_section(number, event) for number, event in enumerate(events[1:], 1))
    title = escape(str(first.get("request", "")))
    height, width = (*first.get("size", ()), "?", "?")[:2]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><style>{STYLE}</style></head>\n'
        f"<body><h1>{title}</h1><p>An image of {escape(str(width))} x {escape(str(height))} pixels.</p>\n"
        f"{sections}\n</body></html>\n"
    )


def _section(number: int, event: Mapping[str, Any]) -> str:
    kind = str(event.get("kind"))
    words = "\n".join(filter(None, _words(kind, event)))
    pictures = "".join(
        f'<img alt="what the planner is shown" src="data:image/png;base64,{escape(str(each))}">'
        for each in event.get("pictures", ())
    )
    title = TITLES.get(kind, kind)
    heading = f"<h2>{number}. {escape(title)}</h2>"
    return f'<section class="{escape(kind)}">{heading}<pre>{escape(words)}</pre>{pictures}</section>'


def _words(kind: str, event: Mapping[str, Any]) -> Iterator[str]:
    if kind == "ask":
        yield from map(str, event.get("last", ()))
        yield f"tools: {', '.join(map(str, event.get('tools', ())))}"
    elif kind == "reply":
        yield str(event.get("text", ""))
        yield from (_call(call) for call in event.get("calls", ()))
        yield str(event.get("problem", ""))
    elif kind == "ran":
        yield _call(event.get("call", {}))
        yield str(event.get("text", ""))
        finds = event.get("finds")
        yield f"{len(finds)} masks" if finds is not None else ""
    elif kind == "finish":
        yield f"{event.get('status')}: {', '.join(map(str, event.get('masks', ()))) or 'nothing'}"
        yield str(event.get("reason", ""))
    else:
        yield str(event.get("sentence", ""))


def _call(call: Mapping[str, Any]) -> str:
    return f"{call.get('name')} {json.dumps(call.get('arguments', {}), ensure_ascii=False)}"
